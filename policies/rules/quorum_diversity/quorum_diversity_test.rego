package conclave.rules.quorum.diversity_test

import data.conclave.lib.fixtures
import data.conclave.rules.quorum.diversity

test_protected if {
	diversity.diversity == {data.tables.quorum.protected_diversity} with input as fixtures.quorum
	count(diversity.because) == 1 with input as fixtures.quorum
}

test_unknown_class_is_protected if {
	count(diversity.diversity) == 1 with input as object.union(fixtures.quorum, {"target": {"classifications": ["secret"]}})
}

test_open_class if {
	count(diversity.diversity) == 0 with input as object.union(fixtures.quorum, {"target": {"classifications": ["internal"]}})
}

test_protective if {
	count(diversity.because) == 0 with input as object.union(fixtures.quorum, {"operation": "key.suspend"})
}
