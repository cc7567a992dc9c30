# METADATA
# title: Who may propose
# description: Each operation names the kinds and roles that may propose it.
package conclave.rules.quorum.proposer

import data.conclave.lib.asking
import data.conclave.lib.reason

kind_allowed if input.requester.kind in asking.requirement.proposer_kinds

holds_role if {
	some role in input.requester.roles
	role in asking.requirement.proposer_roles
}

# METADATA
# scope: rule
# title: Kinds that may propose
# description: Callers of this kind may not propose this operation.
# custom:
#   id: quorum.proposer.kind
#   code: proposer_kind_forbidden
#   controls:
#     - nist-800-53r5:AC-5
deny contains reason.new(
	rego.metadata.rule(),
	sprintf("callers of this kind may not propose %v", [input.operation]),
	sprintf("have it proposed by %v", [concat(" or ", asking.requirement.proposer_kinds)]),
) if {
	not kind_allowed
}

# METADATA
# scope: rule
# title: Roles that may propose
# description: The requester holds none of the roles that may propose this operation.
# custom:
#   id: quorum.proposer.role
#   code: proposer_role_missing
#   controls:
#     - pci-dss-4.0.1:7.2.1
#     - nist-800-53r5:AC-5
deny contains reason.new(
	rego.metadata.rule(),
	sprintf("the requester holds no role that may propose %v", [input.operation]),
	sprintf("have it proposed by a person with role %v", [concat(" or ", asking.requirement.proposer_roles)]),
) if {
	input.requester.kind != "node"
	count(asking.requirement.proposer_roles) > 0
	not holds_role
}
