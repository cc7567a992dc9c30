# METADATA
# title: Protected classes take people of more than one team
# description: For protected keys, people of one team or reporting line do not decide among themselves.
package conclave.rules.quorum.diversity

import data.conclave.lib.asking
import data.conclave.lib.reason

applies if {
	asking.requirement.class == "G"
	asking.protected
}

# METADATA
# scope: rule
# title: Protected classes take people of more than one team
# description: The operation touches a protected class, so that the people come from several teams.
# custom:
#   id: quorum.diversity
#   code: diversity
#   controls:
#     - pci-dss-4.0.1:3.7.6
#     - nist-800-53r5:AC-5
because contains reason.new(
	rego.metadata.rule(),
	"the target touches a protected class: people of several teams, none reporting to the requester",
	"find approvers of another team",
) if {
	applies
}

diversity contains data.tables.quorum.protected_diversity if applies
