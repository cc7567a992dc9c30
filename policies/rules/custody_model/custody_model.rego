# METADATA
# title: Custody is as demanded
# description: Who can reach the key is what the class accepts and the owner demands.
package conclave.rules.place.custody

import data.conclave.lib.placing
import data.conclave.lib.reason

accepted(store) if store.custody in placing.custody

demanded(store) if store.custody in input.key.custody

# METADATA
# scope: rule
# title: The class accepts the custody model
# description: The key's class does not accept this custody model.
# custom:
#   id: place.custody.custody_class
#   code: custody_class
#   controls:
#     - pci-dss-4.0.1:3.6.1.3
deny contains {"keystore": id, "reason": reason.new(rego.metadata.rule(), "the key's class does not accept the keystore's custody model", sprintf("choose a keystore of custody model %v", [concat(" or ", placing.custody)]))} if {
	some id, store in input.keystores
	not accepted(store)
}

# METADATA
# scope: rule
# title: The owner's demand is met
# description: The key's owner demands another custody model.
# custom:
#   id: place.custody.custody_demanded
#   code: custody_demanded
#   controls:
#     - pci-dss-4.0.1:3.6.1.3
deny contains {"keystore": id, "reason": reason.new(rego.metadata.rule(), "the key demands another custody model", sprintf("choose a keystore of custody model %v", [concat(" or ", input.key.custody)]))} if {
	some id, store in input.keystores
	count(input.key.custody) > 0
	not demanded(store)
}

met(demand, store) if store.custody in demand.custody

# METADATA
# scope: rule
# title: Every data set's demand is met
# description: A data set under the key lets only other custody models be.
# custom:
#   id: place.custody.data_set
#   code: custody_data_set
#   controls:
#     - pci-dss-4.0.1:3.6.1.3
deny contains {"keystore": id, "reason": reason.new(rego.metadata.rule(), sprintf("data set %v demands custody model %v", [demand.by, concat(" or ", demand.custody)]), "choose a keystore of that custody model, or have the data set's demand changed (asset.alter)")} if {
	some id, store in input.keystores
	some demand in input.key.demands
	not met(demand, store)
}
