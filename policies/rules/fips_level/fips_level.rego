# METADATA
# title: Classification and impact set the least FIPS level
# description: The keystore's effective FIPS level reaches what class, impact and frameworks ask for.
package conclave.rules.place.fips_level

import data.conclave.lib.placing
import data.conclave.lib.reason

sufficient(store) if placing.effective_level(store) >= placing.least_level

sufficient(store) if {
	store.simulated == false
	count(placing.accepted("place.fips_level", store)) > 0
}

# METADATA
# scope: rule
# title: Classification and impact set the least FIPS level
# description: The keystore's effective FIPS level is below what this key needs.
# custom:
#   id: place.fips_level
#   code: fips_level_low
#   controls:
#     - pci-dss-4.0.1:3.6.1.2
#     - nist-800-53r5:SC-12(6)
#     - nist-800-53r5:SC-13
deny contains {"keystore": id, "reason": reason.new(rego.metadata.rule(), sprintf("FIPS level %v is needed, %v counts here", [placing.least_level, placing.effective_level(store)]), sprintf("choose a keystore validated at level %v or above", [placing.least_level]))} if {
	some id, store in input.keystores
	not sufficient(store)
}
