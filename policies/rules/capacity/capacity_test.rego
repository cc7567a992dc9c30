package conclave.rules.place.capacity_test

import data.conclave.lib.fixtures
import data.conclave.rules.place.capacity

test_unbounded if {
	{r.reason.code | some r in capacity.deny} == set() with input as fixtures.placement
}

full := object.union(fixtures.placement, fixtures.store({"max_keys": 2, "keys": 2}))

test_bounded if {
	{r.reason.code | some r in capacity.deny} == {"keystore_full"} with input as full
	{r.reason.code | some r in capacity.deny} == set() with input as object.union(full, fixtures.store({"keys": 1}))
	{r.reason.code | some r in capacity.deny} == set() with input as object.union(full, {"existing": true})
}

test_unknown if {
	{r.reason.code | some r in capacity.deny} == {"keystore_full"} with input as json.remove(fixtures.placement, ["keystores/main/max_keys"])
}
