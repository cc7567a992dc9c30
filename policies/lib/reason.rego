# METADATA
# title: Reasons
# description: The one shape in which rules say why.
package conclave.lib.reason

# METADATA
# description: A reason from a rule's own metadata, with what happened and what would make it pass.
new(metadata, message, remedy) := {
	"rule": metadata.custom.id,
	"code": metadata.custom.code,
	"controls": metadata.custom.controls,
	"message": message,
	"remedy": remedy,
}
