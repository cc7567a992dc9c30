package conclave.rules.authorise.key_facts_test

import data.conclave.lib.fixtures
import data.conclave.rules.authorise.key_facts

test_known if {
	{r.code | some r in key_facts.deny} == set() with input as fixtures.protect
}

test_class if {
	{r.code | some r in key_facts.deny} == {"class_unknown"} with input as object.union(fixtures.protect, {"key": {"classification": "secret"}})
}

test_type if {
	{r.code | some r in key_facts.deny} == {"type_unknown"} with input as object.union(fixtures.protect, {"key": {"type": "rsa"}})
}

test_no_key if {
	{r.code | some r in key_facts.deny} == {"class_unknown", "type_unknown"} with input as json.remove(fixtures.protect, ["key"])
}
