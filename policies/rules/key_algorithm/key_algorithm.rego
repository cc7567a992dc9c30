# METADATA
# title: Algorithms by type of key
# description: A key is of an algorithm of the tables that goes with its type, and its keystore makes such keys.
package conclave.rules.place.key_algorithm

import data.conclave.lib.reason

listed if input.key.type in data.tables.algorithms[input.key.algorithm].types

makes(store) if input.key.algorithm in store.algorithms

# METADATA
# scope: rule
# title: Listed algorithms only
# description: The algorithm is not in the table, or not for keys of this type.
# custom:
#   id: place.key_algorithm.algorithm_not_listed
#   code: algorithm_not_listed
#   controls:
#     - nist-800-57:P1-5.2-ONE-USE
#     - pci-dss-4.0.1:3.7.1
deny contains {"keystore": id, "reason": reason.new(rego.metadata.rule(), "the algorithm is not listed for keys of this type", "use an algorithm that data/algorithms.json lists for the type")} if {
	some id, _ in input.keystores
	not listed
}

# METADATA
# scope: rule
# title: The keystore makes such keys
# description: Keys of this algorithm can not be made in this keystore.
# custom:
#   id: place.key_algorithm.algorithm_unsupported
#   code: algorithm_unsupported
#   controls:
#     - pci-dss-4.0.1:3.7.1
deny contains {"keystore": id, "reason": reason.new(rego.metadata.rule(), "the keystore does not make keys of this algorithm", "choose a keystore that does")} if {
	some id, store in input.keystores
	not makes(store)
}
