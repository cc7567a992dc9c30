# METADATA
# title: Known operations only
# description: An operation the table does not list is refused.
package conclave.rules.authorise.operation

import data.conclave.lib.reason

known if data.tables.authorisation.operations[input.operation].kind in {"act", "process", "protect", "read", "rewrap"}

# METADATA
# scope: rule
# title: Known operations only
# description: The operation is not in the table of operations.
# custom:
#   id: authorise.operation
#   code: operation_unknown
#   controls:
#     - nist-800-53r5:AC-6
deny contains reason.new(rego.metadata.rule(), sprintf("operation %v is unknown", [input.operation]), "use an operation listed in data/authorisation.json") if {
	not known
}
