# METADATA
# title: The table of operations decides
# description: Every operation has a class and a quorum from the table.
package conclave.rules.quorum.table

import data.conclave.lib.asking

# METADATA
# scope: rule
# title: The table of operations decides
# description: The class of an operation, and why it has it.
# custom:
#   id: quorum.table
#   code: class
#   controls:
#     - nist-800-53r5:AC-3(2)
#     - nist-800-53r5:AC-5
because contains {
	"rule": rego.metadata.rule().custom.id,
	"code": rego.metadata.rule().custom.code,
	"controls": asking.controls,
	"message": asking.why,
	"remedy": "policy may ask for more, never for less",
}
