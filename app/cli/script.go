package cli

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"conclave/app/api"
	"conclave/ceremony/script"
	"conclave/ceremony/statement"
)

// scriptCommand is what everybody but the administrator does in a ceremony held by its script, from where they are.
func scriptCommand() *cobra.Command {
	return parent("script", "Take part in a ceremony held by its script: arrive, witness, note what deviates, sign",
		scriptShow(),
		scriptAct{use: "arrive", short: "Write yourself on the roll", kind: script.Arrive,
			flags: func(c *cobra.Command, a *script.Act) {
				c.Flags().StringVar((*string)(&a.Role), "as", "", "role: witness, custodian, auditor or observer")
				c.Flags().StringVar(&a.Site, "site", "", "where you are")
				must(c, "as", "site")
			}}.command(),
		scriptAct{use: "leave", short: "Say that you leave; as administrator also for somebody else", kind: script.Leave,
			flags: func(c *cobra.Command, a *script.Act) {
				c.Flags().StringVar(&a.Person, "person", "", "who leaves; default: you")
			}}.command(),
		scriptAct{use: "identify", short: "As a witness: say by which kind of document you identified somebody", kind: script.Identify,
			flags: func(c *cobra.Command, a *script.Act) {
				c.Flags().StringVar(&a.Person, "person", "", "whom")
				c.Flags().StringVar(&a.Document, "document", "", "kind of document, never its number")
				must(c, "person", "document")
			}}.command(),
		scriptAct{use: "initial", short: "As a witness: put your initials to the steps so far", kind: script.Initial,
			flags: func(c *cobra.Command, a *script.Act) {
				c.Flags().IntVar(&a.Number, "step", 0, "up to which step")
				must(c, "step")
			}}.command(),
		scriptAct{use: "deviate", short: "Write down what did not go by the script", kind: script.Deviate,
			flags: func(c *cobra.Command, a *script.Act) {
				c.Flags().IntVar(&a.Step, "step", 0, "at which step; none in particular when left out")
				deviationFlags(c, a)
				must(c, "what", "why", "decided-by", "impact")
			}}.command(),
		scriptAct{use: "close", short: "As an auditor: close a deviation with a finding", kind: script.Close,
			flags: func(c *cobra.Command, a *script.Act) {
				c.Flags().IntVar(&a.Number, "deviation", 0, "which one")
				c.Flags().StringVar(&a.Finding, "finding", "", "what was found")
				must(c, "deviation", "finding")
			}}.command(),
		scriptAct{use: "abandon", short: "Go on without the script; what was written down stays", kind: script.Abandon,
			flags: func(c *cobra.Command, a *script.Act) {
				c.Flags().StringVar(&a.Reason, "reason", "", "why, for the record")
				must(c, "reason")
			}}.command(),
		scriptSign())
}

func deviationFlags(c *cobra.Command, a *script.Act) {
	c.Flags().StringVar(&a.What, "what", "", "what happened instead")
	c.Flags().StringVar(&a.Why, "why", "", "why")
	c.Flags().StringVar(&a.DecidedBy, "decided-by", "", "who decided to go on: a person on the roll")
	c.Flags().StringVar(&a.Impact, "impact", "", "what it means for the outcome")
}

// scriptAct is a command that does one act.
type scriptAct struct {
	use, short string
	kind       script.Kind
	flags      func(c *cobra.Command, a *script.Act)
}

func (d scriptAct) command() *cobra.Command {
	act := script.Act{Kind: d.kind}
	c := &cobra.Command{Use: d.use + " CEREMONY", Short: d.short, Args: exactly("CEREMONY")}
	d.flags(c, &act)
	c.RunE = action(func(s *session, _ *cobra.Command, args []string) error {
		if err := s.connectPerson(); err != nil {
			return err
		}
		s.say("Writing down in the record of %s, as %s: %s.", args[0], s.signer.ID(), d.kind)
		return s.actInScript(args[0], act)
	})
	return c
}

func (s *session) actInScript(id string, act script.Act) error {
	run, err := s.client.ActInScript(s.ctx, id, act)
	if err != nil {
		return err
	}
	return s.show(run, func(w io.Writer) { writeRun(w, &run) })
}

func scriptShow() *cobra.Command {
	return &cobra.Command{
		Use: "show CEREMONY", Short: "Show the script, the roll, what was done, and what deviated", Args: exactly("CEREMONY"),
		RunE: action(func(s *session, _ *cobra.Command, args []string) error {
			if err := s.connectAny(); err != nil {
				return err
			}
			run, err := s.client.Script(s.ctx, args[0])
			if err != nil {
				return err
			}
			return s.show(run, func(w io.Writer) { writeRun(w, &run) })
		}),
	}
}

func scriptSign() *cobra.Command {
	c := &cobra.Command{Use: "sign CEREMONY", Short: "Sign the record of a ceremony that you took part in", Args: exactly("CEREMONY")}
	words := c.Flags().String("statement", "", "your opinion: whether the script was followed")
	yes := c.Flags().Bool("yes", false, "sign without asking, once what is shown has been read")
	c.RunE = action(func(s *session, _ *cobra.Command, args []string) error {
		if err := s.connectPerson(); err != nil {
			return err
		}
		run, err := s.client.Script(s.ctx, args[0])
		if err != nil {
			return err
		}
		writeRun(s.err, &run)
		return s.signRun(&run, *words, *yes)
	})
	return must(c, "statement")
}

// signRun signs the record as it is shown.
func (s *session) signRun(run *script.Run, words string, yes bool) error {
	payload, err := run.Opinion(s.trust.Instance, s.signer.ID(), words)
	if err != nil {
		return err
	}
	s.say("\nYou sign these bytes with key %s:\n%s\n", s.signer.KeyID(), payload)
	if err := s.confirm(yes, fmt.Sprintf("Sign as %s?", s.signer.ID())); err != nil {
		return err
	}
	envelope, err := s.signer.Sign(statement.TypeSignOff, payload)
	if err != nil {
		return err
	}
	return s.actInScript(run.Ceremony, script.Act{Kind: script.Sign, Statement: words, Envelope: envelope})
}

// writeRun shows the record of a ceremony.
func writeRun(w io.Writer, r *script.Run) {
	fmt.Fprintf(w, "%s, version %d (SHA-256 %s)\n\n", clean(r.Script.Title), r.Script.Version, clean(r.ScriptSHA256))
	facts(w, "ceremony", r.Ceremony, "operation", r.Operation, "state", string(r.State), "place", r.Place, "led by", r.Administrator,
		"begun", when(r.BegunAt), "ended", maybe(r.EndedAt), "because", r.EndReason)
	var roll [][]string
	for _, a := range r.Roll {
		roll = append(roll, []string{a.Person, string(a.Role), a.Site, when(a.ArrivedAt), orDash(maybe(a.LeftAt)), orDash(a.CheckedBy)})
	}
	fmt.Fprintln(w)
	table(w, []string{"ROLL", "ROLE", "SITE", "ARRIVED", "LEFT", "IDENTIFIED BY"}, roll)
	fmt.Fprintln(w)
	for i, line := range r.Script.Steps {
		fmt.Fprintf(w, "%2d. %s\n    expected: %s\n", i+1, clean(line.Text), clean(line.Expected))
		if i < len(r.Steps) {
			done := r.Steps[i]
			fmt.Fprintf(w, "    actual:   %s (%s, %s%s)\n", clean(done.Actual), when(done.At), clean(done.By), initialWords(done.Initials))
		}
	}
	for _, d := range r.Deviations {
		fmt.Fprintf(w, "Deviation %d%s: %s. Because: %s. Decided by %s. Impact: %s. %s\n", d.Number, stepWords(d.Step), clean(d.What), clean(d.Why), clean(d.DecidedBy), clean(d.Impact), closedWords(&d))
	}
	for _, x := range r.SignOffs {
		fmt.Fprintf(w, "Signed by %s (%s) at %s: %s\n", clean(x.Person), x.Role, when(x.At), clean(x.Statement))
	}
	if unsigned := r.Unsigned(); r.State == script.Performed && len(unsigned) > 0 {
		fmt.Fprintf(w, "Still to sign: %s.\n", clean(strings.Join(unsigned, ", ")))
	}
}

func initialWords(who string) string {
	if who == "" {
		return ""
	}
	return ", seen by " + clean(who)
}

func stepWords(step int) string {
	if step == 0 {
		return ""
	}
	return fmt.Sprintf(" at step %d", step)
}

func closedWords(d *script.Deviation) string {
	if d.ClosedAt == nil {
		return "Open."
	}
	return "Closed by " + clean(d.ClosedBy) + ": " + clean(d.Finding) + "."
}

// beginRun is the run of a ceremony, begun now where nobody holds it by its script yet.
func (s *session) beginRun(id, place, site string) (script.Run, error) {
	run, err := s.client.Script(s.ctx, id)
	if err == nil || !isCode(err, "not_found") {
		return run, err
	}
	if place == "" || site == "" {
		return run, usagef("nobody holds %s by its script yet: begin it with --place and --site", id)
	}
	return s.client.BeginScript(s.ctx, id, api.BeginScriptRequest{Place: place, Site: site})
}
