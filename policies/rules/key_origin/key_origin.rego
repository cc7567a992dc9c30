# METADATA
# title: Material of an accepted origin
# description: Where new material is made, or how it comes in, is what the class accepts.
package conclave.rules.place.origin

import data.conclave.lib.placing
import data.conclave.lib.reason

accepted if input.key.origin in placing.origins

# METADATA
# scope: rule
# title: The class accepts where the material comes from
# description: The key's class does not accept material of this origin. Keys that are there stay.
# custom:
#   id: place.origin.origin_class
#   code: origin_class
#   controls:
#     - pci-dss-4.0.1:3.7.1
#     - nist-800-53r5:SC-12
deny contains {"keystore": id, "reason": reason.new(rego.metadata.rule(), sprintf("the key's class does not accept %v material", [input.key.origin]), sprintf("use material of origin %v", [concat(" or ", placing.origins)]))} if {
	some id, _ in input.keystores
	input.existing == false
	input.key.origin
	not accepted
}
