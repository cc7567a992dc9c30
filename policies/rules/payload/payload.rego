# METADATA
# title: Payloads are bounded
# description: Keys protect keys and small secrets; large data goes under a data key.
package conclave.rules.authorise.payload

import data.conclave.lib.call
import data.conclave.lib.reason

limit := object.get(data.tables.authorisation.max_payload_bytes, input.operation, 0)

within if {
	input.payload_bytes >= 0
	input.payload_bytes <= limit
}

# METADATA
# scope: rule
# title: Payloads are bounded
# description: The payload is larger than the operation takes.
# custom:
#   id: authorise.payload
#   code: payload_too_large
#   controls:
#     - nist-800-57:P1-5.3-CRYPTOPERIOD
deny contains reason.new(rego.metadata.rule(), sprintf("%v takes payloads of 0 to %v bytes", [input.operation, limit]), "make a data key and encrypt with that") if {
	call.uses_key
	not within
}
