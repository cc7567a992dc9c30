package conclave.rules.place.strength_test

import data.conclave.lib.fixtures
import data.conclave.rules.place.strength

test_enough if {
	{r.reason.code | some r in strength.deny} == set() with input as fixtures.placement
}

test_weak if {
	{r.reason.code | some r in strength.deny} == {"strength_low"} with input as object.union(fixtures.placement, fixtures.store({"key_strength": 128}))
}

test_least if {
	{r.reason.code | some r in strength.deny} == {"strength_low"} with input as object.union(object.union(fixtures.placement, {"key": {"strength_bits": 0}}), fixtures.store({"key_strength": 192}))
}

test_unknown if {
	{r.reason.code | some r in strength.deny} == {"strength_low"} with input as json.remove(fixtures.placement, ["keystores/main/key_strength"])
}
