package conclave.rules.authorise.role_test

import data.conclave.lib.fixtures
import data.conclave.rules.authorise.role

test_held if {
	{r.code | some r in role.deny} == set() with input as fixtures.human
}

test_not_held if {
	{r.code | some r in role.deny} == {"role_missing"} with input as object.union(fixtures.human, {"principal": {"roles": ["witness"]}})
}

test_none if {
	{r.code | some r in role.deny} == {"role_missing"} with input as object.union(fixtures.human, {"principal": {"roles": []}})
}

test_unknown_operation if {
	{r.code | some r in role.deny} == {"role_missing"} with input as object.union(fixtures.human, {"operation": "key.steal"})
}

test_applications_have_none if {
	{r.code | some r in role.deny} == set() with input as fixtures.protect
}

test_emergency if {
	{r.code | some r in role.deny} == set() with input as fixtures.emergency
	{r.code | some r in role.deny} == {"role_missing"} with input as json.remove(fixtures.emergency, ["grant"])
}
