package conclave.rules.place.export_test

import data.conclave.lib.fixtures
import data.conclave.rules.place.export

test_kept if {
	{r.reason.code | some r in export.deny} == set() with input as fixtures.placement
	{r.reason.code | some r in export.deny} == set() with input as object.union(fixtures.placement, fixtures.store({"fips_level": 3}))
}

test_low_level_exports if {
	{r.reason.code | some r in export.deny} == set() with input as object.union(fixtures.placement, fixtures.store({"fips_level": 2, "export": true}))
}

test_high_level_exports if {
	{r.reason.code | some r in export.deny} == {"export_possible"} with input as object.union(fixtures.placement, fixtures.store({"fips_level": 3, "export": true}))
	{r.reason.code | some r in export.deny} == {"export_possible"} with input as json.remove(object.union(fixtures.placement, fixtures.store({"fips_level": 4})), ["keystores/main/export"])
}
