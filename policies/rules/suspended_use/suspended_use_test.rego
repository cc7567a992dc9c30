package conclave.rules.authorise.suspended_use_test

import data.conclave.lib.fixtures
import data.conclave.rules.authorise.suspended_use

test_accepted if {
	{r.code | some r in suspended_use.deny} == set() with input as fixtures.suspended
}

test_not_suspended if {
	{r.code | some r in suspended_use.deny} == set() with input as fixtures.process
}

test_suspected if {
	{r.code | some r in suspended_use.deny} == {"suspected_compromise"} with input as object.union(fixtures.suspended, {"version": {"suspected": true}})
}

test_suspicion_unknown if {
	{r.code | some r in suspended_use.deny} == {"suspected_compromise"} with input as json.remove(fixtures.suspended, ["version/suspected"])
}

test_protected_at_suspension if {
	{r.code | some r in suspended_use.deny} == {"protected_during_suspension"} with input as object.union(fixtures.suspended, {"protected_at": 1800000})
}

test_protected_when if {
	{r.code | some r in suspended_use.deny} == {"protected_during_suspension"} with input as json.remove(fixtures.suspended, ["protected_at"])
}

test_suspended_when if {
	{r.code | some r in suspended_use.deny} == {"protected_during_suspension"} with input as json.remove(fixtures.suspended, ["version/suspended_at"])
}

test_not_accepted if {
	{r.code | some r in suspended_use.deny} == {"risk_not_accepted"} with input as object.union(fixtures.suspended, {"accept_risk": false})
}

test_unjustified if {
	{r.code | some r in suspended_use.deny} == {"reason_required"} with input as json.remove(fixtures.suspended, ["reason_code"])
}
