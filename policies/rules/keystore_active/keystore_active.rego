# METADATA
# title: Inactive keystores serve nobody
# description: A keystore serves only after a quorum has activated it.
package conclave.rules.authorise.keystore_active

import data.conclave.lib.call
import data.conclave.lib.reason

active if input.keystore.active == true

# METADATA
# scope: rule
# title: Inactive keystores serve nobody
# description: The keystore of this key has not been activated.
# custom:
#   id: authorise.keystore_active
#   code: keystore_inactive
#   controls:
#     - pci-dss-4.0.1:3.6.1.2
#     - pci-dss-4.0.1:3.7.6
deny contains reason.new(rego.metadata.rule(), "the keystore is inactive", "have the keystore activated by its custodians, then retry") if {
	call.uses_key
	not active
}
