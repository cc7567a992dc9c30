package conclave.rules.place.class_test

import data.conclave.lib.fixtures
import data.conclave.rules.place.class

test_known if {
	{r.reason.code | some r in class.deny} == set() with input as fixtures.placement
}

test_class if {
	{r.reason.code | some r in class.deny} == {"class_unknown"} with input as object.union(fixtures.placement, {"key": {"classification": "secret"}})
}

test_impact if {
	{r.reason.code | some r in class.deny} == {"class_unknown"} with input as object.union(fixtures.placement, {"key": {"impact": "huge"}})
}

test_no_impact if {
	{r.reason.code | some r in class.deny} == {"class_unknown"} with input as json.remove(fixtures.placement, ["key/impact"])
}
