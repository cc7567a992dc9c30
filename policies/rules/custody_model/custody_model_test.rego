package conclave.rules.place.custody_test

import data.conclave.lib.fixtures
import data.conclave.rules.place.custody

test_demanded if {
	{r.reason.code | some r in custody.deny} == set() with input as fixtures.placement
}

test_no_demand if {
	{r.reason.code | some r in custody.deny} == set() with input as object.union(fixtures.placement, {"key": {"custody": []}})
}

test_other_demand if {
	{r.reason.code | some r in custody.deny} == {"custody_demanded"} with input as object.union(fixtures.placement, {"key": {"custody": ["hyok"]}})
}

test_class_refuses if {
	{r.reason.code | some r in custody.deny} == {"custody_class"} with input as object.union(object.union(fixtures.placement, {"key": {"classification": "restricted", "custody": []}}), fixtures.store({"custody": "cloud-native"}))
}

test_unknown_class if {
	{r.reason.code | some r in custody.deny} == {"custody_class"} with input as object.union(fixtures.placement, {"key": {"classification": "secret"}})
}

demanding(models) := object.union(fixtures.placement, {"key": {"demands": [{"by": "cards-archive", "custody": models}]}})

test_data_set if {
	{r.reason.code | some r in custody.deny} == set() with input as demanding(["hyok", "self-hosted"])
	{r.reason.code | some r in custody.deny} == {"custody_data_set"} with input as demanding(["hyok"])
	{r.reason.code | some r in custody.deny} == {"custody_data_set"} with input as demanding([])
}
