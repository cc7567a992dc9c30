package conclave.rules.authorise.caller_status_test

import data.conclave.lib.fixtures
import data.conclave.rules.authorise.caller_status

test_active if {
	{r.code | some r in caller_status.deny} == set() with input as fixtures.protect
}

test_suspended if {
	{r.code | some r in caller_status.deny} == {"caller_not_active"} with input as object.union(fixtures.protect, {"principal": {"status": "suspended"}})
}

test_missing if {
	{r.code | some r in caller_status.deny} == {"caller_not_active"} with input as json.remove(fixtures.protect, ["principal/status"])
}
