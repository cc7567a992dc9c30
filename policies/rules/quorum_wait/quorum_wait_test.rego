package conclave.rules.quorum.wait_test

import data.conclave.lib.fixtures
import data.conclave.rules.quorum.wait

test_longest_of_a_batch if {
	wait.wait_seconds == {30 * 86400} with input as object.union(fixtures.quorum, {"target": {"classifications": ["internal", "ephi"]}})
	count(wait.because) == 1 with input as fixtures.quorum
}

test_by_class if {
	wait.wait_seconds == {7 * 86400} with input as object.union(fixtures.quorum, {"target": {"classifications": ["internal"]}})
}

test_other_operations if {
	count(wait.wait_seconds) == 0 with input as object.union(fixtures.quorum, {"operation": "key.suspend"})
}
