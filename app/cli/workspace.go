package cli

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"strconv"

	"github.com/go-json-experiment/json"
	"github.com/spf13/cobra"

	"conclave/app/api"
	"conclave/app/client"
	"conclave/custodian/amount"
	"conclave/reports"
	"conclave/reports/workspace"
)

// workspaceCommands are what an assessor works with.
func workspaceCommands() []*cobra.Command {
	return []*cobra.Command{auditPopulation(), auditMembers(), auditSample(), auditDossier(), auditOpen(), auditReadiness()}
}

// assess asks the workspace and decodes its answer.
func assess[T any](s *session, what string, in api.AuditRequest) (*T, error) {
	if err := s.connectAny(); err != nil {
		return nil, err
	}
	var raw bytes.Buffer
	if err := s.client.Audit(s.ctx, what, in, client.ReportJSON, &raw); err != nil {
		return nil, err
	}
	out := new(T)
	if err := json.Unmarshal(raw.Bytes(), out); err != nil {
		return nil, fmt.Errorf("reading the service's answer: %w", err)
	}
	return out, nil
}

// period are the flags of a period that both default to "all of it".
func periodFlags(c *cobra.Command) func(in *api.AuditRequest) error {
	from := c.Flags().String("from", "", "beginning of the period: a day or instant; default: the first entry")
	to := c.Flags().String("to", "", "end, exclusive: a day or instant; default: now")
	return func(in *api.AuditRequest) (err error) {
		if *from != "" {
			if in.From, err = parseTime("from", *from); err != nil {
				return err
			}
		}
		if *to != "" {
			in.To, err = parseTime("to", *to)
		}
		return err
	}
}

func auditPopulation() *cobra.Command {
	c := &cobra.Command{Use: "population", Short: "Count what there is of every kind, and what changed in a period", Args: exactly()}
	period := periodFlags(c)
	c.RunE = action(func(s *session, _ *cobra.Command, _ []string) error {
		var in api.AuditRequest
		if err := period(&in); err != nil {
			return err
		}
		p, err := assess[workspace.Populations](s, "populations", in)
		if err != nil {
			return err
		}
		return s.show(p, func(w io.Writer) {
			writeCheckpoint(w, p.Checkpoint)
			var rows [][]string
			for _, x := range p.Items {
				rows = append(rows, []string{x.Kind, strconv.Itoa(x.Existing), strconv.Itoa(x.Changed), x.What})
			}
			table(w, []string{"KIND", "EXISTING", "CHANGED IN PERIOD", "WHAT"}, rows)
		})
	})
	return c
}

func writeCheckpoint(w io.Writer, at reports.Checkpoint) {
	fmt.Fprintf(w, "As of the checkpoint of %d entries, last entry %s, root %s.\n", at.Size, when(at.At), clean(at.Root))
}

func auditMembers() *cobra.Command {
	c := &cobra.Command{Use: "members KIND", Short: "List the ids of a population, all that a sample is drawn from", Args: exactly("KIND")}
	period := periodFlags(c)
	basis := c.Flags().String("basis", string(workspace.Existing), "existing, or changed in the period")
	c.RunE = action(func(s *session, _ *cobra.Command, args []string) error {
		in := api.AuditRequest{Kind: args[0], Basis: *basis}
		if err := period(&in); err != nil {
			return err
		}
		all := []string{}
		for {
			page, err := assess[workspace.Members](s, "members", in)
			if err != nil {
				return err
			}
			all = append(all, page.Items...)
			if page.Next == "" {
				break
			}
			in.After = page.Next
		}
		return s.show(all, func(w io.Writer) {
			for _, id := range all {
				fmt.Fprintln(w, clean(id))
			}
		})
	})
	return c
}

func auditSample() *cobra.Command {
	c := &cobra.Command{
		Use: "sample KIND", Short: "Draw a sample that anybody draws the same again", Args: exactly("KIND"),
		Long: "Draws from a population by the seed that you choose. The rank of an item is the SHA-256 of five lines:\n" +
			"conclave-sample-1, the instance, the seed, the kind, the id (docs/audit.md); the lowest ranks are the sample.\n" +
			"What was drawn, from how many, by which seed, is recorded in the ledger.",
	}
	period := periodFlags(c)
	basis := c.Flags().String("basis", string(workspace.Existing), "existing, or changed in the period")
	seed := c.Flags().String("seed", "", "text of your choice, 1 to 64 characters")
	n := c.Flags().IntP("n", "n", 0, fmt.Sprintf("how many, 1 to %d", workspace.MaxSample))
	c.RunE = action(func(s *session, _ *cobra.Command, args []string) error {
		in := api.AuditRequest{Kind: args[0], Basis: *basis, Seed: *seed, Want: *n}
		if err := period(&in); err != nil {
			return err
		}
		x, err := assess[workspace.Sample](s, "sample", in)
		if err != nil {
			return err
		}
		return s.show(x, func(w io.Writer) {
			writeCheckpoint(w, x.Checkpoint)
			fmt.Fprintf(w, "%d of %d (%s), seed %s. SHA-256 of the ids that were drawn from: %s\n", len(x.Items), x.Population, x.Basis, clean(x.Seed), x.Digest)
			if len(x.Items) < *n {
				fmt.Fprintf(w, "%d were asked for: the population has no more.\n", *n)
			}
			var rows [][]string
			for _, i := range x.Items {
				rows = append(rows, []string{i.ID, i.Number, i.Rank[:16]})
			}
			table(w, []string{"ID", "EVIDENCE NUMBER", "RANK"}, rows)
		})
	})
	return must(c, "seed", "n")
}

func auditDossier() *cobra.Command {
	c := &cobra.Command{
		Use: "dossier KIND ID", Short: "Tell the life of one key, ceremony, person or other item, each line with its proof", Args: exactly("KIND", "ID"),
		Long: "Shows what happened to it and what the register says of it now. With a trust file each entry is proven to be in\n" +
			"the ledger. With --out the dossier is written as JSON, with exact bytes and proofs, or as a page.",
	}
	format := c.Flags().String("format", "json", "json or html, of the file")
	out := c.Flags().StringP("out", "o", "", "file to write; must not exist; default: shown here")
	c.RunE = action(func(s *session, _ *cobra.Command, args []string) error {
		in := api.AuditRequest{Kind: args[0], ID: args[1]}
		if *out != "" {
			if err := s.connectAny(); err != nil {
				return err
			}
			if err := newFile(*out, func(w *os.File) error { return s.client.Audit(s.ctx, "dossier", in, client.ReportFormat(*format), w) }); err != nil {
				return err
			}
			s.say("Written to %s.", *out)
			return nil
		}
		d, err := assess[workspace.Dossier](s, "dossier", in)
		if err != nil {
			return err
		}
		return s.showDossier(d)
	})
	return c
}

func auditOpen() *cobra.Command {
	return &cobra.Command{
		Use: "open NUMBER", Short: "Open what an evidence number cites, with its proof", Args: exactly("NUMBER"),
		RunE: action(func(s *session, _ *cobra.Command, args []string) error {
			x, err := assess[workspace.Opened](s, "open", api.AuditRequest{Number: args[0]})
			if err != nil {
				return err
			}
			if x.Dossier != nil {
				return s.showDossier(x.Dossier)
			}
			if x.Item == nil {
				return fmt.Errorf("the service answered with nothing")
			}
			proven, err := s.proveEvents(x.Item.Checkpoint, []workspace.Event{x.Item.Event})
			if err != nil {
				return err
			}
			return s.show(x.Item, func(w io.Writer) {
				e := &x.Item.Event
				facts(w, "number", e.Number, "at", when(e.At), "type", e.Type, "by", e.Actor, "from", e.Origin, "node", e.Node, "on", e.Target, "outcome", e.Outcome,
					"reason", e.Reason, "ceremony", e.Ceremony, "policy", e.Policy, "detail", string(e.Detail), "proof", proven)
			})
		}),
	}
}

// proveEvents proves entries against the checkpoint that came with them, which a pinned log key must have signed.
func (s *session) proveEvents(at reports.Checkpoint, events []workspace.Event) (string, error) {
	if s.settings[setTrust] == "" {
		return "not checked: no trust file", nil
	}
	for i := range events {
		e := &events[i]
		if err := e.Check(); err != nil {
			return "", err
		}
		if err := s.proveEntry(e.Seq, e.Entry, e.Proof, at.Note); err != nil {
			return "", fmt.Errorf("%s: %w", clean(e.Number), err)
		}
	}
	return fmt.Sprintf("%d of %d entries proven to be in the ledger of the trust file", len(events), len(events)), nil
}

func (s *session) showDossier(d *workspace.Dossier) error {
	proven, err := s.proveEvents(d.Checkpoint, d.Timeline)
	if err != nil {
		return err
	}
	return s.show(d, func(w io.Writer) {
		facts(w, "cited", citedWords(d), "dossier", d.Number, "of", d.Kind+" "+d.ID, "instance", d.Name+", "+d.Mode, "proof", proven)
		writeCheckpoint(w, d.Checkpoint)
		if d.Omitted > 0 {
			fmt.Fprintf(w, "%s %s not listed.\n", amount.Of(d.Omitted, "older entry"), amount.Verb(d.Omitted, "is", "are"))
		}
		var rows [][]string
		for _, e := range d.Timeline {
			rows = append(rows, []string{when(e.At), e.Type, e.Actor, e.Target, e.Outcome, orDash(e.Ceremony), e.Number})
		}
		table(w, []string{"AT", "WHAT", "WHO", "ON", "OUTCOME", "CEREMONY", "NUMBER"}, rows)
		if len(d.Uses) > 0 {
			rows = nil
			for _, u := range d.Uses {
				rows = append(rows, []string{strconv.FormatUint(uint64(u.Version), 10), u.Actor, u.Operation, u.Outcome, strconv.FormatInt(u.Uses, 10), u.First, u.Last})
			}
			fmt.Fprintln(w)
			table(w, []string{"VERSION", "WHO", "OPERATION", "OUTCOME", "USES", "FIRST", "LAST"}, rows)
		}
		rows = nil
		for _, f := range d.Facts {
			state := "as the ledger has it"
			if f.Damaged {
				state = "contradicts the ledger"
			}
			rows = append(rows, []string{f.Row.Kind, f.Row.ID, strconv.FormatUint(f.Row.Revision, 10), fmt.Sprintf("#%d", f.Row.Seq), state})
		}
		fmt.Fprintln(w)
		table(w, []string{"ROW", "ID", "REVISION", "WRITTEN BY", "STATE"}, rows)
	})
}

// citedWords says by which number a dossier was opened, and what it did not know yet.
func citedWords(d *workspace.Dossier) string {
	if d.Cited == "" {
		return ""
	}
	return fmt.Sprintf("%s; entries below that are newer than it: %d", d.Cited, d.Newer)
}
