package conclave.rules.lifecycle.usage_period_test

import data.conclave.lib.fixtures
import data.conclave.rules.lifecycle.usage_period

test_defaults if {
	{r.code | some r in usage_period.deny} == set() with input as fixtures.lifecycle
}

test_longest if {
	{r.code | some r in usage_period.deny} == set() with input as object.union(fixtures.lifecycle, {"oup_days": 730, "rup_days": 1825})
}

test_oup_too_long if {
	{r.code | some r in usage_period.deny} == {"oup_too_long"} with input as object.union(fixtures.lifecycle, {"oup_days": 731})
}

test_class_shorter if {
	{r.code | some r in usage_period.deny} == {"oup_too_long"} with input as object.union(fixtures.lifecycle, {"classification": "cardholder-data", "oup_days": 366})
}

test_rup_too_short if {
	{r.code | some r in usage_period.deny} == {"rup_too_short"} with input as object.union(fixtures.lifecycle, {"oup_days": 100, "rup_days": 99})
}

test_rup_too_long if {
	{r.code | some r in usage_period.deny} == {"rup_too_long"} with input as object.union(fixtures.lifecycle, {"oup_days": 100, "rup_days": 1196})
}
