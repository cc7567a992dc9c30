package conclave.decide.quorum_test

import data.conclave.decide.quorum
import data.conclave.lib.fixtures

ask(operation, target) := object.union(fixtures.quorum, {"operation": operation, "target": target})

test_governed if {
	decision := quorum.decision with input as fixtures.quorum
	decision.class == "G"
	decision.approvals == 2
	decision.witness == true
	decision.wait_seconds == 30 * 86400
	decision.diversity == {"teams": 2, "sites": 1, "reporting_line": true}
	decision.allow == true
	{r.rule | some r in decision.reasons} == {"quorum.table", "quorum.wait", "quorum.diversity"}
}

test_attended_takes_the_threshold if {
	decision := quorum.decision with input as ask("keystore.activate", {})
	decision.class == "S"
	decision.approvals == 3
}

test_denied if {
	decision := quorum.decision with input as object.union(fixtures.quorum, {"requester": {"roles": []}})
	decision.allow == false
	{r.code | some r in decision.denials} == {"proposer_role_missing"}
}

test_grant_by_class if {
	open := quorum.decision with input as ask("grant.create", {"classifications": ["internal"]})
	open.class == "D"
	protected := quorum.decision with input as ask("grant.create", {"classifications": ["internal", "ephi"]})
	protected.class == "G"
	unclassified := quorum.decision with input as ask("grant.create", {"classifications": []})
	unclassified.class == "G"
}

test_rotation_by_class if {
	restricted := quorum.decision with input as ask("key.rotate", {"classifications": ["restricted"]})
	restricted.class == "D"
	cardholder := quorum.decision with input as ask("key.rotate", {"classifications": ["cardholder-data"]})
	cardholder.class == "G"
	unknown := quorum.decision with input as ask("key.rotate", {"classifications": ["secret"]})
	unknown.class == "G"
}

test_rotation_by_schedule if {
	decision := quorum.decision with input as object.union(fixtures.quorum, {
		"operation": "key.rotate",
		"precedent": "c-1",
		"requester": {"kind": "node"},
	})
	decision.class == "A"
	decision.approvals == 0
	decision.precedent == true
}

test_revocation_of_a_key if {
	theirs := quorum.decision with input as object.union(fixtures.quorum, {
		"operation": "credential.revoke",
		"requester": {"id": "bob", "roles": ["witness"]},
		"target": {"owner": "bob"},
	})
	theirs.class == "P"
	theirs.allow == true
	others := quorum.decision with input as object.union(fixtures.quorum, {
		"operation": "credential.revoke",
		"requester": {"id": "eve", "roles": ["witness"]},
		"target": {"owner": "bob"},
	})
	others.class == "P"
	{r.code | some r in others.denials} == {"proposer_role_missing"}
}

test_unknown_operation_is_undefined if {
	not quorum.decision with input as ask("key.steal", {})
}

test_missing_threshold_is_undefined if {
	not quorum.decision with input as json.remove(ask("keystore.activate", {}), ["target/threshold"])
}

test_raising_a_class_asks_for_no_officer if {
	d := quorum.decision with input as object.union(fixtures.quorum, {"operation": "key.reclassify", "target": {"raising": true}})
	d.roles == []
}

test_lowering_a_class_asks_for_an_officer if {
	every target in [{}, {"raising": false}, {"raising": "yes"}] {
		d := quorum.decision with input as object.union(fixtures.quorum, {"operation": "key.reclassify", "target": target})
		d.roles == [{"count": 1, "role": "security-officer"}]
	}
}
