# METADATA
# title: Production and test keystores stay apart
# description: A key lives in a keystore of its own environment.
package conclave.rules.place.environment

import data.conclave.lib.reason

matches(store) if store.environment == input.key.environment

# METADATA
# scope: rule
# title: Production and test keystores stay apart
# description: Key and keystore belong to different environments.
# custom:
#   id: place.environment
#   code: environment_mismatch
#   controls:
#     - pci-dss-4.0.1:3.6.1.1
deny contains {"keystore": id, "reason": reason.new(rego.metadata.rule(), "key and keystore belong to different environments", sprintf("choose a keystore of environment %v", [object.get(input.key, "environment", "(none given)")]))} if {
	some id, store in input.keystores
	not matches(store)
}
