package conclave.rules.authorise.credential_test

import data.conclave.lib.fixtures
import data.conclave.rules.authorise.credential

test_in_force if {
	{r.code | some r in credential.deny} == set() with input as fixtures.protect
}

test_revoked if {
	{r.code | some r in credential.deny} == {"credential_revoked"} with input as object.union(fixtures.protect, {"principal": {"credential_revoked": true}})
}

test_revocation_unknown if {
	{r.code | some r in credential.deny} == {"credential_revoked"} with input as json.remove(fixtures.protect, ["principal/credential_revoked"])
}

test_expired_at_the_instant if {
	{r.code | some r in credential.deny} == {"credential_expired"} with input as object.union(fixtures.protect, {"principal": {"credential_expires_at": 2000000}})
}

test_token_without_end if {
	{r.code | some r in credential.deny} == {"credential_expired"} with input as json.remove(fixtures.protect, ["principal/credential_expires_at"])
}

test_human_without_end if {
	{r.code | some r in credential.deny} == set() with input as fixtures.human
}

test_human_expired if {
	{r.code | some r in credential.deny} == {"credential_expired"} with input as object.union(fixtures.human, {"principal": {"credential_expires_at": 1}})
}
