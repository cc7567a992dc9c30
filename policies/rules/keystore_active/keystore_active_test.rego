package conclave.rules.authorise.keystore_active_test

import data.conclave.lib.fixtures
import data.conclave.rules.authorise.keystore_active

test_active if {
	{r.code | some r in keystore_active.deny} == set() with input as fixtures.protect
}

test_inactive if {
	{r.code | some r in keystore_active.deny} == {"keystore_inactive"} with input as object.union(fixtures.protect, {"keystore": {"active": false}})
}

test_missing if {
	{r.code | some r in keystore_active.deny} == {"keystore_inactive"} with input as json.remove(fixtures.protect, ["keystore"])
}
