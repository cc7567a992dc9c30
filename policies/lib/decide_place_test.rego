package conclave.decide.place_test

import data.conclave.decide.place
import data.conclave.lib.fixtures

test_allow if {
	decision := place.decision with input as fixtures.placement
	decision == {
		"keystores": {{"keystore": "main", "allow": true, "reasons": set(), "effective_level": 1, "exceptions": set()}},
		"least_level": 1,
		"validated": true,
	}
}

test_every_candidate_is_judged if {
	decision := place.decision with input as object.union(fixtures.placement, {
		"key": {"impact": "high"},
		"keystores": {"spare": {"id": "spare"}},
	})
	{v.keystore | some v in decision.keystores; v.allow == false} == {"main", "spare"}
	decision.least_level == 3
}

test_not_validated if {
	decision := place.decision with input as object.union(fixtures.placement, {"key": {"classification": "public", "frameworks": []}})
	decision.validated == false
	decision.least_level == 0
}

test_exceptions_are_named if {
	decision := place.decision with input as object.union(object.union(fixtures.placement, {"key": {"impact": "high"}}), fixtures.exception("place.fips_level", {"key": "cards"}))
	{v.exceptions | some v in decision.keystores; v.allow == true} == {{"e1"}}
}
