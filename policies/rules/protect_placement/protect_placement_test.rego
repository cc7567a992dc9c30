package conclave.rules.authorise.protect_placement_test

import data.conclave.lib.fixtures
import data.conclave.rules.authorise.protect_placement

strict := {"stops_protecting": ["residency"]}

test_in_place if {
	{r.code | some r in protect_placement.deny} == set() with input as fixtures.protect with data.tables.placement as strict
}

drifted := object.union(fixtures.protect, {"keystore": {"drift": ["residency", "fips_level_low"]}})

test_out_of_place_and_staying if {
	{r.code | some r in protect_placement.deny} == set() with input as drifted
	{r.code | some r in protect_placement.deny} == set() with input as object.union(fixtures.protect, {"keystore": {"drift": ["fips_level_low"]}}) with data.tables.placement as strict
}

test_stopped if {
	{r.code | some r in protect_placement.deny} == {"out_of_place"} with input as drifted with data.tables.placement as strict
	{r.code | some r in protect_placement.deny} == {"out_of_place"} with input as object.union(drifted, {"operation": "rewrap"}) with data.tables.placement as strict
}

test_goes_on_processing if {
	{r.code | some r in protect_placement.deny} == set() with input as object.union(drifted, {"operation": "decrypt"}) with data.tables.placement as strict
}
