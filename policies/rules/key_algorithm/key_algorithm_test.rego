package conclave.rules.place.key_algorithm_test

import data.conclave.lib.fixtures
import data.conclave.rules.place.key_algorithm

test_fits if {
	{r.reason.code | some r in key_algorithm.deny} == set() with input as fixtures.placement
}

test_of_another_type if {
	{r.reason.code | some r in key_algorithm.deny} == {"algorithm_not_listed"} with input as object.union(fixtures.placement, {"key": {"type": "private-signature"}})
}

test_unknown if {
	{r.reason.code | some r in key_algorithm.deny} == {"algorithm_not_listed", "algorithm_unsupported"} with input as object.union(fixtures.placement, {"key": {"algorithm": "rot-13"}})
}

test_not_named if {
	{r.reason.code | some r in key_algorithm.deny} == {"algorithm_not_listed", "algorithm_unsupported"} with input as json.remove(fixtures.placement, ["key/algorithm"])
}

test_not_made_there if {
	{r.reason.code | some r in key_algorithm.deny} == {"algorithm_unsupported"} with input as object.union(fixtures.placement, fixtures.store({"algorithms": ["ed25519"]}))
}
