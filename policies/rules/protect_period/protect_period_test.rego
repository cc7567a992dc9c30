package conclave.rules.authorise.protect_period_test

import data.conclave.lib.fixtures
import data.conclave.rules.authorise.protect_period

test_within if {
	{r.code | some r in protect_period.deny} == set() with input as fixtures.protect
}

test_first_instant if {
	{r.code | some r in protect_period.deny} == set() with input as object.union(fixtures.protect, {"now": 1000000})
}

test_before if {
	{r.code | some r in protect_period.deny} == {"not_yet_active"} with input as object.union(fixtures.protect, {"now": 999999})
}

test_last_instant if {
	{r.code | some r in protect_period.deny} == set() with input as object.union(fixtures.protect, {"now": 2999999})
}

test_at_oup_end if {
	{r.code | some r in protect_period.deny} == {"oup_ended"} with input as object.union(fixtures.protect, {"now": 3000000})
}

test_undated if {
	{r.code | some r in protect_period.deny} == {"not_yet_active", "oup_ended"} with input as json.remove(fixtures.protect, ["version/activation_at", "version/oup_end"])
}

test_no_version if {
	{r.code | some r in protect_period.deny} == {"not_yet_active", "oup_ended"} with input as json.remove(fixtures.protect, ["version"])
}

test_process_only if {
	{r.code | some r in protect_period.deny} == set() with input as object.union(fixtures.process, {"now": 3200000})
}

test_rewrap_onto_ended if {
	{r.code | some r in protect_period.deny} == {"oup_ended"} with input as object.union(fixtures.rewrap, {"now": 2950000})
}
