# METADATA
# title: Destruction waits
# description: Destruction can be cancelled by one person for as long as the class says.
package conclave.rules.quorum.wait

import data.conclave.lib.reason

days := max({data.tables.classifications[class].destroy_wait_days | some class in input.target.classifications}) if {
	input.operation in data.tables.quorum.waits_by_class
}

# METADATA
# scope: rule
# title: Destruction waits
# description: How long the class of the key delays its destruction.
# custom:
#   id: quorum.wait
#   code: wait
#   controls:
#     - nist-800-57:P1-8.3.4-DESTROY
#     - pci-dss-4.0.1:3.7.5
because contains reason.new(
	rego.metadata.rule(),
	sprintf("destruction waits %v days, and one person may cancel it meanwhile", [days]),
	"wait, or cancel",
)

wait_seconds contains days * 86400
