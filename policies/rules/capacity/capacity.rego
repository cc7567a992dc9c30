# METADATA
# title: A full keystore takes no more keys
# description: The record bounds how many key versions a keystore holds.
package conclave.rules.place.capacity

import data.conclave.lib.reason

room(_) if input.existing == true

room(store) if store.max_keys == 0

room(store) if store.keys < store.max_keys

# METADATA
# scope: rule
# title: A full keystore takes no more keys
# description: As many key versions as the keystore may hold are in it.
# custom:
#   id: place.capacity
#   code: keystore_full
#   controls:
#     - nist-800-57:P1-6-INVENTORY
deny contains {"keystore": id, "reason": reason.new(rego.metadata.rule(), "the keystore holds as many key versions as it may", "destroy what is no longer needed, raise the bound (keystore.alter), or choose another keystore")} if {
	some id, store in input.keystores
	not room(store)
}
