package cli

import (
	"strings"

	"github.com/spf13/cobra"

	"conclave/app/api"
	"conclave/app/client"
)

func drillCommand() *cobra.Command {
	list := register("Show when each drill of each share set was held and is due", (*client.Client).DrillsDue,
		[]string{"SHARE SET", "DRILL", "WHO", "EVERY", "LAST", "DUE", "STATE", "TO DO"},
		func(d api.DrillDue) []string {
			state := "–"
			if d.Late {
				state = "OVERDUE"
			}
			return []string{d.Set, d.Kind, orDash(d.Person), number(d.Days) + " d", maybe(d.Last), day(d.Due), state, d.What}
		})
	log := register("Show the records of drills", (*client.Client).Drills,
		[]string{"DRILL", "SHARE SET", "KINDS", "RESULT", "STARTED", "FINISHED", "ATTENDANCE", "DEVIATIONS", "PROBLEM", "FINDING", "CEREMONY"},
		func(d api.Drill) []string {
			return []string{d.ID, d.Set, strings.Join(d.Kinds, ", "), d.Result, when(d.StartedAt), when(d.FinishedAt), strings.Join(d.Attendance, ", "),
				number(len(d.Deviations)), orDash(d.Problem), orDash(d.Finding), d.Ceremony}
		})
	log.Use = "log"
	return parent("drill", "Drills of share sets: what is due, records, schedule", list, log,
		proposal{use: "schedule SET", name: "drill.schedule", member: "set", reasonMember: "reason", short: "Set how often drills of a share set are held, who answers, how long recovery may take",
			long: "A kind that is not given has its usual period: sign-in 90 days, drill 180, rehearsal, reconstruction and table-top 365,\n" +
				"site-missing 730. From 7 days to twice the usual are allowed, and 0 for reconstruction: not held.",
			flags: func(p *params) {
				p.text("owner", "owner", "", "person who answers for them; default: who answers for the keystore")
				p.numbers("days", "days", "period of a kind in days, as rehearsal=180; repeat for each")
				p.number("rto-minutes", "rto_minutes", "recovery takes no longer than this")
			}}.command(),
		proposal{use: "record SET", name: "drill.record", member: "set", short: "Put a drill on record that was held together; those who were there sign it",
			flags: func(p *params) {
				p.text("kind", "kind", "", "rehearsal, table-top or site-missing")
				p.text("result", "result", "", "passed or failed")
				p.time("started", "started_at", "when it began")
				p.time("finished", "finished_at", "when it was over")
				p.list("attendance", "attendance", "person who was there; repeat for each")
				p.text("steps", "steps", "", "what was done")
				p.texts("deviation", "deviations", "what went otherwise than planned; repeat for each")
				p.text("missing-site", "missing_site", "", "site of which nobody took part")
				p.text("evidence", "evidence", "", "ceremony in which shares of the set were brought")
				p.text("problem", "problem", "", "why it failed")
				p.number("days", "days", "days to put right what failed; default: 7")
			}, required: []string{"kind", "result", "started", "finished", "attendance", "steps"}}.command())
}

func shareRehearse() *cobra.Command {
	return proposal{use: "rehearse SET", name: "shares.rehearse", member: "set", short: "Rehearse a full reconstruction: shares open a scratch keystore and are forgotten",
		long: "Opens a ceremony in which a quorum of the shares in force and a witness take part (ceremony bring, ceremony attend).\n" +
			"The shares are put together, the secret opens a keystore that exists for this alone, the check values of its keys are\n" +
			"compared with the register, and all is forgotten. Nothing changes. The record says whether it passed.",
		flags: func(p *params) {
			p.text("missing-site", "missing_site", "", "site of which nobody brings a share: the drill without it as well")
		}}.command()
}
