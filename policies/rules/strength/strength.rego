# METADATA
# title: Keys are as strong as what they protect
# description: A key has the least strength of its kind, symmetric or asymmetric, and what protects it in its keystore is as strong as it is.
package conclave.rules.place.strength

import data.conclave.lib.reason

# METADATA
# description: The least strength of keys of this kind. An unknown kind is judged by the highest.
default least := 256

least := data.tables.modules.least_strength_bits[data.tables.algorithms[input.key.algorithm].kind]

needed := max({least, input.key.strength_bits})

strong(store) if store.key_strength >= needed

strong_itself if input.key.strength_bits >= least

# METADATA
# scope: rule
# title: Keys are as strong as what they protect
# description: What protects keys in this keystore is too weak.
# custom:
#   id: place.strength.strength_low
#   code: strength_low
#   controls:
#     - nist-800-57:P1-5.6-STRENGTH
#     - pci-dss-4.0.1:3.7.1
#     - pci-dss-4.0.1:3.6.1
deny contains {"keystore": id, "reason": reason.new(rego.metadata.rule(), sprintf("%v bits of security are needed", [needed]), "choose a keystore that makes stronger keys")} if {
	some id, store in input.keystores
	not strong(store)
}

# METADATA
# scope: rule
# title: Keys have the least strength of their kind
# description: Keys of this algorithm are weaker than keys of their kind may be.
# custom:
#   id: place.strength.key_strength_low
#   code: key_strength_low
#   controls:
#     - nist-800-57:P1-5.6-STRENGTH
#     - pci-dss-4.0.1:3.7.1
deny contains {"keystore": id, "reason": reason.new(rego.metadata.rule(), sprintf("keys of this kind have at least %v bits of security", [least]), "use a stronger algorithm")} if {
	some id, _ in input.keystores
	not strong_itself
}
