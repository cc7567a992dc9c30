package conclave.rules.authorise.grant_test

import data.conclave.lib.fixtures
import data.conclave.rules.authorise.grant

test_good if {
	{r.code | some r in grant.deny} == set() with input as fixtures.protect
}

test_missing if {
	{r.code | some r in grant.deny} == {"grant_missing"} with input as json.remove(fixtures.protect, ["grant"])
}

test_revoked if {
	{r.code | some r in grant.deny} == {"grant_revoked"} with input as object.union(fixtures.protect, {"grant": {"revoked": true}})
}

test_revocation_unknown if {
	{r.code | some r in grant.deny} == {"grant_revoked"} with input as json.remove(fixtures.protect, ["grant/revoked"])
}

test_expired_at_the_instant if {
	{r.code | some r in grant.deny} == {"grant_expired"} with input as object.union(fixtures.protect, {"grant": {"expires_at": 2000000}})
}

test_endless if {
	{r.code | some r in grant.deny} == {"grant_expired"} with input as json.remove(fixtures.protect, ["grant/expires_at"])
}

test_other_operation if {
	{r.code | some r in grant.deny} == {"grant_operation"} with input as object.union(fixtures.protect, {"grant": {"operations": ["decrypt"]}})
}

test_no_operations if {
	{r.code | some r in grant.deny} == {"grant_operation"} with input as json.remove(fixtures.protect, ["grant/operations"])
}

test_application_reads_key if {
	{r.code | some r in grant.deny} == {"grant_missing"} with input as json.remove(object.union(fixtures.protect, {"operation": "key.read"}), ["grant"])
}

test_application_reads_granted_key if {
	{r.code | some r in grant.deny} == set() with input as object.union(fixtures.protect, {"operation": "key.read"})
}

test_human if {
	{r.code | some r in grant.deny} == set() with input as fixtures.human
}

test_closed_emergency if {
	{r.code | some r in grant.deny} == {"emergency_access_ended"} with input as object.union(fixtures.protect, {"grant": {"revoked": true, "emergency": "c-1"}})
}

test_emergency_over if {
	{r.code | some r in grant.deny} == {"emergency_access_ended"} with input as object.union(fixtures.protect, {"grant": {"expires_at": 2000000, "emergency": "c-1"}})
}

test_emergency_running if {
	{r.code | some r in grant.deny} == set() with input as object.union(fixtures.protect, {"grant": {"emergency": "c-1"}})
}
