# METADATA
# title: Only an active version protects
# description: "State table 1: protect in state active alone."
package conclave.rules.authorise.protect_state

import data.conclave.lib.call
import data.conclave.lib.reason

permitted if call.protecting_state in data.tables.authorisation.protect_states

# METADATA
# scope: rule
# title: Only an active version protects
# description: The version that would protect is not in state active.
# custom:
#   id: authorise.protect_state
#   code: state_forbids_protect
#   controls:
#     - nist-800-57:P1-7-STATES
#     - pci-dss-4.0.1:3.7.5
deny contains reason.new(rego.metadata.rule(), sprintf("a version in state %v protects nothing", [call.protecting_state]), "use the current version, or have the key released or rotated") if {
	call.protects
	not permitted
}
