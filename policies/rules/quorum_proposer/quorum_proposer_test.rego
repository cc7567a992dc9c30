package conclave.rules.quorum.proposer_test

import data.conclave.lib.fixtures
import data.conclave.rules.quorum.proposer

test_manager if {
	{r.code | some r in proposer.deny} == set() with input as fixtures.quorum
}

test_kind if {
	{r.code | some r in proposer.deny} == {"proposer_kind_forbidden"} with input as object.union(fixtures.quorum, {"requester": {"kind": "application"}})
}

test_role if {
	{r.code | some r in proposer.deny} == {"proposer_role_missing"} with input as object.union(fixtures.quorum, {"requester": {"roles": ["witness"]}})
}

test_node if {
	{r.code | some r in proposer.deny} == set() with input as object.union(fixtures.quorum, {"operation": "keystore.activate", "requester": {"kind": "node", "roles": []}})
}

test_no_role_named if {
	{r.code | some r in proposer.deny} == set() with input as object.union(fixtures.quorum, {"operation": "token.issue", "requester": {"roles": []}})
}
