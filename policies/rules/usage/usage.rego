# METADATA
# title: One key, one use
# description: A key does the operations of its type and no others.
package conclave.rules.authorise.usage

import data.conclave.lib.call
import data.conclave.lib.reason

operations := object.get(data.tables.authorisation.key_types, [input.key.type, "operations"], [])

fits if input.operation in operations

# METADATA
# scope: rule
# title: One key, one use
# description: Keys of this type do not do the operation.
# custom:
#   id: authorise.usage
#   code: usage_mismatch
#   controls:
#     - nist-800-57:P1-5.2-ONE-USE
deny contains reason.new(rego.metadata.rule(), sprintf("keys of this type do not %v", [input.operation]), "use a key that was made for it") if {
	call.uses_key
	not fits
}
