# METADATA
# title: Strong keystores never export
# description: From a FIPS level on, a keystore out of which keys can be taken has no business being one.
package conclave.rules.place.export

import data.conclave.lib.reason

# A keystore that does not say whether it exports counts as one that does.
kept(store) if store.export == false

kept(store) if store.fips_level < data.tables.placement.no_export_level

# METADATA
# scope: rule
# title: Strong keystores never export
# description: Keys can leave the keystore, whose FIPS level forbids that.
# custom:
#   id: place.export
#   code: export_possible
#   controls:
#     - pci-dss-4.0.1:3.6.1.2
#     - nist-800-53r5:SC-12(6)
deny contains {"keystore": id, "reason": reason.new(rego.metadata.rule(), "keys can leave this keystore, which its level forbids", "have export switched off in the device and recorded (keystore.alter)")} if {
	some id, store in input.keystores
	not kept(store)
}
