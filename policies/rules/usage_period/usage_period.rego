# METADATA
# title: Usage periods are bounded
# description: "SP 800-57 Part 1 Table 1: two years at most to protect, three more to process; a class may ask for less."
package conclave.rules.lifecycle.usage_period

import data.conclave.lib.periods
import data.conclave.lib.reason

oup_bounded if periods.oup <= periods.max_oup

rup_covers_oup if periods.rup >= periods.oup

rup_bounded if periods.rup <= periods.max_rup

# METADATA
# scope: rule
# title: The originator usage period is bounded
# description: The originator usage period is longer than type or class allow.
# custom:
#   id: lifecycle.usage_period.oup_too_long
#   code: oup_too_long
#   controls:
#     - pci-dss-4.0.1:3.7.4
#     - nist-800-57:P1-5.3-CRYPTOPERIOD
deny contains reason.new(rego.metadata.rule(), sprintf("an originator usage period of %v days is too long", [periods.oup]), sprintf("ask for at most %v days", [periods.max_oup])) if {
	not oup_bounded
	periods.max_oup
}

# METADATA
# scope: rule
# title: Data can be read as long as it is written
# description: The recipient usage period ends before the originator usage period.
# custom:
#   id: lifecycle.usage_period.rup_too_short
#   code: rup_too_short
#   controls:
#     - pci-dss-4.0.1:3.7.4
#     - nist-800-57:P1-5.3-CRYPTOPERIOD
deny contains reason.new(rego.metadata.rule(), sprintf("a recipient usage period of %v days ends before the originator usage period", [periods.rup]), sprintf("ask for at least %v days", [periods.oup])) if {
	not rup_covers_oup
	periods.oup
}

# METADATA
# scope: rule
# title: The recipient usage period is bounded
# description: The recipient usage period is longer than the type allows.
# custom:
#   id: lifecycle.usage_period.rup_too_long
#   code: rup_too_long
#   controls:
#     - pci-dss-4.0.1:3.7.4
#     - nist-800-57:P1-5.3-CRYPTOPERIOD
deny contains reason.new(rego.metadata.rule(), sprintf("a recipient usage period of %v days is too long", [periods.rup]), sprintf("ask for at most %v days", [periods.max_rup])) if {
	not rup_bounded
	periods.max_rup
}
