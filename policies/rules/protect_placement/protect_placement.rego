# METADATA
# title: A key that is out of place may stop protecting
# description: Keys stay usable where they are; the table says for which reasons against their place they no longer protect.
package conclave.rules.authorise.protect_placement

import data.conclave.lib.call
import data.conclave.lib.reason

# METADATA
# scope: rule
# title: A key that is out of place may stop protecting
# description: The key lives where it would not be placed, for a reason that data/placement.json takes seriously enough to stop its protecting.
# custom:
#   id: authorise.protect_placement
#   code: out_of_place
#   controls:
#     - pci-dss-4.0.1:3.6.1.2
#     - nist-800-53r5:SC-12(6)
deny contains reason.new(rego.metadata.rule(), sprintf("the key protects nothing while it is out of place (%v)", [code]), "move it to a keystore that fits, have the keystore's record put right, or have the risk accepted") if {
	call.protects
	some code in input.keystore.drift
	code in data.tables.placement.stops_protecting
}
