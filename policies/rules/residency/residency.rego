# METADATA
# title: Keys stay in their jurisdiction
# description: A key bound to a country or region lives there.
package conclave.rules.place.residency

import data.conclave.lib.reason

resident(_) if input.key.jurisdiction == data.tables.jurisdictions.anywhere

resident(store) if store.jurisdiction == input.key.jurisdiction

resident(store) if store.jurisdiction in data.tables.jurisdictions.regions[input.key.jurisdiction]

# METADATA
# scope: rule
# title: Keys stay in their jurisdiction
# description: The keystore lies outside the key's jurisdiction, or the jurisdiction is unknown.
# custom:
#   id: place.residency
#   code: residency
#   controls:
#     - nist-800-57:P1-6-INVENTORY
deny contains {"keystore": id, "reason": reason.new(rego.metadata.rule(), sprintf("the key is bound to %v", [object.get(input.key, "jurisdiction", "(none given)")]), "choose a keystore in the key's jurisdiction")} if {
	some id, store in input.keystores
	not resident(store)
}
