# METADATA
# title: Credentials end
# description: A revoked or expired credential proves nobody.
package conclave.rules.authorise.credential

import data.conclave.lib.reason

# Tokens always end. Approval keys of people and nodes last as long as their register entry.
current if input.now < input.principal.credential_expires_at

current if {
	not ends
	input.principal.kind in {"human", "node"}
}

unrevoked if input.principal.credential_revoked == false

ends if input.principal.credential_expires_at

# METADATA
# scope: rule
# title: Revoked credentials are refused
# description: The credential that proved the caller was revoked.
# custom:
#   id: authorise.credential.credential_revoked
#   code: credential_revoked
#   controls:
#     - pci-dss-4.0.1:8.6.1-8.6.3
deny contains reason.new(rego.metadata.rule(), "the credential is revoked", "use another credential, or have one issued") if {
	not unrevoked
}

# METADATA
# scope: rule
# title: Expired credentials are refused
# description: The credential ended, or is of a kind that must end and does not.
# custom:
#   id: authorise.credential.credential_expired
#   code: credential_expired
#   controls:
#     - pci-dss-4.0.1:8.6.1-8.6.3
deny contains reason.new(rego.metadata.rule(), "the credential has expired, or lacks the expiry it must have", "have a new credential issued") if {
	not current
}
