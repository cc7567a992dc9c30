# METADATA
# title: A suspended version processes old data at accepted risk
# description: State table 1 note (a). Only data protected before the suspension, with the risk accepted and a reason; never on suspicion of compromise.
package conclave.rules.authorise.suspended_use

import data.conclave.lib.call
import data.conclave.lib.reason

applies if {
	call.processes
	input.version.state == "suspended"
}

unsuspected if input.version.suspected == false

from_before if input.protected_at < input.version.suspended_at

accepted if input.accept_risk == true

justified if input.reason_code

# METADATA
# scope: rule
# title: No use on suspicion
# description: The version is suspended on suspicion of compromise.
# custom:
#   id: authorise.suspended_use.suspected_compromise
#   code: suspected_compromise
#   controls:
#     - nist-800-57:P1-7-STATES
#     - pci-dss-4.0.1:3.7.5
deny contains reason.new(rego.metadata.rule(), "the version is suspended on suspicion of compromise", "wait until the finding is closed and the key released") if {
	applies
	not unsuspected
}

# METADATA
# scope: rule
# title: Only data from before the suspension
# description: The data was protected during the suspension, or it is not known when.
# custom:
#   id: authorise.suspended_use.protected_during_suspension
#   code: protected_during_suspension
#   controls:
#     - nist-800-57:P1-7-STATES
deny contains reason.new(rego.metadata.rule(), "the data was protected while the version was suspended, or at an unknown time", "wait until the key is released") if {
	applies
	not from_before
}

# METADATA
# scope: rule
# title: The risk is accepted
# description: The caller has not accepted the risk of using a suspended version.
# custom:
#   id: authorise.suspended_use.risk_not_accepted
#   code: risk_not_accepted
#   controls:
#     - nist-800-57:P1-7-STATES
deny contains reason.new(rego.metadata.rule(), "the version is suspended and the risk is not accepted", "repeat the call with accept_risk and a reason code, or wait until the key is released") if {
	applies
	not accepted
}

# METADATA
# scope: rule
# title: The use is justified
# description: The caller gave no reason.
# custom:
#   id: authorise.suspended_use.reason_required
#   code: reason_required
#   controls:
#     - nist-800-57:P1-7-STATES
deny contains reason.new(rego.metadata.rule(), "the version is suspended and no reason code is given", "repeat the call with a reason code") if {
	applies
	not justified
}
