# METADATA
# title: Reasons come from the table
# description: A reason code, where given, is one that reports can count.
package conclave.rules.authorise.reason_code

import data.conclave.lib.reason

listed if input.reason_code in data.tables.authorisation.reason_codes

# METADATA
# scope: rule
# title: Reasons come from the table
# description: The reason code is not in the table.
# custom:
#   id: authorise.reason_code
#   code: reason_code_unknown
#   controls:
#     - hipaa-security-rule:164.312(b)
deny contains reason.new(rego.metadata.rule(), "the reason code is unknown", sprintf("use one of %v", [data.tables.authorisation.reason_codes])) if {
	input.reason_code
	not listed
}
