package conclave.rules.authorise.reason_required_test

import data.conclave.lib.fixtures
import data.conclave.rules.authorise.reason_required

row(changes) := object.union({"emergency": false, "classifications": [], "operations": [], "applications": [], "codes": ["routine"], "why": "test"}, changes)

test_nothing_demanded if {
	{r.code | some r in reason_required.deny} == set() with input as fixtures.protect
		with data.tables.authorisation.reason_required as []
}

test_missing if {
	{r.code | some r in reason_required.deny} == {"reason_code_required"} with input as fixtures.protect
		with data.tables.authorisation.reason_required as [row({})]
}

test_given if {
	{r.code | some r in reason_required.deny} == set() with input as object.union(fixtures.protect, {"reason_code": "routine"})
		with data.tables.authorisation.reason_required as [row({})]
}

test_another if {
	reasons := reason_required.deny with input as object.union(fixtures.protect, {"reason_code": "recovery"})
		with data.tables.authorisation.reason_required as [row({})]
	{r.code | some r in reasons} == {"reason_code_not_allowed"}
	some reason in reasons
	contains(reason.remedy, "routine")
}

test_every_row_counts if {
	{r.code | some r in reason_required.deny} == {"reason_code_not_allowed"} with input as object.union(fixtures.protect, {"reason_code": "routine"})
		with data.tables.authorisation.reason_required as [row({}), row({"codes": ["recovery"]})]
}

test_by_class if {
	rows := [row({"classifications": ["cardholder-data"]})]
	{r.code | some r in reason_required.deny} == {"reason_code_required"} with input as fixtures.protect
		with data.tables.authorisation.reason_required as rows
	{r.code | some r in reason_required.deny} == set() with input as object.union(fixtures.protect, {"key": {"classification": "internal"}})
		with data.tables.authorisation.reason_required as rows
}

test_by_operation if {
	rows := [row({"operations": ["decrypt"]})]
	{r.code | some r in reason_required.deny} == {"reason_code_required"} with input as fixtures.process
		with data.tables.authorisation.reason_required as rows
	{r.code | some r in reason_required.deny} == set() with input as fixtures.protect
		with data.tables.authorisation.reason_required as rows
}

test_by_application if {
	rows := [row({"applications": ["billing"]})]
	{r.code | some r in reason_required.deny} == {"reason_code_required"} with input as fixtures.protect
		with data.tables.authorisation.reason_required as rows
	{r.code | some r in reason_required.deny} == set() with input as object.union(fixtures.protect, {"principal": {"id": "shop"}})
		with data.tables.authorisation.reason_required as rows
	{r.code | some r in reason_required.deny} == set() with input as object.union(fixtures.protect, {"principal": {"kind": "human"}})
		with data.tables.authorisation.reason_required as rows
}

test_reads_are_not_asked if {
	{r.code | some r in reason_required.deny} == set() with input as fixtures.human
		with data.tables.authorisation.reason_required as [row({})]
}

test_emergency_is_justified if {
	{r.code | some r in reason_required.deny} == {"reason_code_required"} with input as fixtures.emergency
	{r.code | some r in reason_required.deny} == set() with input as object.union(fixtures.emergency, {"reason_code": "treatment"})
	{r.code | some r in reason_required.deny} == {"reason_code_not_allowed"} with input as object.union(fixtures.emergency, {"reason_code": "routine"})
	{r.code | some r in reason_required.deny} == set() with input as fixtures.process
}
