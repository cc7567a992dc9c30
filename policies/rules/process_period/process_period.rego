# METADATA
# title: Recipient usage period
# description: Process from the activation date until the end of the recipient usage period.
package conclave.rules.authorise.process_period

import data.conclave.lib.call
import data.conclave.lib.reason

activated if input.version.activation_at <= input.now

within if input.now < input.version.rup_end

# METADATA
# scope: rule
# title: Process after activation
# description: The activation date lies ahead, or there is none.
# custom:
#   id: authorise.process_period.process_before_activation
#   code: process_before_activation
#   controls:
#     - nist-800-57:P1-5.3-CRYPTOPERIOD
deny contains reason.new(rego.metadata.rule(), "the version's activation date lies ahead", "wait for the activation date") if {
	call.processes
	not activated
}

# METADATA
# scope: rule
# title: Recipient usage period
# description: The recipient usage period is over, or has no end.
# custom:
#   id: authorise.process_period.rup_ended
#   code: rup_ended
#   controls:
#     - pci-dss-4.0.1:3.7.4
#     - nist-800-57:P1-5.3-CRYPTOPERIOD
deny contains reason.new(rego.metadata.rule(), "the version's recipient usage period is over", "have an exception granted by ceremony") if {
	call.processes
	not within
}
