# METADATA
# title: Originator usage period
# description: Protect from the activation date until the end of the originator usage period, by date and not by a job.
package conclave.rules.authorise.protect_period

import data.conclave.lib.call
import data.conclave.lib.reason

activated if call.protecting.activation_at <= input.now

within if input.now < call.protecting.oup_end

# METADATA
# scope: rule
# title: Protect after activation
# description: The activation date lies ahead, or there is none.
# custom:
#   id: authorise.protect_period.not_yet_active
#   code: not_yet_active
#   controls:
#     - pci-dss-4.0.1:3.7.4
#     - nist-800-57:P1-5.3-CRYPTOPERIOD
deny contains reason.new(rego.metadata.rule(), "the version's activation date lies ahead", "wait for the activation date, or use an active version") if {
	call.protects
	not activated
}

# METADATA
# scope: rule
# title: Originator usage period
# description: The originator usage period is over, or has no end.
# custom:
#   id: authorise.protect_period.oup_ended
#   code: oup_ended
#   controls:
#     - pci-dss-4.0.1:3.7.4
#     - nist-800-57:P1-5.3-CRYPTOPERIOD
deny contains reason.new(rego.metadata.rule(), "the version's originator usage period is over", "have the key rotated") if {
	call.protects
	not within
}
