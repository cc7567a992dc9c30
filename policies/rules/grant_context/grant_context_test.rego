package conclave.rules.authorise.grant_context_test

import data.conclave.lib.fixtures
import data.conclave.rules.authorise.grant_context

test_equal if {
	{r.code | some r in grant_context.deny} == set() with input as fixtures.protect
}

test_other_value if {
	{r.code | some r in grant_context.deny} == {"context_mismatch"} with input as object.union(fixtures.protect, {"context": {"tenant": "south"}})
}

test_missing if {
	{r.code | some r in grant_context.deny} == {"context_mismatch"} with input as json.remove(fixtures.protect, ["context/tenant"])
}

test_no_context if {
	{r.code | some r in grant_context.deny} == {"context_mismatch"} with input as json.remove(fixtures.protect, ["context"])
}

test_nothing_demanded if {
	{r.code | some r in grant_context.deny} == set() with input as json.remove(fixtures.protect, ["grant/context"])
}
