package conclave.rules.authorise.operation_test

import data.conclave.lib.fixtures
import data.conclave.rules.authorise.operation

test_known if {
	{r.code | some r in operation.deny} == set() with input as fixtures.protect
}

test_unknown_kind if {
	{r.code | some r in operation.deny} == {"operation_unknown"} with input as fixtures.protect
		with data.tables.authorisation.operations as {"datakey": {"kind": null}}
}

test_unknown if {
	{r.code | some r in operation.deny} == {"operation_unknown"} with input as object.union(fixtures.protect, {"operation": "key.steal"})
}
