package conclave.rules.place.strength_test

import data.conclave.lib.fixtures
import data.conclave.rules.place.strength

pair := object.union(fixtures.placement, {"key": {"algorithm": "ecdsa-p256", "strength_bits": 128}})

test_enough if {
	{r.reason.code | some r in strength.deny} == set() with input as fixtures.placement
	{r.reason.code | some r in strength.deny} == set() with input as pair
}

test_weak if {
	{r.reason.code | some r in strength.deny} == {"strength_low"} with input as object.union(fixtures.placement, fixtures.store({"key_strength": 128}))
	{r.reason.code | some r in strength.deny} == {"strength_low"} with input as object.union(pair, fixtures.store({"key_strength": 112}))
}

test_least if {
	{r.reason.code | some r in strength.deny} == {"strength_low", "key_strength_low"} with input as object.union(object.union(fixtures.placement, {"key": {"strength_bits": 0}}), fixtures.store({"key_strength": 192}))
}

test_weak_pair if {
	{r.reason.code | some r in strength.deny} == {"key_strength_low"} with input as object.union(pair, {"key": {"strength_bits": 112}})
}

test_unknown_algorithm if {
	{r.reason.code | some r in strength.deny} == {"key_strength_low"} with input as object.union(pair, {"key": {"algorithm": "rot-13"}})
}

test_unknown if {
	{r.reason.code | some r in strength.deny} == {"strength_low"} with input as json.remove(fixtures.placement, ["keystores/main/key_strength"])
}
