package conclave.rules.quorum.table_test

import data.conclave.lib.fixtures
import data.conclave.rules.quorum.table

test_reason if {
	some reason in table.because with input as fixtures.quorum
	reason.code == "class"
	startswith(reason.message, "governed")
	"pci-dss-4.0.1:3.7.5" in reason.controls
	"pci-dss-4.0.1:3.7.6" in reason.controls
}

test_unknown_operation if {
	count(table.because) == 0 with input as object.union(fixtures.quorum, {"operation": "key.steal"})
}
