# METADATA
# title: Only registered keystores take keys
# description: A retired or unregistered keystore takes no key.
package conclave.rules.place.keystore_status

import data.conclave.lib.reason

registered(store) if store.status == data.tables.modules.status

# METADATA
# scope: rule
# title: Only registered keystores take keys
# description: The keystore is not registered, or retired.
# custom:
#   id: place.keystore_status
#   code: keystore_not_registered
#   controls:
#     - pci-dss-4.0.1:3.6.1.2
deny contains {"keystore": id, "reason": reason.new(rego.metadata.rule(), "the keystore is not registered", "choose a registered keystore")} if {
	some id, store in input.keystores
	not registered(store)
}
