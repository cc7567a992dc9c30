package conclave.rules.authorise.key_environment_test

import data.conclave.lib.fixtures
import data.conclave.rules.authorise.key_environment

test_same if {
	{r.code | some r in key_environment.deny} == set() with input as fixtures.protect
}

test_test_application if {
	{r.code | some r in key_environment.deny} == {"environment_mismatch"} with input as object.union(fixtures.protect, {"principal": {"environment": "test"}})
}

test_test_keystore if {
	{r.code | some r in key_environment.deny} == {"keystore_environment_mismatch"} with input as object.union(fixtures.protect, {"keystore": {"environment": "test"}})
}

test_test_key if {
	{r.code | some r in key_environment.deny} == {"environment_mismatch", "keystore_environment_mismatch"} with input as object.union(fixtures.protect, {"key": {"environment": "test"}})
}

test_unknown if {
	{r.code | some r in key_environment.deny} == {"environment_mismatch", "keystore_environment_mismatch"} with input as json.remove(fixtures.protect, ["key"])
}

test_people_have_none if {
	{r.code | some r in key_environment.deny} == set() with input as fixtures.emergency
	{r.code | some r in key_environment.deny} == {"environment_mismatch"} with input as json.remove(fixtures.emergency, ["grant"])
	{r.code | some r in key_environment.deny} == {"environment_mismatch"} with input as object.union(fixtures.emergency, {"principal": {"kind": "application", "environment": "test"}})
}
