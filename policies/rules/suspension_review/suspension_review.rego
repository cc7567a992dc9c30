# METADATA
# title: Suspensions are reviewed
# description: A suspension is a question, and is answered in time.
package conclave.rules.lifecycle.suspension_review

import data.conclave.lib.periods
import data.conclave.lib.reason

in_time if periods.review <= data.tables.cryptoperiods.max_suspension_review_days

# METADATA
# scope: rule
# title: Suspensions are reviewed
# description: The review of a suspension is later than allowed.
# custom:
#   id: lifecycle.suspension_review
#   code: review_too_late
#   controls:
#     - nist-800-57:P1-7-TRANSITIONS
#     - pci-dss-4.0.1:3.7.5
deny contains reason.new(rego.metadata.rule(), sprintf("a review after %v days is too late", [periods.review]), sprintf("ask for at most %v days", [data.tables.cryptoperiods.max_suspension_review_days])) if {
	not in_time
}
