package cli

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"conclave/app/api"
	"conclave/app/client"
)

func holdCommand() *cobra.Command {
	list := register("List legal holds", (*client.Client).Holds, []string{"HOLD", "ON", "MATTER", "SET", "BY", "LIFTED"},
		func(h api.Hold) []string {
			return []string{h.ID, h.What, h.Matter, when(h.SetAt), h.SetBy, maybe(h.LiftedAt)}
		})
	set := &cobra.Command{
		Use: "set", Short: "Put something on hold at once: it is not destroyed or deleted until a quorum lifts the hold", Args: exactly(),
		Long: "Give one of --key, --key-version KEY/N, --asset, --template, --person, --entries FROM-TO and --everything. A destruction that\n" +
			"waits already does not run either.",
	}
	f := set.Flags()
	on := map[string]*string{
		"key":         f.String("key", "", "a key with all its versions"),
		"key_version": f.String("key-version", "", "one version, as key/1"),
		"asset":       f.String("asset", "", "data on record: no key version that it stands under is destroyed, nor is it retired"),
		"template":    f.String("template", "", "a template, which is not altered, and the keys made under it"),
		"person":      f.String("person", "", "the records about a person"),
	}
	entries := f.String("entries", "", "ledger entries, as 100-200")
	everything := f.Bool("everything", false, "the whole instance")
	id := f.String("id", "", "id of the hold; default: made by the service")
	matter := f.String("matter", "", "what it is for, as the lawyers name it")
	reason := f.String("reason", "", "why, for the record")
	set.MarkFlagsOneRequired("key", "key-version", "asset", "template", "person", "entries", "everything")
	set.MarkFlagsMutuallyExclusive("key", "key-version", "asset", "template", "person", "entries", "everything")
	set.RunE = action(func(s *session, _ *cobra.Command, _ []string) error {
		params := map[string]any{"matter": *matter, "reason": *reason}
		if *id != "" {
			params["id"] = *id
		}
		for kind, value := range on {
			if *value != "" {
				params["on"] = api.Ref{Type: kind, ID: *value}
			}
		}
		switch {
		case *everything:
			params["on"] = api.Ref{Type: "instance"}
		case *entries != "":
			var from, to uint64
			if n, err := fmt.Sscanf(*entries, "%d-%d", &from, &to); n != 2 || err != nil {
				return usagef("entries: %q; allowed: FROM-TO, as 100-200", *entries)
			}
			params["on"], params["from"], params["to"] = api.Ref{Type: "ledger"}, from, to
		}
		return s.propose("hold.set", params, *reason)
	})
	return parent("hold", "Legal holds: what is not destroyed or deleted", list, must(set, "matter", "reason"),
		proposal{use: "lift HOLD", short: "Propose to lift a hold", name: "hold.lift", member: "hold", reasonMember: "reason"}.command())
}

func retentionCommand() *cobra.Command {
	list := register("List how long records are kept", (*client.Client).Retention, []string{"CLASS", "DAYS", "AT HAND", "GOVERNED", "LEAST", "CHANGED", "BY"},
		func(r api.Retention) []string {
			return []string{r.Class, number(r.Days), number(r.ImmediateDays), number(r.GovernedDays), number(r.LeastDays), maybe(r.ChangedAt), orDash(r.ChangedBy)}
		})
	return parent("retention", "How long records are kept", list, proposal{
		use: "change CLASS", short: "Propose how long records of a class are kept: ledger or records", name: "retention.change", member: "class", reasonMember: "reason",
		flags: func(p *params) {
			p.number("days", "days", "days that they are kept")
			p.number("immediate-days", "immediate_days", "of these, days at hand without a restore")
		},
		required: []string{"days", "immediate-days"},
	}.command())
}

func reviewCommand() *cobra.Command {
	list := register("List what one person did alone and emergency access, with the review it got or is to get", (*client.Client).Reviews,
		[]string{"CEREMONY", "OPERATION", "BY", "DUE", "REVIEW"},
		func(r api.Review) []string {
			return []string{r.Ceremony, r.Operation, r.By, when(r.DueAt), reviewWords(&r)}
		})
	return parent("review", "Reviews by somebody who took no part", list, proposal{
		use: "sign CEREMONY", short: "Judge what one person did alone, or emergency access", name: "review.sign", member: "ceremony", reasonMember: "note",
		long: "Judges and signs. Outcome undo or finding opens a finding, with an owner and a date.",
		flags: func(p *params) {
			p.text("outcome", "outcome", "", "confirmed, undo or finding")
			p.text("owner", "owner", "", "undo, finding: person who puts it right")
			p.number("days", "days", "undo, finding: days to put it right")
		},
		required: []string{"outcome"},
	}.command())
}

// reviewWords says what became of a review.
func reviewWords(r *api.Review) string {
	switch {
	case r.Outcome == "" && r.Overdue:
		return "overdue since " + when(r.DueAt)
	case r.Outcome == "":
		return "due " + when(r.DueAt)
	}
	words := r.Outcome + " by " + r.Reviewer + " at " + maybe(r.SignedAt)
	if r.Overdue {
		words += ", late"
	}
	if r.Finding != "" {
		words += ", finding " + r.Finding
	}
	return words
}

func findingCommand() *cobra.Command {
	list := register("List findings", (*client.Client).Findings, []string{"FINDING", "TITLE", "SOURCE", "ABOUT", "OWNER", "DUE", "CLOSED", "EVIDENCE"},
		func(f api.Finding) []string {
			due := when(f.DueAt)
			if f.Overdue {
				due += " (overdue)"
			}
			return []string{f.ID, f.Title, f.Source, f.About.Type + " " + f.About.ID, f.Owner, due, maybe(f.ClosedAt), orDash(f.Evidence)}
		})
	open := &cobra.Command{Use: "open", Short: "Open a finding: something to be put right, by whom, until when", Args: exactly()}
	p := newParams(open)
	p.text("id", "id", "", "id of the finding; default: made by the service")
	p.text("title", "title", "", "what is wrong")
	p.text("source", "source", "", "person, incident, drill or departure; default: person")
	p.text("owner", "owner", "", "person who puts it right")
	p.number("days", "days", "days to put it right")
	about := open.Flags().String("about", "", "what it is about, as key:orders, person:ada, application:shop")
	reason := open.Flags().String("reason", "", "why, for the record")
	open.RunE = action(func(s *session, _ *cobra.Command, _ []string) error {
		params, err := p.collect()
		if err != nil {
			return err
		}
		kind, id, found := strings.Cut(*about, ":")
		if !found {
			return usagef("about: %q; allowed: TYPE:ID, as key:orders", *about)
		}
		params["about"] = api.Ref{Type: kind, ID: id}
		return s.propose("finding.open", params, *reason)
	})
	closing := &cobra.Command{Use: "close FINDING", Short: "Accept the evidence that a finding was put right; its owner does not", Args: exactly("FINDING")}
	evidence := closing.Flags().String("evidence", "", "what shows it")
	closing.RunE = action(func(s *session, _ *cobra.Command, args []string) error {
		return s.propose("finding.close", map[string]any{"finding": args[0], "evidence": *evidence}, "")
	})
	return parent("finding", "Findings: what must be put right", list, must(open, "title", "about", "owner", "days", "reason"),
		proposal{
			use: "alter FINDING", short: "Give a finding another owner or date", name: "finding.alter", member: "finding", reasonMember: "reason",
			flags: func(p *params) {
				p.text("owner", "owner", "", "person who puts it right")
				p.number("days", "days", "days from now to put it right")
			},
		}.command(), must(closing, "evidence"))
}

func exceptionCommand() *cobra.Command {
	list := register("List accepted risks", (*client.Client).Exceptions, []string{"EXCEPTION", "RULE", "KEY", "KEYSTORE", "OWNER", "EXPIRES", "IN FORCE", "COMPENSATING"},
		func(e api.Exception) []string {
			inForce := "no"
			if e.InForce {
				inForce = "yes"
			}
			return []string{e.ID, e.Rule, orDash(e.Key), orDash(e.Keystore), e.Owner, when(e.ExpiresAt), inForce, e.Compensating}
		})
	grant := &cobra.Command{Use: "grant", Short: "Propose to accept a risk: a rule does not count, for what is named, until a date", Args: exactly()}
	p := newParams(grant)
	p.text("id", "id", "", "id of the exception; default: made by the service")
	p.text("rule", "rule", "", "rule that lets exceptions be: place.module_validated, place.fips_level")
	p.text("key", "key", "", "key that it counts for, there already or yet to be made")
	p.text("keystore", "keystore", "", "keystore that it counts for")
	p.text("control", "control", "", "control that it bears on, as nist-800-53r5:SC-13")
	p.text("risk", "risk", "", "what is accepted")
	p.text("compensating", "compensating", "", "what is done instead")
	p.text("owner", "owner", "", "person who answers for the risk")
	p.number("days", "days", "days that it lasts, at most 365")
	reason := grant.Flags().String("reason", "", "why, for the record")
	grant.RunE = action(func(s *session, _ *cobra.Command, _ []string) error {
		params, err := p.collect()
		if err != nil {
			return err
		}
		return s.propose("exception.grant", params, *reason)
	})
	return parent("exception", "Accepted risks, for a time", list, must(grant, "rule", "risk", "compensating", "owner", "days", "reason"),
		proposal{use: "revoke EXCEPTION", short: "End an accepted risk at once", name: "exception.revoke", member: "exception", reasonMember: "reason"}.command())
}

func breakglassCommand() *cobra.Command {
	list := register("List emergency access", (*client.Client).BreakGlass, []string{"BREAKGLASS", "FOR", "KEYS", "OPERATIONS", "OPENED", "ENDS", "CLOSED", "CEREMONY"},
		func(b api.BreakGlass) []string {
			return []string{b.ID, b.Kind + " " + b.Principal, strings.Join(b.Keys, ", "), strings.Join(b.Operations, ", "), when(b.OpenedAt), when(b.ExpiresAt), maybe(b.ClosedAt), b.Ceremony}
		})
	open := &cobra.Command{
		Use: "open", Short: "Propose emergency access for somebody to named keys, for at most four hours", Args: exactly(),
		Long: "Two others approve; nothing waits. Every use is marked with the ceremony, and the access is reviewed within a\n" +
			"day by somebody who took no part. It stands in for a grant and lifts no other rule.",
	}
	p := newParams(open)
	p.text("application", "application", "", "application that gets it")
	p.text("person", "person", "", "person who gets it, to decrypt")
	p.list("key", "keys", "key; repeat for more")
	p.list("operation", "operations", "datakey, encrypt, decrypt or rewrap; repeat for more")
	p.pairs("context", "context", "field=value that every call's encryption context must have; repeat for more")
	p.number("minutes", "minutes", "minutes that it lasts, 5 to 240")
	reason := open.Flags().String("reason", "", "why, for the record")
	open.MarkFlagsOneRequired("application", "person")
	open.MarkFlagsMutuallyExclusive("application", "person")
	open.RunE = action(func(s *session, _ *cobra.Command, _ []string) error {
		params, err := p.collect()
		if err != nil {
			return err
		}
		params["reason"] = *reason
		return s.propose("breakglass.open", params, *reason)
	})
	return parent("breakglass", "Emergency access", list, must(open, "key", "operation", "minutes", "reason"),
		proposal{use: "close BREAKGLASS", short: "End emergency access at once", name: "breakglass.close", member: "breakglass", reasonMember: "reason"}.command())
}

func clockCommand() *cobra.Command {
	c := &cobra.Command{
		Use: "confirm", Short: "Propose to confirm that the service's clock shows the right time", Args: exactly(),
		Long: "After a clock disagreed with the time that had passed, or with the ledger, executions stop. Compare what the\n" +
			"service shows (conclave status) with a source that you trust, then propose; whoever approves compares too.",
	}
	source := c.Flags().String("source", "", "what the clock was compared with")
	reason := c.Flags().String("reason", "", "why, for the record")
	c.RunE = action(func(s *session, _ *cobra.Command, _ []string) error {
		if err := s.connectPerson(); err != nil {
			return err
		}
		if err := s.compareClocks(); err != nil {
			return err
		}
		return s.proposeConnected(confirmClock, map[string]any{"source": *source}, *reason)
	})
	return parent("clock", "The service's clock", must(c, "source", "reason"))
}

func logKeyCommand() *cobra.Command {
	c := &cobra.Command{
		Use: "rotate", Short: "Propose to replace the key that signs the ledger", Args: exactly(),
		Long: "The node that executes it makes a new log key; the old one signs the head that names it, and nothing after that. Nodes\n" +
			"are given it sealed. Verifiers that pin the old key follow the succession by themselves. Do so every year (or after --days),\n" +
			"when a log key may have been read, and after a node was revoked: whoever has its disk has the key. `conclave alerts` and\n" +
			"`conclave status` say what is due.\n" +
			"After a suspected compromise hand out new trust files (node trust): a copy of the ledger that the thief forged up to the\n" +
			"rotation is told from the genuine one only by who has seen a later checkpoint.",
		Example: "  conclave logkey rotate --cause node-revoked --reason \"disk of node-2 copied\"",
	}
	cause := c.Flags().String("cause", "", "scheduled, suspected-compromise or node-revoked")
	reason := c.Flags().String("reason", "", "why, for the record")
	days := c.Flags().Int("days", 0, "days until the next one is due; 0 for 365, at most 1095")
	c.RunE = action(func(s *session, _ *cobra.Command, _ []string) error {
		params := map[string]any{"cause": *cause}
		if *days != 0 {
			params["days"] = *days
		}
		return s.propose("logkey.rotate", params, *reason)
	})
	return parent("logkey", "The key that signs the ledger", must(c, "cause", "reason"))
}

// confirmClock is the operation whose approvers compare clocks.
const confirmClock = "clock.confirm"

// compareClocks says what the service's clock shows and what this machine's does.
func (s *session) compareClocks() error {
	status, err := s.client.Status(s.ctx)
	if err != nil {
		return err
	}
	s.say("The service's clock shows %s; this machine's shows %s.", when(status.Time), when(s.clock.Now()))
	return nil
}
