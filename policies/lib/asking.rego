# METADATA
# title: Asking
# description: What the table of operations asks for this operation on this target.
package conclave.lib.asking

open_class(class) if data.tables.classifications[class].protected == false

rotates_directly(class) if data.tables.classifications[class].rotation_governed == false

# METADATA
# description: The target touches a key of a protected class. An unknown class counts as protected.
default protected := false

protected if {
	some class in input.target.classifications
	not open_class(class)
}

# METADATA
# description: It is known which classes the target touches.
default classified := false

classified if count(input.target.classifications) > 0

# METADATA
# description: The governed decision it rests on is cited.
default precedent := false

precedent if input.precedent

default by_node := false

by_node if input.requester.kind == "node"

# METADATA
# description: The requester is the person answerable for the target, or that person.
default by_owner := false

by_owner if input.requester.id == input.target.owner

# METADATA
# description: A class touched wants rotation governed. So does an unknown class.
default rotation_governed := false

rotation_governed if {
	some class in input.target.classifications
	not rotates_directly(class)
}

# METADATA
# description: A reclassification after which the key is governed at least as strictly. What is not known does not.
default raising := false

raising if input.target.raising == true

facts := {
	"protected": protected,
	"classified": classified,
	"precedent": precedent,
	"by_node": by_node,
	"by_owner": by_owner,
	"raising": raising,
	"rotation_governed": rotation_governed,
}

matching := [row |
	some row in data.tables.operations[input.operation]
	every name, wanted in row.when {
		facts[name] == wanted
	}
]

# METADATA
# description: The first row whose conditions hold, over the defaults of its class. Undefined when there is none.
requirement := object.union(data.tables.operation_classes[matching[0].class], matching[0])

# METADATA
# description: Why the class asks what it asks.
why := sprintf("%v; %v", [data.tables.operation_classes[requirement.class].title, requirement.why])

# METADATA
# description: The controls of the operation and of its class.
controls := sort({control |
	some control in array.concat(requirement.controls, data.tables.operation_classes[requirement.class].controls)
})
