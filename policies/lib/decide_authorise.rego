# METADATA
# title: Decision point authorise
# description: Allows when no rule below conclave.rules.authorise denies.
package conclave.decide.authorise

import data.conclave.lib.call

# METADATA
# description: Every reason against the call.
reasons contains reason if {
	some name
	some reason in data.conclave.rules.authorise[name].deny
}

# METADATA
# description: >-
#   The moments at which an allow stops being true. The first of them ends it. The age bound is there
#   for calls that no other date bounds.
bounds contains input.now + (data.tables.memo.max_age_seconds * 1000000)

bounds contains input.principal.credential_expires_at

bounds contains input.grant.expires_at

bounds contains call.protecting.oup_end if call.protects

bounds contains input.version.rup_end if call.processes

bounds contains input.version.controlled_until if call.processes

# METADATA
# description: The largest payload for which an allow stays true, in bytes.
max_payload := data.tables.authorisation.max_payload_bytes[input.operation] if call.uses_key

max_payload := 0 if not call.uses_key

# METADATA
# entrypoint: true
# description: The decision. Anything missing on the way to an allow leaves a denial without reasons, which the engine refuses as an error.
decision := {
	"allow": true,
	"reasons": [],
	"valid_until": min(bounds),
	"max_payload": max_payload,
} if {
	count(reasons) == 0
} else := {
	"allow": false,
	"reasons": reasons,
}
