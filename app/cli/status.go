package cli

import (
	"crypto/fips140"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"conclave/app/api"
)

// fipsWords says what this process may claim: both the mode and the validated module's version count.
func fipsWords() string {
	if !fips140.Enabled() {
		return "off (module " + fips140.Version() + ")"
	}
	return "on (module " + fips140.Version() + ")"
}

func statusCommand() *cobra.Command {
	return &cobra.Command{
		Use: "status", Short: "Show how the service is", Args: exactly(),
		Long: "Shows how the service is. With credentials its keystores too.",
		RunE: action(func(s *session, _ *cobra.Command, _ []string) error {
			if err := s.connectOptional(); err != nil {
				return err
			}
			status, err := s.client.Status(s.ctx)
			if err != nil {
				return err
			}
			return s.show(status, func(w io.Writer) { writeStatus(w, status) })
		}),
	}
}

func writeStatus(w io.Writer, st api.Status) {
	facts(w, "name", st.Name, "instance", st.Instance, "mode", st.Mode, "node", st.Node, "version", st.Version,
		"ready", yesNo(st.Ready), "problems", strings.Join(st.Problems, "; "), "fips 140", st.FIPS,
		"policy", st.PolicyDigest, "ledger", number(st.LedgerSize)+" entries", "time", when(st.Time))
	if k := st.LogKey; k != nil {
		facts(w, "log key", k.Key, "in force for", number(k.AgeDays)+" days", "until", when(k.Until), "log key, to be replaced", strings.Join(k.Due, "; "))
	}
	if len(st.Keystores) > 0 {
		io.WriteString(w, "\n")
		writeKeystores(w, st.Keystores)
	}
}

func writeKeystores(w io.Writer, list []api.Keystore) {
	var rows [][]string
	for _, k := range list {
		shares := ""
		if k.ShareSet != "" {
			shares = number(k.Threshold) + " of " + number(k.Total) + " (" + number(k.Confirmed) + " confirmed)"
		}
		driver := k.Driver
		if k.Token != nil {
			driver += " " + k.Token.Serial
		}
		active := yesNo(k.Active)
		if k.Status != "" && k.Status != "registered" { // it is not activated any more
			active = k.Status
		}
		rows = append(rows, []string{k.ID, driver, active, k.FIPS, k.Jurisdiction, k.Environment, k.Custody, k.ShareSet, shares})
	}
	table(w, []string{"KEYSTORE", "DRIVER", "ACTIVE", "FIPS", "JURISDICTION", "ENVIRONMENT", "CUSTODY", "SHARE SET", "SHARES"}, rows)
}
