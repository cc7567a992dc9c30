package conclave.rules.place.residency_test

import data.conclave.lib.fixtures
import data.conclave.rules.place.residency

test_member if {
	{r.reason.code | some r in residency.deny} == set() with input as fixtures.placement
}

test_outside if {
	{r.reason.code | some r in residency.deny} == {"residency"} with input as object.union(fixtures.placement, fixtures.store({"jurisdiction": "US"}))
}

test_anywhere if {
	{r.reason.code | some r in residency.deny} == set() with input as object.union(object.union(fixtures.placement, {"key": {"jurisdiction": "any"}}), fixtures.store({"jurisdiction": "US"}))
}

test_same_country if {
	{r.reason.code | some r in residency.deny} == set() with input as object.union(fixtures.placement, {"key": {"jurisdiction": "DE"}})
}

test_other_country if {
	{r.reason.code | some r in residency.deny} == {"residency"} with input as object.union(fixtures.placement, {"key": {"jurisdiction": "FR"}})
}

test_unknown if {
	{r.reason.code | some r in residency.deny} == {"residency"} with input as json.remove(fixtures.placement, ["key/jurisdiction"])
}
