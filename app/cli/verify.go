package cli

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"conclave/reports/bundle"
)

func verifyCommand() *cobra.Command {
	return &cobra.Command{
		Use: "verify BUNDLE", Short: "Verify an evidence bundle offline, against the trust file", Args: exactly("BUNDLE"),
		Long: "Checks a bundle made by `conclave report --format bundle`: the node's signature, every file, the\n" +
			"checkpoint, every ledger entry's proof, and the rows that the report rests on. It needs nothing but the\n" +
			"bundle and the trust file (--trust). Without one, it can only say that the bundle agrees with itself.",
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
					"period", when(r.From)+" to "+when(r.To), "ledger", number(r.Size)+" entries", "entries in the bundle", number(r.Entries))
			})
		}),
	}
}
