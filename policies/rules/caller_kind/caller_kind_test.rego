package conclave.rules.authorise.caller_kind_test

import data.conclave.lib.fixtures
import data.conclave.rules.authorise.caller_kind

test_application if {
	{r.code | some r in caller_kind.deny} == set() with input as fixtures.protect
}

test_human if {
	{r.code | some r in caller_kind.deny} == {"caller_kind_forbidden"} with input as object.union(fixtures.protect, {"principal": {"kind": "human"}})
}

test_missing if {
	{r.code | some r in caller_kind.deny} == {"caller_kind_forbidden"} with input as json.remove(fixtures.protect, ["principal/kind"])
}

test_auditor_decides if {
	{r.code | some r in caller_kind.deny} == {"caller_kind_forbidden"} with input as object.union(fixtures.human, {"operation": "ceremony.decide", "principal": {"kind": "auditor"}})
}

test_auditor_uses_key if {
	{r.code | some r in caller_kind.deny} == {"caller_kind_forbidden"} with input as object.union(fixtures.protect, {"principal": {"kind": "auditor"}})
}

test_emergency if {
	{r.code | some r in caller_kind.deny} == set() with input as fixtures.emergency
	{r.code | some r in caller_kind.deny} == {"caller_kind_forbidden"} with input as object.union(fixtures.emergency, {"operation": "datakey"})
	{r.code | some r in caller_kind.deny} == {"caller_kind_forbidden"} with input as object.union(fixtures.emergency, {"principal": {"kind": "node"}})
}
