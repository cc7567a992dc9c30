# METADATA
# title: Rotation comes before the end
# description: A new version is made while the old one still protects.
package conclave.rules.lifecycle.rotation

import data.conclave.lib.periods
import data.conclave.lib.reason

in_time if periods.rotate <= periods.oup

# METADATA
# scope: rule
# title: Rotation comes before the end
# description: Rotation is scheduled after the originator usage period.
# custom:
#   id: lifecycle.rotation
#   code: rotation_too_late
#   controls:
#     - pci-dss-4.0.1:3.7.4
#     - nist-800-57:P1-5.3-CRYPTOPERIOD
deny contains reason.new(rego.metadata.rule(), sprintf("rotation after %v days comes after the originator usage period", [periods.rotate]), sprintf("ask for at most %v days", [periods.oup])) if {
	not in_time
	periods.oup
}
