package conclave.rules.place.environment_test

import data.conclave.lib.fixtures
import data.conclave.rules.place.environment

test_same if {
	{r.reason.code | some r in environment.deny} == set() with input as fixtures.placement
}

test_test_keystore if {
	{r.reason.code | some r in environment.deny} == {"environment_mismatch"} with input as object.union(fixtures.placement, fixtures.store({"environment": "test"}))
}

test_unknown if {
	{r.reason.code | some r in environment.deny} == {"environment_mismatch"} with input as json.remove(fixtures.placement, ["key/environment"])
}
