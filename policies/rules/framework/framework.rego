# METADATA
# title: Known frameworks only
# description: A key under a framework that the tables do not know has no place.
package conclave.rules.place.framework

import data.conclave.lib.reason

known(name) if data.tables.frameworks[name]

# METADATA
# scope: rule
# title: Known frameworks only
# description: The key names a framework that is not in the table.
# custom:
#   id: place.framework
#   code: framework_unknown
#   controls:
#     - nist-800-57:P1-6.2.3-METADATA
deny contains {"keystore": id, "reason": reason.new(rego.metadata.rule(), sprintf("framework %v is unknown", [name]), "name frameworks of data/frameworks.json only")} if {
	some id, _ in input.keystores
	some name in input.key.frameworks
	not known(name)
}
