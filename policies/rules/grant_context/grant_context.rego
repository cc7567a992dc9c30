# METADATA
# title: Grants bind the encryption context
# description: Fields a grant names must stand in the encryption context with the same value.
package conclave.rules.authorise.grant_context

import data.conclave.lib.call
import data.conclave.lib.reason

matches(field, value) if input.context[field] == value

# METADATA
# scope: rule
# title: Grants bind the encryption context
# description: The encryption context lacks a field the grant names, or holds another value.
# custom:
#   id: authorise.grant_context
#   code: context_mismatch
#   controls:
#     - pci-dss-4.0.1:7.2.2
#     - nist-800-53r5:AC-6
deny contains reason.new(rego.metadata.rule(), sprintf("field %v of the encryption context is not what the grant names", [field]), sprintf("give field %v the value that the grant names", [field])) if {
	call.uses_key
	some field, value in input.grant.context
	not matches(field, value)
}
