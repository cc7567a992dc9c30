# METADATA
# title: Decision point place
# description: Judges every candidate keystore; one is allowed when no rule below conclave.rules.place denies it.
package conclave.decide.place

import data.conclave.lib.placing

denials[id] contains denial.reason if {
	some name
	some denial in data.conclave.rules.place[name].deny
	id := denial.keystore
}

verdicts contains {
	"keystore": id,
	"allow": count(reasons) == 0,
	"reasons": reasons,
	"effective_level": placing.effective_level(store),
	"exceptions": {exception | some rule; data.tables.exceptions.rules[rule]; some exception in placing.accepted(rule, store)},
} if {
	some id, store in input.keystores
	reasons := object.get(denials, id, set())
}

# METADATA
# description: A certificate in force is needed.
default validated := false

validated if placing.validated

# METADATA
# entrypoint: true
# description: The decision.
decision := {
	"keystores": verdicts,
	"least_level": placing.least_level,
	"validated": validated,
}
