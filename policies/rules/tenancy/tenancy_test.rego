package conclave.rules.place.tenancy_test

import data.conclave.lib.fixtures
import data.conclave.rules.place.tenancy

test_alone if {
	{r.reason.code | some r in tenancy.deny} == set() with input as fixtures.placement
}

shared := object.union(fixtures.placement, fixtures.store({"tenancy": "multi"}))

test_shared_by_impact if {
	{r.reason.code | some r in tenancy.deny} == set() with input as shared
	{r.reason.code | some r in tenancy.deny} == {"tenancy_shared"} with input as object.union(shared, {"key": {"impact": "high"}})
}

test_shared_by_class if {
	{r.reason.code | some r in tenancy.deny} == {"tenancy_shared"} with input as object.union(shared, {"key": {"classification": "restricted"}})
}

test_unknown if {
	{r.reason.code | some r in tenancy.deny} == {"tenancy_shared"} with input as object.union(shared, {"key": {"classification": "secret"}})
	{r.reason.code | some r in tenancy.deny} == {"tenancy_shared"} with input as json.remove(object.union(fixtures.placement, {"key": {"impact": "high"}}), ["keystores/main/tenancy"])
}
