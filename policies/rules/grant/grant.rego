# METADATA
# title: Applications use a key by grant
# description: "No grant, no use: a grant names application, key, operations and an end."
package conclave.rules.authorise.grant

import data.conclave.lib.call
import data.conclave.lib.reason

needed if call.uses_key

needed if {
	input.principal.kind == "application"
	call.operation.application_grant
}

granted if input.grant.id

unrevoked if input.grant.revoked == false

current if input.now < input.grant.expires_at

emergency if input.grant.emergency

running if {
	unrevoked
	current
}

names_operation if input.operation in input.grant.operations

# METADATA
# scope: rule
# title: Applications use a key by grant
# description: There is no grant of this key to this application.
# custom:
#   id: authorise.grant.grant_missing
#   code: grant_missing
#   controls:
#     - pci-dss-4.0.1:7.2.2
#     - pci-dss-4.0.1:7.2.5
#     - pci-dss-4.0.1:7.3.3
deny contains reason.new(rego.metadata.rule(), "the application has no grant for this key", "have the key granted to the application") if {
	needed
	not granted
}

# METADATA
# scope: rule
# title: Revoked grants are refused
# description: The grant was revoked.
# custom:
#   id: authorise.grant.grant_revoked
#   code: grant_revoked
#   controls:
#     - pci-dss-4.0.1:7.2.5
deny contains reason.new(rego.metadata.rule(), "the grant is revoked", "have the key granted anew") if {
	needed
	granted
	not emergency
	not unrevoked
}

# METADATA
# scope: rule
# title: Grants end
# description: The grant has ended, or has no end.
# custom:
#   id: authorise.grant.grant_expired
#   code: grant_expired
#   controls:
#     - pci-dss-4.0.1:7.2.5
#     - pci-dss-4.0.1:7.2.5.1
deny contains reason.new(rego.metadata.rule(), "the grant has expired, or lacks the expiry it must have", "have the key granted anew") if {
	needed
	granted
	not emergency
	not current
}

# METADATA
# scope: rule
# title: Emergency access ends
# description: The emergency access was closed, or its time is over.
# custom:
#   id: authorise.grant.emergency_access_ended
#   code: emergency_access_ended
#   controls:
#     - hipaa-security-rule:164.312(a)(2)(ii)
deny contains reason.new(rego.metadata.rule(), "the emergency access has ended: somebody closed it, or its time is over", "have emergency access opened anew, or the key granted") if {
	needed
	granted
	emergency
	not running
}

# METADATA
# scope: rule
# title: Grants name operations
# description: The grant does not name this operation.
# custom:
#   id: authorise.grant.grant_operation
#   code: grant_operation
#   controls:
#     - pci-dss-4.0.1:7.2.2
#     - nist-800-53r5:AC-6
deny contains reason.new(rego.metadata.rule(), sprintf("the grant does not name %v", [input.operation]), sprintf("have a grant made that names %v", [input.operation])) if {
	call.uses_key
	granted
	not names_operation
}
