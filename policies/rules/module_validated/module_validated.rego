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

# METADATA
# scope: rule
# title: No new key under a certificate that has ended
# description: What the keystore claims rests on a certificate that is historical (FIPS 140-2 since 2026-09-22), past its sunset or revoked.
# custom:
#   id: place.module_validated.certificate_ended
#   code: certificate_ended
#   controls:
#     - nist-800-53r5:SC-13
#     - pci-dss-4.0.1:3.6.1.2
deny contains {"keystore": id, "reason": reason.new(rego.metadata.rule(), "the certificate that this keystore claims takes no new keys", "have the risk accepted for a time (exception.grant place.module_validated), record a newer certificate, or record none (keystore.alter)")} if {
	some id, store in input.keystores
	store.certificate
	not placing.validated
	not placing.counts(store)
}
