package conclave.rules.authorise.reason_code_test

import data.conclave.lib.fixtures
import data.conclave.rules.authorise.reason_code

test_none if {
	{r.code | some r in reason_code.deny} == set() with input as fixtures.protect
}

test_listed if {
	{r.code | some r in reason_code.deny} == set() with input as object.union(fixtures.protect, {"reason_code": "routine"})
}

test_unlisted if {
	{r.code | some r in reason_code.deny} == {"reason_code_unknown"} with input as object.union(fixtures.protect, {"reason_code": "because"})
}
