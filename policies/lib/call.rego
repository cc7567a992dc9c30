# METADATA
# title: Calls
# description: Facts about the call being authorised that several rules share.
package conclave.lib.call

# METADATA
# description: What the table of operations says about this one. Undefined when it is unknown.
operation := data.tables.authorisation.operations[input.operation]

# METADATA
# description: Roles that may do the operation, none when it is unknown.
default roles := []

roles := operation.roles

# METADATA
# description: The call protects (SP 800-57) data.
protects if operation.kind in {"protect", "rewrap"}

# METADATA
# description: The call processes (SP 800-57) protected data.
processes if operation.kind in {"process", "rewrap"}

# METADATA
# description: The call uses key material.
uses_key if protects

uses_key if processes

# METADATA
# description: The version that protects. A rewrap processes with one version and protects with another.
protecting := input.onto if input.operation == "rewrap"

protecting := input.version if input.operation != "rewrap"

# METADATA
# description: States for messages, which must never be undefined.
default protecting_state := "unknown"

protecting_state := protecting.state

default processing_state := "unknown"

processing_state := input.version.state

# METADATA
# description: >-
#   Emergency access, opened by a quorum, stands in for the grant, and callers of this kind may have it for this
#   operation. That it is not over, not closed and names the operation is judged as with every grant.
default emergency := false

emergency if {
	input.grant.emergency
	input.operation in data.tables.authorisation.emergency[input.principal.kind]
}
