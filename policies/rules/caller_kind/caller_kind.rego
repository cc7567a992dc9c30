# METADATA
# title: Each kind of caller has its own operations
# description: Applications use keys, humans govern them, auditors read.
package conclave.rules.authorise.caller_kind

import data.conclave.lib.call
import data.conclave.lib.reason

kind_allowed if input.principal.kind in call.operation.principals

kind_allowed if call.emergency

# METADATA
# scope: rule
# title: Each kind of caller has its own operations
# description: This kind of caller may never do this operation.
# custom:
#   id: authorise.caller_kind
#   code: caller_kind_forbidden
#   controls:
#     - pci-dss-4.0.1:7.2.2
#     - nist-800-53r5:AC-5
deny contains reason.new(rego.metadata.rule(), sprintf("callers of this kind may not do %v", [input.operation]), "call as a principal of a kind the operation is for") if {
	not kind_allowed
}
