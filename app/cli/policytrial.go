package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"conclave/app/api"
	"conclave/ceremony/bundles"
	"conclave/custodian/amount"
	"conclave/policies"
)

func policyPropose() *cobra.Command {
	return &cobra.Command{
		Use: "propose FILE", Short: "Hand in a signed bundle: it is checked, and kept for its back-test", Args: exactly("FILE"),
		RunE: action(func(s *session, _ *cobra.Command, args []string) error {
			if err := s.connectPerson(); err != nil {
				return err
			}
			in, files, err := s.readBundle(args[0])
			if err != nil {
				return err
			}
			s.say("Handing in bundle %s (%s).", files.Digest(), amount.Of(len(files), "file"))
			d, err := s.client.HandIn(s.ctx, in)
			if err != nil {
				return err
			}
			return s.show(d, func(w io.Writer) {
				facts(w, "bundle", d.Bundle.Digest, "name", d.Bundle.Name, "signed by", d.Bundle.Signer, "state", d.Bundle.State)
				if c := d.Bundle.Check; c != nil {
					facts(w, "tests passed", number(c.Tests), "questions answered", number(c.Probes), "findings", strings.Join(c.Findings, "; "))
				}
				writeChanges(w, d.Changes)
				fmt.Fprintf(w, "\nTry it with: conclave policy backtest %s\n", clean(d.Bundle.Digest))
			})
		}),
	}
}

func policyBacktest() *cobra.Command {
	c := &cobra.Command{
		Use: "backtest BUNDLE", Short: "Replay what is on record against a bundle and show what would change", Args: exactly("BUNDLE"),
		Long: "Starts the back-test in the background of the service, and waits for it unless told otherwise. The report is\n" +
			"kept; its digest and counts are part of what approvers of the bundle sign.",
	}
	cancel := c.Flags().Bool("cancel", false, "stop the one that runs")
	noWait := c.Flags().Bool("no-wait", false, "do not wait for its end")
	show := c.Flags().Bool("show", false, "show the report that is kept, and start nothing")
	c.RunE = action(func(s *session, _ *cobra.Command, args []string) error {
		if err := s.connectPerson(); err != nil {
			return err
		}
		do := s.client.StartBacktest
		switch {
		case *cancel:
			do = s.client.CancelBacktest
		case *show:
			do = s.client.Backtest
		default:
			s.say("Starting the back-test of bundle %s.", args[0])
		}
		b, err := do(s.ctx, args[0])
		if err != nil {
			return err
		}
		if !*cancel && !*show && !*noWait {
			if b, err = s.awaitBacktest(args[0]); err != nil {
				return err
			}
		}
		return s.show(b, func(w io.Writer) { writeBacktest(w, b) })
	})
	return c
}

// backtestPoll is how often a waiting command asks how far a back-test has come.
const backtestPoll = time.Second

var errBacktest = errors.New("back-test did not finish")

func (s *session) awaitBacktest(digest string) (api.Backtest, error) {
	said := ""
	for {
		b, err := s.client.Backtest(s.ctx, digest)
		if err != nil {
			return b, err
		}
		p := b.Progress
		switch {
		case p == nil && b.Summary != nil: // another node made it
			return b, nil
		case p == nil || p.State == "failed" || p.State == "cancelled":
			if p == nil {
				return b, errBacktest
			}
			return b, fmt.Errorf("%w: %s", errBacktest, p.Problem)
		case p.State == "done":
			return b, nil
		}
		if line := fmt.Sprintf("%s: %d of %d entries, %d distinct decisions", p.Phase, p.Read, p.Of, p.Groups); line != said {
			s.say("%s", line)
			said = line
		}
		select {
		case <-s.ctx.Done():
			return b, s.ctx.Err()
		case <-time.After(backtestPoll):
		}
	}
}

func writeBacktest(w io.Writer, b api.Backtest) {
	if p := b.Progress; p != nil {
		facts(w, "state", p.State, "phase", p.Phase, "asked by", p.AskedBy, "problem", p.Problem)
	}
	if b.Summary == nil {
		return
	}
	sums := b.Summary
	facts(w, "against", b.Against, "decisions replayed", number(sums.Decisions), "denied from now on", number(sums.NewlyDenied),
		"allowed from now on", number(sums.NewlyAllowed), "without an answer", number(sums.Unanswered), "keys placed otherwise", number(sums.Placements),
		"keys with other periods", number(sums.Lifecycles), "operations changed", number(sums.Quorums), "report sha-256", sums.ReportSHA256)
	var r bundles.Report
	if json.Unmarshal(b.Report, &r) != nil {
		return
	}
	writeReport(w, &r)
}

func writeReport(w io.Writer, r *bundles.Report) {
	var rows [][]string
	for _, d := range r.Differences {
		rows = append(rows, []string{number(d.Count), d.Operation, d.Principal, d.Target, d.Before, d.After, strings.Join(d.Examples, " ")})
	}
	if len(rows) > 0 {
		fmt.Fprintln(w)
		table(w, []string{"COUNT", "OPERATION", "CALLER", "TARGET", "BEFORE", "AFTER", "DECISIONS"}, rows)
	}
	if r.MoreDifferences > 0 {
		fmt.Fprintf(w, "and %s\n", amount.Of(r.MoreDifferences, "further group"))
	}
	for _, part := range []struct {
		title string
		list  []bundles.KeyChange
	}{{"Placement", r.Placements}, {"Cryptoperiods", r.Lifecycles}} {
		for _, c := range part.list {
			fmt.Fprintf(w, "\n%s of %s (%s), %s\n  - %s\n  + %s\n", part.title, amount.Of(c.Count, "key"), clean(strings.Join(c.Keys, ", ")), clean(c.Facts), clean(c.Before), clean(c.After))
		}
	}
	for _, q := range r.Quorums {
		fmt.Fprintf(w, "\n%s, keys of class %s\n  - %s\n  + %s\n", clean(q.Operation), clean(strings.Join(q.Classes, ", ")), clean(q.Before), clean(q.After))
	}
	fmt.Fprintln(w, "\nNot on record, and assumed:")
	for _, a := range r.Assumed {
		fmt.Fprintf(w, "  %s\n", clean(a))
	}
	if r.FactsChanged > 0 {
		fmt.Fprintf(w, "  %s would be taken otherwise today by the bundle in force too: people, keys or grants have changed since\n", amount.Of(r.FactsChanged, "decision"))
	}
	if r.NotReplayed > 0 {
		fmt.Fprintf(w, "  %s not replayed: there are too many distinct ones\n", amount.Of(r.NotReplayed, "decision"))
	}
}

func policyActivate() *cobra.Command {
	c := &cobra.Command{
		Use: "activate BUNDLE", Short: "Propose to put a back-tested bundle in force", Args: exactly("BUNDLE"),
		Long: "Asks for the ceremony that puts the bundle in force. What its back-test found is part of what approvers sign.",
	}
	reason := c.Flags().String("reason", "", "why, for the record")
	c.RunE = action(func(s *session, _ *cobra.Command, args []string) error {
		if err := s.connectPerson(); err != nil {
			return err
		}
		b, err := s.client.Backtest(s.ctx, args[0])
		if err != nil {
			return err
		}
		if b.Summary == nil {
			return fmt.Errorf("bundle %s was not back-tested; first: conclave policy backtest %s", args[0], args[0])
		}
		writeBacktest(s.err, b)
		return s.proposeConnected("policy.activate", map[string]any{"bundle": args[0], "backtest": b.Summary}, *reason)
	})
	return must(c, "reason")
}

func policyRecover() *cobra.Command {
	c := &cobra.Command{
		Use: "recover BUNDLE", Short: "Bring your share to restore a bundle that was in force before", Args: exactly("BUNDLE"),
		Long: "Finds the open recovery of this bundle, or asks for one, and brings your share to it. It takes the threshold of\n" +
			"a share set, whatever the bundle in force says: the program does not ask it.",
	}
	reason := c.Flags().String("reason", "", "why, for the record; needed by whoever asks first")
	b := bringFlags(c)
	c.RunE = action(func(s *session, _ *cobra.Command, args []string) error {
		if err := s.connectPerson(); err != nil {
			return err
		}
		ceremony, err := s.recovery(args[0], *reason)
		if err != nil {
			return err
		}
		return s.bring(&ceremony, b)
	})
	return c
}

// recovery finds the open recovery of a bundle, or asks for one.
func (s *session) recovery(bundle, reason string) (api.Ceremony, error) {
	for c, err := range s.client.Ceremonies(s.ctx, false) {
		if err != nil {
			return c, err
		}
		if c.Operation == policies.Recover && strings.Contains(string(c.Params), bundle) {
			return c, nil
		}
	}
	if reason == "" {
		return api.Ceremony{}, usagef("reason: missing; there is no open recovery of this bundle, and who asks for it says why")
	}
	s.say("Asking for %s of bundle %s: there is no open ceremony for it.", policies.Recover, bundle)
	p, err := s.client.Propose(s.ctx, policies.Recover, map[string]any{"bundle": bundle}, reason)
	return p.Ceremony, err
}
