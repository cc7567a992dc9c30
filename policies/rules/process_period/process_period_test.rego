package conclave.rules.authorise.process_period_test

import data.conclave.lib.fixtures
import data.conclave.rules.authorise.process_period

test_within if {
	{r.code | some r in process_period.deny} == set() with input as fixtures.process
}

test_after_oup_end if {
	{r.code | some r in process_period.deny} == set() with input as object.union(fixtures.process, {"now": 3200000})
}

test_at_rup_end if {
	{r.code | some r in process_period.deny} == {"rup_ended"} with input as object.union(fixtures.process, {"now": 4000000})
}

test_before if {
	{r.code | some r in process_period.deny} == {"process_before_activation"} with input as object.union(fixtures.process, {"now": 999999})
}

test_undated if {
	{r.code | some r in process_period.deny} == {"process_before_activation", "rup_ended"} with input as json.remove(fixtures.process, ["version/activation_at", "version/rup_end"])
}

test_protect_only if {
	{r.code | some r in process_period.deny} == set() with input as object.union(fixtures.protect, {"now": 4000000})
}
