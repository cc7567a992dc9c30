# METADATA
# title: Some keys share their keystore with nobody
# description: Class and impact say whether others' keys may live in the same keystore.
package conclave.rules.place.tenancy

import data.conclave.lib.placing
import data.conclave.lib.reason

# A keystore that does not say counts as shared.
alone(store) if store.tenancy == "single"

shared if placing.class.multi_tenant[input.key.impact] == true

# METADATA
# scope: rule
# title: Some keys share their keystore with nobody
# description: Others' keys live in the keystore, and the key's class and impact do not let that be.
# custom:
#   id: place.tenancy
#   code: tenancy_shared
#   controls:
#     - pci-dss-4.0.1:3.6.1.3
deny contains {"keystore": id, "reason": reason.new(rego.metadata.rule(), "others' keys live in this keystore", "choose a keystore of a single tenant")} if {
	some id, store in input.keystores
	not alone(store)
	not shared
}
