package cli

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"conclave/custodian/ledger"
	"conclave/reports/bundle"
	"conclave/reports/control"
)

func verifyCommand() *cobra.Command {
	c := &cobra.Command{
		Use: "verify BUNDLE", Short: "Verify an evidence bundle offline, against the trust file", Args: exactly("BUNDLE"),
		Long: "Checks a bundle made by `conclave report --format bundle`: the node's signature, every file, the\n" +
			"checkpoint, that no ledger entry of the period is left out, the rows that the report rests on, and every\n" +
			"signature under a ceremony. It says what it checked, and where something is wrong, the first thing that is.\n" +
			"It needs nothing but the bundle and the trust file (--trust). Without one, it can only say that the bundle\n" +
			"agrees with itself.",
		RunE: action(func(s *session, _ *cobra.Command, args []string) error {
			if s.settings[setTrust] != "" {
				if err := s.loadTrust(); err != nil {
					return err
				}
			}
			r, err := bundle.Verify(s.ctx, args[0], s.trust)
			if err != nil {
				return err
			}
			return s.show(r, func(w io.Writer) {
				fmt.Fprintf(w, "%s\n\n", clean(r.Words()))
				for _, line := range r.Checked {
					fmt.Fprintf(w, "  checked: %s\n", clean(line))
				}
				fmt.Fprintln(w)
				facts(w, "instance", r.Instance, "mode", r.Mode, "signed by node", r.Node, "framework", r.Framework,
					"period", when(r.From)+" to "+when(r.To), "ledger", number(r.Size)+" entries", "entries of the period", number(r.PeriodEntries),
					"verdicts", verdictCounts(r.Counts))
			})
		}),
	}
	c.AddCommand(verifyPage())
	return c
}

// verdictCounts is how many controls have which verdict, in words.
func verdictCounts(counts map[string]int) string {
	var out []string
	for _, v := range control.Verdicts() {
		if n := counts[string(v)]; n > 0 {
			out = append(out, fmt.Sprintf("%d %s", n, v))
		}
	}
	return strings.Join(out, ", ")
}

func verifyPage() *cobra.Command {
	return &cobra.Command{
		Use: "page FILE", Short: "Write the verifier as one HTML page, for those who may not run programs", Args: exactly("FILE"),
		Long: "Writes a single HTML file that checks a bundle in a browser, offline, as `conclave verify` does. It may reach\n" +
			"no network. Its SHA-256 is printed: give it to the auditor by another way than the page.",
		RunE: action(func(s *session, _ *cobra.Command, args []string) error {
			page, err := bundle.Page()
			if err != nil {
				return err
			}
			if err := ledger.WriteFileAtomic(args[0], page, 0o644); err != nil {
				return err
			}
			sum := sha256.Sum256(page)
			out := struct {
				File   string `json:"file"`
				SHA256 string `json:"sha256"`
			}{args[0], hex.EncodeToString(sum[:])}
			return s.show(out, func(w io.Writer) { facts(w, "page", out.File, "SHA-256", out.SHA256) })
		}),
	}
}
