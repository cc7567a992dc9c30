# METADATA
# title: Decision point lifecycle
# description: Allows the proposed periods when no rule below conclave.rules.lifecycle denies.
package conclave.decide.lifecycle

import data.conclave.lib.periods

reasons contains reason if {
	some name
	some reason in data.conclave.rules.lifecycle[name].deny
}

# METADATA
# entrypoint: true
# description: The decision, with the periods wherever type and class are known.
decision := {
	"allow": count(reasons) == 0,
	"reasons": reasons,
	"oup_days": periods.oup,
	"rup_days": periods.rup,
	"rotate_days": periods.rotate,
	"max_oup_days": periods.max_oup,
	"max_rup_days": periods.max_rup,
	"warn_days": data.tables.cryptoperiods.warn_days,
	"destroy_wait_days": periods.class.destroy_wait_days,
	"suspension_review_days": periods.review,
} if {
	periods.type
	periods.class
} else := {
	"allow": false,
	"reasons": reasons,
}
