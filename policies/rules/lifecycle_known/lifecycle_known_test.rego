package conclave.rules.lifecycle.known_test

import data.conclave.lib.fixtures
import data.conclave.rules.lifecycle.known

test_known if {
	{r.code | some r in known.deny} == set() with input as fixtures.lifecycle
}

test_type if {
	{r.code | some r in known.deny} == {"type_unknown"} with input as object.union(fixtures.lifecycle, {"type": "rsa"})
}

test_class if {
	{r.code | some r in known.deny} == {"class_unknown"} with input as object.union(fixtures.lifecycle, {"classification": "secret"})
}
