# METADATA
# title: Keys are as strong as what they protect
# description: Keys made there have the strength demanded, and at least the least strength of the tables.
package conclave.rules.place.strength

import data.conclave.lib.reason

needed := max({data.tables.modules.least_strength_bits, input.key.strength_bits})

strong(store) if store.key_strength >= needed

# METADATA
# scope: rule
# title: Keys are as strong as what they protect
# description: Keys made in this keystore are too weak.
# custom:
#   id: place.strength
#   code: strength_low
#   controls:
#     - nist-800-57:P1-5.6-STRENGTH
#     - pci-dss-4.0.1:3.7.1
#     - pci-dss-4.0.1:3.6.1
deny contains {"keystore": id, "reason": reason.new(rego.metadata.rule(), sprintf("%v bits of security are needed", [needed]), "choose a keystore that makes stronger keys")} if {
	some id, store in input.keystores
	not strong(store)
}
