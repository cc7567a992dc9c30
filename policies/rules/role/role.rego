# METADATA
# title: Humans act by role
# description: A person needs one of the roles the operation names.
package conclave.rules.authorise.role

import data.conclave.lib.call
import data.conclave.lib.reason

holds_role if {
	some role in input.principal.roles
	role in call.operation.roles
}

# The quorum that opened emergency access named the person.
holds_role if call.emergency

# METADATA
# scope: rule
# title: Humans act by role
# description: The person holds none of the roles that may do this operation.
# custom:
#   id: authorise.role
#   code: role_missing
#   controls:
#     - pci-dss-4.0.1:7.2.1
#     - pci-dss-4.0.1:7.2.2
#     - nist-800-53r5:AC-5
deny contains reason.new(rego.metadata.rule(), sprintf("the caller holds no role that may do %v", [input.operation]), sprintf("hold one of the roles %v", [call.roles])) if {
	input.principal.kind == "human"
	not holds_role
}
