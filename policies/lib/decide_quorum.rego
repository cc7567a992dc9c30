# METADATA
# title: Decision point quorum
# description: The requirement of the table, raised by the rules below conclave.rules.quorum, never lowered.
package conclave.decide.quorum

import data.conclave.lib.asking

denials contains reason if {
	some name
	some reason in data.conclave.rules.quorum[name].deny
}

reasons contains reason if {
	some name
	some reason in data.conclave.rules.quorum[name].because
}

# METADATA
# description: The longest wait that the table or a rule asks for, seconds.
waits contains asking.requirement.wait_seconds

waits contains wait if {
	some name
	some wait in data.conclave.rules.quorum[name].wait_seconds
}

# METADATA
# description: The number of approvals. Attended operations take the threshold of the share set.
approvals := asking.requirement.approvals if not asking.requirement.shares

approvals := input.target.threshold if asking.requirement.shares

# METADATA
# description: What each rule asks of the diversity of the people taking part. The most demanding counts.
diversities contains asking.requirement.diversity

diversities contains diversity if {
	some name
	some diversity in data.conclave.rules.quorum[name].diversity
}

default reporting_line := false

reporting_line if {
	some diversity in diversities
	diversity.reporting_line
}

# METADATA
# entrypoint: true
# description: The decision. Undefined when the table has no row for the operation.
decision := object.union(asking.requirement, {
	"approvals": approvals,
	"wait_seconds": max(waits),
	"diversity": {
		"teams": max({diversity.teams | some diversity in diversities}),
		"sites": max({diversity.sites | some diversity in diversities}),
		"reporting_line": reporting_line,
	},
	"allow": count(denials) == 0,
	"denials": denials,
	"reasons": reasons,
})
