package conclave.rules.place.fips_level_test

import data.conclave.lib.fixtures
import data.conclave.rules.place.fips_level

test_enough if {
	{r.reason.code | some r in fips_level.deny} == set() with input as fixtures.placement
}

test_high_impact if {
	{r.reason.code | some r in fips_level.deny} == {"fips_level_low"} with input as object.union(fixtures.placement, {"key": {"impact": "high"}})
}

test_level_3 if {
	{r.reason.code | some r in fips_level.deny} == set() with input as object.union(object.union(fixtures.placement, {"key": {"impact": "high"}}), fixtures.store({"fips_level": 3}))
}

test_no_certificate if {
	{r.reason.code | some r in fips_level.deny} == {"fips_level_low"} with input as json.remove(fixtures.placement, ["keystores/main/certificate"])
}

test_simulated if {
	{r.reason.code | some r in fips_level.deny} == {"fips_level_low"} with input as object.union(fixtures.placement, fixtures.store({"simulated": true}))
}

test_public_needs_none if {
	{r.reason.code | some r in fips_level.deny} == set() with input as json.remove(object.union(fixtures.placement, {"key": {"classification": "public", "frameworks": []}}), ["keystores/main/certificate"])
}

test_framework_raises if {
	{r.reason.code | some r in fips_level.deny} == {"fips_level_low"} with input as json.remove(object.union(fixtures.placement, {"key": {"classification": "public"}}), ["keystores/main/certificate"])
}

test_unknown_class if {
	{r.reason.code | some r in fips_level.deny} == {"fips_level_low"} with input as object.union(fixtures.placement, {"key": {"classification": "secret"}})
}

high := object.union(fixtures.placement, {"key": {"impact": "high"}})

test_accepted_for_the_key if {
	{r.reason.code | some r in fips_level.deny} == set() with input as object.union(high, fixtures.exception("place.fips_level", {"key": "cards"}))
	{r.reason.code | some r in fips_level.deny} == {"fips_level_low"} with input as object.union(high, fixtures.exception("place.fips_level", {"key": "other"}))
}

test_accepted_for_the_keystore if {
	{r.reason.code | some r in fips_level.deny} == set() with input as object.union(high, fixtures.exception("place.fips_level", {"keystore": "main"}))
	{r.reason.code | some r in fips_level.deny} == {"fips_level_low"} with input as object.union(high, fixtures.exception("place.fips_level", {"keystore": "main", "key": "other"}))
}

test_accepted_never_for_a_simulation if {
	{r.reason.code | some r in fips_level.deny} == {"fips_level_low"} with input as object.union(object.union(high, fixtures.store({"simulated": true})), fixtures.exception("place.fips_level", {"key": "cards"}))
}

test_accepted_until_its_end if {
	{r.reason.code | some r in fips_level.deny} == {"fips_level_low"} with input as object.union(high, fixtures.exception("place.fips_level", {"key": "cards", "expires_at": 1700000000000000}))
}

test_another_rule_is_accepted if {
	{r.reason.code | some r in fips_level.deny} == {"fips_level_low"} with input as object.union(high, fixtures.exception("place.module_validated", {"key": "cards"}))
	{r.reason.code | some r in fips_level.deny} == {"fips_level_low"} with input as object.union(high, fixtures.exception("place.fips_level", {"key": "cards"})) with data.tables.exceptions as {"rules": {}}
}
