# METADATA
# title: What only the owner may propose
# description: Some direct operations belong to the person answerable, or to the person themself.
package conclave.rules.quorum.owner

import data.conclave.lib.asking
import data.conclave.lib.reason

is_owner if input.requester.id == input.target.owner

# METADATA
# scope: rule
# title: What only the owner may propose
# description: The requester is not the person answerable for the target.
# custom:
#   id: quorum.owner
#   code: not_owner
#   controls:
#     - nist-800-53r5:AC-5
#     - pci-dss-4.0.1:7.2.2
deny contains reason.new(
	rego.metadata.rule(),
	sprintf("%v is for the person answerable for the target", [input.operation]),
	"have it proposed by the owner or holder",
) if {
	asking.requirement.owner_only
	not is_owner
}
