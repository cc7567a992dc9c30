package cli

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"conclave/app/api"
	"conclave/app/client"
	"conclave/custodian/amount"
)

func campaignCommand() *cobra.Command {
	list := register("List campaigns, what is left under each version, and what the ledger knows of it", (*client.Client).Campaigns,
		[]string{"CAMPAIGN", "KEY", "VERSION", "CAUSE", "DUE", "LEFT", "REWRAPPED (LEDGER)", "LAST USE", "CLOSED"},
		func(c api.Campaign) []string {
			left := strings.Join(c.Left, "; ")
			if left == "" && c.ClosedAt == nil {
				left = "nothing: close it"
			}
			due := day(c.DueAt)
			if c.Overdue {
				due += " (overdue)"
			}
			return []string{c.ID, c.Key, number(c.Version), c.Cause, due, orDash(left), number(c.Rewrapped), maybe(c.LastUse), maybe(c.ClosedAt)}
		})
	return parent("campaign", "Rewrap campaigns: protect anew what is under a version, then retire it", list,
		proposal{
			use: "start KEY", short: "Begin to protect anew what is under a version", name: "campaign.start", member: "key", reasonMember: "reason",
			flags: func(p *params) {
				p.number("version", "version", "version that is to go")
				p.text("cause", "cause", "rotation", "rotation, compromise or move")
				p.number("days", "days", "days until it is due")
			},
			required: []string{"version", "days"},
		}.command(),
		proposal{
			use: "close CAMPAIGN", short: "Propose to close a campaign and retire its version", name: "campaign.close", member: "campaign", reasonMember: "reason",
			flags: func(p *params) { p.text("waiver", "waiver", "", "who answers for what is left, and why") },
		}.command())
}

func keyExposure() *cobra.Command {
	c := &cobra.Command{
		Use: "exposure KEY", Short: "Show who used a version since when, and what data is under it", Args: exactly("KEY"),
		Long: "Shows who used a version, from where, how often, first and last, as counted behind the ledger, and the data\n" +
			"that its owner stated to be under it: what must be protected anew when the version is compromised.",
	}
	version := c.Flags().Uint32("version", 0, "version it is about")
	since := c.Flags().String("since", "", "first day counted; default: all")
	c.RunE = action(func(s *session, _ *cobra.Command, args []string) error {
		var from time.Time
		if *since != "" {
			var err error
			if from, err = parseTime("since", *since); err != nil {
				return err
			}
		}
		if err := s.connectAny(); err != nil {
			return err
		}
		e, err := s.client.Exposure(s.ctx, args[0], *version, from)
		if err != nil {
			return err
		}
		return s.show(e, func(w io.Writer) { writeExposure(w, &e) })
	})
	return must(c, "version")
}

func writeExposure(w io.Writer, e *api.Exposure) {
	facts(w, "key", e.Key, "version", number(e.Version), "state", e.State, "counted since", maybe(e.Since), "last use", maybe(e.LastUse),
		"for", e.LastDone, "counted", fmt.Sprintf("%s, %d behind", amount.Of(e.Through, "ledger entry"), e.Behind), "campaign", e.Campaign)
	var rows [][]string
	for _, u := range e.Uses {
		rows = append(rows, []string{u.Actor, u.Operation, u.Outcome, u.Origin, number(u.Uses), when(u.First), when(u.Last), fmt.Sprintf("#%d to #%d", u.FirstSeq, u.LastSeq)})
	}
	fmt.Fprintln(w)
	table(w, []string{"WHO", "OPERATION", "OUTCOME", "FROM", "USES", "FIRST", "LAST", "LEDGER"}, rows)
	rows = nil
	for _, a := range e.Assets {
		rows = append(rows, []string{a.ID, a.Label, a.Location, a.Owner, countsWords(a.Counts), a.Status})
	}
	fmt.Fprintln(w)
	table(w, []string{"ASSET", "WHAT", "KEPT AT", "OWNER", "RECORDS BY VERSION", "STATUS"}, rows)
}
