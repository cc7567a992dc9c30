# METADATA
# title: Production and test stay apart
# description: An application uses keys of its own environment only, in a keystore of that environment.
package conclave.rules.authorise.key_environment

import data.conclave.lib.call
import data.conclave.lib.reason

application_matches if input.principal.environment == input.key.environment

# People belong to no environment.
application_matches if {
	call.emergency
	input.principal.kind == "human"
}

keystore_matches if input.keystore.environment == input.key.environment

# METADATA
# scope: rule
# title: Production and test stay apart
# description: Application and key belong to different environments.
# custom:
#   id: authorise.key_environment.environment_mismatch
#   code: environment_mismatch
#   controls:
#     - pci-dss-4.0.1:3.6.1.1
deny contains reason.new(rego.metadata.rule(), "application and key belong to different environments", "use a key of the application's environment") if {
	call.uses_key
	not application_matches
}

# METADATA
# scope: rule
# title: Production and test keystores stay apart
# description: Key and keystore belong to different environments.
# custom:
#   id: authorise.key_environment.keystore_environment_mismatch
#   code: keystore_environment_mismatch
#   controls:
#     - pci-dss-4.0.1:3.6.1.1
deny contains reason.new(rego.metadata.rule(), "key and keystore belong to different environments", "move the key to a keystore of its environment") if {
	call.uses_key
	not keystore_matches
}
