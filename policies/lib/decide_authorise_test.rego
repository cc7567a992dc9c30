package conclave.decide.authorise_test

import data.conclave.decide.authorise
import data.conclave.lib.fixtures

test_allow_protect_ends_with_the_first_bound if {
	decision := authorise.decision with input as fixtures.protect
	decision == {"allow": true, "reasons": [], "valid_until": 3000000, "max_payload": 64}
}

test_allow_process_ends_with_the_grant if {
	decision := authorise.decision with input as fixtures.process
	decision == {"allow": true, "reasons": [], "valid_until": 3500000, "max_payload": 65536}
}

test_allow_rewrap_ends_with_the_version_that_protects if {
	decision := authorise.decision with input as fixtures.rewrap
	decision.valid_until == 2900000
}

test_allow_read_ends_with_the_age if {
	decision := authorise.decision with input as fixtures.human
	decision == {"allow": true, "reasons": [], "valid_until": 302000000, "max_payload": 0}
}

test_deny_collects_every_reason if {
	decision := authorise.decision with input as object.union(fixtures.protect, {
		"keystore": {"active": false},
		"grant": {"revoked": true},
	})
	decision.allow == false
	{r.code | some r in decision.reasons} == {"keystore_inactive", "grant_revoked"}
	every reason in decision.reasons {
		reason.remedy != ""
	}
}

test_empty_input_is_denied if {
	decision := authorise.decision with input as {}
	decision.allow == false
	count(decision.reasons) > 0
}

test_ends_with_the_controlled_use if {
	decision := authorise.decision with input as object.union(fixtures.process, {"version": {"state": "compromised", "controlled_use": "u-1", "controlled_until": 2000500}})
	decision.valid_until == 2000500
}
