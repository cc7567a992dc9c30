# METADATA
# title: Only active principals act
# description: A suspended or departed principal is refused everywhere.
package conclave.rules.authorise.caller_status

import data.conclave.lib.reason

active if input.principal.status == data.tables.authorisation.status

# METADATA
# scope: rule
# title: Only active principals act
# description: The principal is suspended, has left, or is unknown.
# custom:
#   id: authorise.caller_status
#   code: caller_not_active
#   controls:
#     - pci-dss-4.0.1:8.2.5
#     - pci-dss-4.0.1:8.2.6
deny contains reason.new(rego.metadata.rule(), "the caller is not active", "have the principal resumed by ceremony") if {
	not active
}
