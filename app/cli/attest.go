package cli

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"conclave/app/api"
	"conclave/app/client"
)

func auditCommand() *cobra.Command {
	withdraw := proposal{use: "withdraw ATTESTATION", short: "End a signed statement at once; it stays on record", name: "attestation.withdraw", member: "attestation", reasonMember: "reason"}
	return parent("audit", "Evidence: populations, samples, dossiers, and what people sign about controls",
		append(workspaceCommands(), controlsCommand(), statementsCommand(), attestCommand(), decideCommand(), withdraw.command(), auditLogDays(), auditReviewLog())...)
}

func statementsCommand() *cobra.Command {
	c := register("List what people signed about controls", (*client.Client).Attestations,
		[]string{"STATEMENT", "KIND", "CONTROLS", "OUTCOME", "SIGNER", "SIGNED", "UNTIL", "IN FORCE", "SAYS"},
		func(a api.Attestation) []string {
			inForce := "no"
			if a.InForce {
				inForce = "yes"
			}
			return []string{a.ID, a.Kind, orDash(strings.Join(a.Controls, ", ")), orDash(a.Outcome), a.Signer, when(a.SignedAt), when(a.ExpiresAt), inForce, a.Statement}
		})
	c.Use = "statements"
	return c
}

func controlsCommand() *cobra.Command {
	c := register("List the controls that reports judge and that statements are about",
		func(c *client.Client, ctx context.Context) ([]api.Control, error) { return c.Controls(ctx, "") },
		[]string{"CONTROL", "TITLE"}, func(c api.Control) []string { return []string{c.Name, c.Title} })
	c.Use = "controls"
	return c
}

func attestCommand() *cobra.Command {
	c := &cobra.Command{
		Use: "attest", Short: "Sign a statement about controls: an answer, a review, a document, a declaration", Args: exactly(),
		Long: "Signs a statement that counts as your word and ends by itself, within a year.\n" +
			"  answer            answers the question that a control asks of a person; takes an outcome\n" +
			"  review            you went over a set of rows; give --file with what you went over, or its digest\n" +
			"  document          a document is in force; give --reference with title and version, and --file\n" +
			"  declared-key, declared-form, declared-history   registers what this service can not prove\n" +
			"A statement never changes a verdict: the report shows both.",
	}
	return attestation(c, "attestation.sign", "kind", "answer, review, document, declared-key, declared-form or declared-history")
}

func decideCommand() *cobra.Command {
	c := &cobra.Command{
		Use: "decide", Short: "Propose a compensating control, or a judgement in place of a verdict", Args: exactly(),
		Long: "A quorum decides. A compensating control stands in for a rule that is broken, an override for any verdict;\n" +
			"both end within a year, and the report shows the program's verdict beside them.",
	}
	return attestation(c, "attestation.decide", "kind", "compensating, or override")
}

// attestation gives a command the flags of a statement. A file's digest is made here: the service never sees it.
func attestation(c *cobra.Command, operation, kind, kinds string) *cobra.Command {
	p := newParams(c)
	p.text("id", "id", "", "id of the statement; default: made by the service")
	p.text(kind, "kind", "", kinds)
	p.texts("control", "controls", "control that it is about, as pci-dss-4.0.1:12.3.1; may be repeated")
	p.text("outcome", "outcome", "", "answer, override: met, not-met or not-applicable")
	p.text("says", "statement", "", "what you say")
	p.text("reference", "reference", "", "where what it rests on is found")
	p.text("sha256", "sha256", "", "digest of what was reviewed or of the document")
	p.number("days", "days", "days that it counts, at most 365")
	f := c.Flags()
	file := f.String("file", "", "file whose SHA-256 is signed; it stays here")
	from := f.String("covers-from", "", "review: beginning of the period that was gone over")
	to := f.String("covers-to", "", "review: its end")
	reason := f.String("reason", "", "why, for the record")
	c.RunE = action(func(s *session, _ *cobra.Command, _ []string) error {
		params, err := p.collect()
		if err != nil {
			return err
		}
		for flag, value := range map[string]string{"covers_from": *from, "covers_to": *to} {
			if value == "" {
				continue
			}
			at, err := parseTime(strings.ReplaceAll(flag, "_", "-"), value)
			if err != nil {
				return err
			}
			params[flag] = at
		}
		if *file != "" {
			if params["sha256"], err = digestFile(*file); err != nil {
				return err
			}
			s.say("SHA-256 of %s: %s.", *file, params["sha256"])
		}
		if err := s.connectPerson(); err != nil {
			return err
		}
		if err := s.checkControls(params); err != nil {
			return err
		}
		return s.proposeAloud(operation, params, *reason)
	})
	return must(c, kind, "says", "days", "reason")
}

// checkControls has the service look up each control, whose catalogues are those that count, before anything is signed.
func (s *session) checkControls(params map[string]any) error {
	names, _ := params["controls"].([]string)
	for _, name := range names {
		found, err := s.client.Controls(s.ctx, name)
		if err != nil {
			return err
		}
		for _, c := range found {
			s.say("About %s: %s.", c.Name, c.Title)
		}
	}
	return nil
}

func digestFile(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", fmt.Errorf("reading what was reviewed: %w", err)
	}
	defer f.Close() // nothing is written
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", fmt.Errorf("reading %s: %w", path, err)
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}
