# METADATA
# title: Known classes only
# description: A key of unknown classification or impact has no place.
package conclave.rules.place.class

import data.conclave.lib.placing
import data.conclave.lib.reason

known if placing.class.least_level[input.key.impact]

# METADATA
# scope: rule
# title: Known classes only
# description: Classification or FIPS 199 impact is not in the table.
# custom:
#   id: place.class
#   code: class_unknown
#   controls:
#     - fips-199:CATEGORISE
#     - nist-800-57:P1-6.2.3-METADATA
deny contains {"keystore": id, "reason": reason.new(rego.metadata.rule(), "the key's classification or impact is unknown", "give a classification of data/classifications.json and an impact of low, moderate or high")} if {
	some id, _ in input.keystores
	not known
}
