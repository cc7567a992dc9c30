package conclave.decide.lifecycle_test

import data.conclave.decide.lifecycle
import data.conclave.lib.fixtures

test_defaults if {
	decision := lifecycle.decision with input as fixtures.lifecycle
	decision.allow == true
	decision.oup_days == 365
	decision.rup_days == 365 + 1095
	decision.rotate_days == 335
	decision.max_oup_days == 730
	decision.destroy_wait_days == 14
	decision.suspension_review_days == 30
}

test_class_bounds_the_default if {
	decision := lifecycle.decision with input as object.union(fixtures.lifecycle, {
		"type": "symmetric-key-wrapping",
		"classification": "cardholder-data",
	})
	decision.oup_days == 365
}

test_given if {
	decision := lifecycle.decision with input as object.union(fixtures.lifecycle, {
		"oup_days": 100,
		"rup_days": 200,
		"rotate_days": 50,
		"review_days": 5,
	})
	decision.allow == true
	[decision.oup_days, decision.rup_days, decision.rotate_days, decision.suspension_review_days] == [100, 200, 50, 5]
}

test_unknown_type if {
	decision := lifecycle.decision with input as object.union(fixtures.lifecycle, {"type": "rsa"})
	decision.allow == false
	{r.code | some r in decision.reasons} == {"type_unknown"}
}
