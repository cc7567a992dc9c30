# METADATA
# title: A key is used with all its facts known
# description: A key whose class or type the tables do not know is not used.
package conclave.rules.authorise.key_facts

import data.conclave.lib.call
import data.conclave.lib.reason

class_known if data.tables.classifications[input.key.classification]

type_known if data.tables.authorisation.key_types[input.key.type]

# METADATA
# scope: rule
# title: Known classifications only
# description: The key's classification is not in the table.
# custom:
#   id: authorise.key_facts.class_unknown
#   code: class_unknown
#   controls:
#     - nist-800-57:P1-6.2.3-METADATA
deny contains reason.new(rego.metadata.rule(), "the key's classification is unknown", "have the key reclassified") if {
	call.uses_key
	not class_known
}

# METADATA
# scope: rule
# title: Known key types only
# description: The key's type is not in the table.
# custom:
#   id: authorise.key_facts.type_unknown
#   code: type_unknown
#   controls:
#     - nist-800-57:P1-5.2-ONE-USE
deny contains reason.new(rego.metadata.rule(), "the key's type is unknown", "use a key of a type listed in data/authorisation.json") if {
	call.uses_key
	not type_known
}
