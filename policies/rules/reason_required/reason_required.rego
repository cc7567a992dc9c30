# METADATA
# title: Some uses are justified
# description: For classes, operations and applications that the table names, a caller says why, with a code that the table allows.
package conclave.rules.authorise.reason_required

import data.conclave.lib.call
import data.conclave.lib.reason

names(list, _) if count(list) == 0

names(list, value) if value in list

concerns(row) if row.emergency == false

concerns(row) if {
	row.emergency == true
	call.emergency
}

caller := input.principal.id if input.principal.kind == "application"

caller := "" if input.principal.kind != "application"

rows contains row if {
	call.uses_key
	some row in data.tables.authorisation.reason_required
	concerns(row)
	names(row.classifications, input.key.classification)
	names(row.operations, input.operation)
	names(row.applications, caller)
}

allowed(row) if input.reason_code in row.codes

given if input.reason_code

# METADATA
# scope: rule
# title: Some uses are justified
# description: A reason code is demanded and none is given.
# custom:
#   id: authorise.reason_required.reason_code_required
#   code: reason_code_required
#   controls:
#     - hipaa-security-rule:164.312(b)
#     - pci-dss-4.0.1:7.2.5
deny contains reason.new(rego.metadata.rule(), sprintf("%v is justified with a reason code: %v", [input.operation, row.why]), sprintf("give one of the reason codes %v", [row.codes])) if {
	some row in rows
	not given
}

# METADATA
# scope: rule
# title: Reasons fit the use
# description: The reason code given is none that is allowed for this use.
# custom:
#   id: authorise.reason_required.reason_code_not_allowed
#   code: reason_code_not_allowed
#   controls:
#     - hipaa-security-rule:164.312(b)
#     - pci-dss-4.0.1:7.2.5
deny contains reason.new(rego.metadata.rule(), sprintf("reason code %v does not justify %v: %v", [input.reason_code, input.operation, row.why]), sprintf("give one of the reason codes %v", [row.codes])) if {
	some row in rows
	given
	not allowed(row)
}
