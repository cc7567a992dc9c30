# METADATA
# title: Protected data needs a validated module
# description: Cardholder data, ePHI and restricted data live in modules whose certificate is in force.
package conclave.rules.place.module_validated

import data.conclave.lib.placing
import data.conclave.lib.reason

# METADATA
# scope: rule
# title: Protected data needs a validated module
# description: The keystore has no certificate in force, or its standard takes no new keys.
# custom:
#   id: place.module_validated
#   code: module_not_validated
#   controls:
#     - nist-800-53r5:SC-13
#     - hipaa-security-rule:164.312(a)(2)(iv)
#     - pci-dss-4.0.1:3.6.1.2
deny contains {"keystore": id, "reason": reason.new(rego.metadata.rule(), "no certificate of this keystore is in force for new keys", "choose a keystore with an active FIPS 140-3 certificate")} if {
	some id, store in input.keystores
	placing.validated
	not placing.counts(store)
}
