# METADATA
# title: Key-wrapping keys encrypt no payloads
# description: A type may be closed to direct encryption of payloads; one key, one use.
package conclave.rules.authorise.direct_encryption

import data.conclave.lib.reason

encrypts if data.tables.authorisation.key_types[input.key.type].encrypt

# METADATA
# scope: rule
# title: Key-wrapping keys encrypt no payloads
# description: Keys of this type do not encrypt payloads.
# custom:
#   id: authorise.direct_encryption
#   code: direct_encryption_off
#   controls:
#     - nist-800-57:P1-5.2-ONE-USE
deny contains reason.new(rego.metadata.rule(), "keys of this type do not encrypt payloads directly", "make a data key and encrypt with that") if {
	input.operation == "encrypt"
	not encrypts
}
