# METADATA
# title: Known types and classes only
# description: Cryptoperiods exist for the key types and classes of the tables.
package conclave.rules.lifecycle.known

import data.conclave.lib.periods
import data.conclave.lib.reason

type_known if periods.type

class_known if periods.class

# METADATA
# scope: rule
# title: Known key types only
# description: There is no cryptoperiod for this key type.
# custom:
#   id: lifecycle.known.type_unknown
#   code: type_unknown
#   controls:
#     - pci-dss-4.0.1:3.7.4
#     - nist-800-57:P1-5.3-CRYPTOPERIOD
deny contains reason.new(rego.metadata.rule(), "the key type is unknown", "use a key type of data/cryptoperiods.json") if {
	not type_known
}

# METADATA
# scope: rule
# title: Known classes only
# description: The classification is not in the table.
# custom:
#   id: lifecycle.known.class_unknown
#   code: class_unknown
#   controls:
#     - pci-dss-4.0.1:3.7.4
#     - nist-800-57:P1-5.3-CRYPTOPERIOD
deny contains reason.new(rego.metadata.rule(), "the classification is unknown", "use a classification of data/classifications.json") if {
	not class_known
}
