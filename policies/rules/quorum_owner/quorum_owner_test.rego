package conclave.rules.quorum.owner_test

import data.conclave.lib.fixtures
import data.conclave.rules.quorum.owner

test_not_asked if {
	{r.code | some r in owner.deny} == set() with input as fixtures.quorum
}

test_owner if {
	{r.code | some r in owner.deny} == set() with input as object.union(fixtures.quorum, {"operation": "token.issue", "requester": {"id": "bob"}})
}

test_other if {
	{r.code | some r in owner.deny} == {"not_owner"} with input as object.union(fixtures.quorum, {"operation": "token.issue"})
}

test_unknown if {
	{r.code | some r in owner.deny} == {"not_owner"} with input as json.remove(object.union(fixtures.quorum, {"operation": "token.issue"}), ["target/owner"])
}
