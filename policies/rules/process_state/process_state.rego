# METADATA
# title: States that process
# description: "State table 1: process in active, suspended (limited) and deactivated; compromised under a controlled-use approval only; never before activation or destroyed."
package conclave.rules.authorise.process_state

import data.conclave.lib.call
import data.conclave.lib.reason

permitted if call.processing_state in data.tables.authorisation.process_states

permitted if {
	call.processing_state == "compromised"
	input.operation in data.tables.authorisation.controlled_use
	input.version.controlled_use
	input.now < input.version.controlled_until
}

# METADATA
# scope: rule
# title: States that process
# description: The version's state forbids processing.
# custom:
#   id: authorise.process_state
#   code: state_forbids_process
#   controls:
#     - nist-800-57:P1-7-STATES
#     - pci-dss-4.0.1:3.7.5
deny contains reason.new(rego.metadata.rule(), sprintf("a version in state %v processes nothing", [call.processing_state]), "restore the data from a source protected by another version; of a compromised one a quorum may approve a controlled use (key.controlled-use)") if {
	call.processes
	not permitted
}
