package conclave.rules.place.origin_test

import data.conclave.lib.fixtures
import data.conclave.rules.place.origin

with_key(key) := object.union(fixtures.placement, {"key": key})

only_generated := object.union(data.tables.classifications, {"confidential": object.union(data.tables.classifications.confidential, {"origins": ["generated"]})})

confidential(key) := with_key(object.union(key, {"classification": "confidential"}))

test_any if {
	origin.deny == set() with input as with_key({"origin": "imported-wrapped"})
	origin.deny == set() with input as with_key({"origin": "generated"})
}

test_generated_demanded if {
	origin.deny == set() with input as confidential({"origin": "generated"}) with data.tables.classifications as only_generated
	origin.deny == set() with input as confidential({}) with data.tables.classifications as only_generated
	{r.reason.code | some r in origin.deny} == {"origin_class"} with input as confidential({"origin": "imported-wrapped"}) with data.tables.classifications as only_generated
	{r.reason.code | some r in origin.deny} == {"origin_class"} with input as confidential({"origin": "imported-components"}) with data.tables.classifications as only_generated
}

test_existing_stay if {
	existing := object.union(confidential({"origin": "imported-wrapped"}), {"existing": true})
	origin.deny == set() with input as existing with data.tables.classifications as only_generated
}

test_unknown_class if {
	{r.reason.code | some r in origin.deny} == {"origin_class"} with input as with_key({"origin": "generated", "classification": "secret"})
}
