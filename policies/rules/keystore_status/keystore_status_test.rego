package conclave.rules.place.keystore_status_test

import data.conclave.lib.fixtures
import data.conclave.rules.place.keystore_status

test_registered if {
	{r.reason.code | some r in keystore_status.deny} == set() with input as fixtures.placement
}

test_retired if {
	{r.reason.code | some r in keystore_status.deny} == {"keystore_not_registered"} with input as object.union(fixtures.placement, fixtures.store({"status": "retired"}))
}

test_unknown if {
	{r.reason.code | some r in keystore_status.deny} == {"keystore_not_registered"} with input as json.remove(fixtures.placement, ["keystores/main/status"])
}
