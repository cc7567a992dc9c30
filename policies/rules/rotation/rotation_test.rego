package conclave.rules.lifecycle.rotation_test

import data.conclave.lib.fixtures
import data.conclave.rules.lifecycle.rotation

test_default if {
	{r.code | some r in rotation.deny} == set() with input as fixtures.lifecycle
}

test_in_time if {
	{r.code | some r in rotation.deny} == set() with input as object.union(fixtures.lifecycle, {"oup_days": 100, "rotate_days": 100})
}

test_late if {
	{r.code | some r in rotation.deny} == {"rotation_too_late"} with input as object.union(fixtures.lifecycle, {"oup_days": 100, "rotate_days": 101})
}
