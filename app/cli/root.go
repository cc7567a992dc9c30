// Package cli is the command line: one command a task, speaking to the API alone, the offline verifiers
// aside. It says what it will do before it does it, shows results as table, JSON or YAML, and ends with
// the reason, and what would help, on standard error.
package cli

import (
	"io"
	"runtime/debug"
	"strings"

	"github.com/spf13/cobra"

	"conclave/hsm/secret"
	"conclave/policies"
)

// Root returns the command tree. extra are commands that the caller adds, such as the server's.
func Root(extra ...*cobra.Command) *cobra.Command {
	root := &cobra.Command{
		Use:   "conclave",
		Short: "Key custodian service: keys that open only when enough people agree",
		Long: "Conclave keeps key-encryption keys in keystores, hands data keys to applications, lets nobody do a\n" +
			"sensitive thing alone, and proves all of it to an auditor.\n\n" +
			"People sign with their key file (--key-file, --trust); applications and auditors bring a token\n" +
			"(--token-file). Every setting may also stand in the environment (CONCLAVE_URL, CONCLAVE_CA, …) or in\n" +
			"the client configuration file.\n\n" +
			"Exit codes: 0 done; 1 refused or failed, with the reason on standard error; 2 not understood, nothing sent.",
		SilenceErrors: true,
		SilenceUsage:  true,
		// Key files and shares are opened in this process: keep it out of core dumps and debuggers. Where
		// the system cannot, the person at it decides whether to go on.
		PersistentPreRun: func(cmd *cobra.Command, _ []string) {
			if err := secret.Harden(); err != nil {
				cmd.PrintErrf("conclave: warning: %v\n", err)
			}
		},
	}
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usagef("%s", err) })
	addSettings(root.PersistentFlags())
	// The settings are the same everywhere: the root's help lists them, the others' point there.
	const inherited = "Global Flags:\n{{.InheritedFlags.FlagUsages | trimTrailingWhitespaces}}"
	root.SetUsageTemplate(strings.Replace(root.UsageTemplate(), inherited, "Global Flags: who you are and where the service is; see conclave --help", 1))
	root.AddGroup(
		&cobra.Group{ID: "people", Title: "For custodians and officers:"},
		&cobra.Group{ID: "keys", Title: "Keys and who may use them:"},
		&cobra.Group{ID: "data", Title: "For applications:"},
		&cobra.Group{ID: "audit", Title: "For auditors:"},
		&cobra.Group{ID: "service", Title: "The service:"},
	)
	group(root, "people",
		custodianCommand(),
		genesisCommand(),
		ackCommand(),
		shareCommand(),
		sharesetCommand(),
		custodyCommand(), drillCommand(),
		ceremonyCommand(),
		scriptCommand(),
		personCommand(),
		reviewCommand(),
		findingCommand(),
		breakglassCommand(),
		quorumCommand(),
		credentialCommand(),
		dutyCommand(),
		alertsCommand(),
	)
	group(root, "keys",
		keyCommand(),
		keystoreCommand(),
		groupCommand(),
		grantCommand(),
		applicationCommand(),
		tokenCommand(),
		batchCommand(),
		templateCommand(),
		assetCommand(),
		campaignCommand(),
		policyCommand(),
		auditCommand(),
		exceptionCommand(),
	)
	group(root, "data",
		dataKeyCommand(),
		encryptCommand(),
		decryptCommand(),
		rewrapCommand(),
		dataKeyPairCommand(),
		signCommand(),
		verifySignatureCommand(),
		macCommand(),
		verifyMACCommand(),
	)
	group(root, "audit",
		whyCommand(),
		ledgerCommand(),
		reportCommand(),
		verifyCommand(),
		holdCommand(),
		retentionCommand(),
	)
	group(root, "service",
		statusCommand(),
		clockCommand(),
		logKeyCommand(),
		versionCommand(),
		backupCommand(),
	)
	group(root, "service", extra...)
	_ = root.RegisterFlagCompletionFunc(setOutput, cobra.FixedCompletions([]string{"table", "json", "yaml"}, cobra.ShellCompDirectiveNoFileComp))
	return root
}

func group(root *cobra.Command, id string, commands ...*cobra.Command) {
	for _, c := range commands {
		c.GroupID = id
		root.AddCommand(c)
	}
}

// parent is a command that only holds others. Without one of them it shows its help and fails, so that a
// script with a misspelt subcommand does not go on.
func parent(use, short string, children ...*cobra.Command) *cobra.Command {
	c := &cobra.Command{
		Use: use, Short: short,
		RunE: func(cmd *cobra.Command, args []string) error {
			_ = cmd.Help()
			if len(args) > 0 {
				return usagef("%s: unknown command %q", cmd.Name(), args[0])
			}
			return usagef("%s: give one of the commands above", cmd.Name())
		},
	}
	c.AddCommand(children...)
	return c
}

// exactly takes n arguments and says what they are.
func exactly(names ...string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) != len(names) {
			return usagef("%s: %d arguments; allowed: %s", cmd.Name(), len(args), cmd.UseLine())
		}
		return nil
	}
}

// must marks flags as required.
func must(c *cobra.Command, flags ...string) *cobra.Command {
	for _, f := range flags {
		_ = c.MarkFlagRequired(f) // fails only for a flag that is not defined, which the help test finds
	}
	return c
}

// Version is the program's version as its build recorded it.
func Version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok || info.Main.Version == "" {
		return "(devel)"
	}
	return info.Main.Version
}

func versionCommand() *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Show the program's version, cryptographic module and policy", Args: exactly(),
		RunE: action(func(s *session, _ *cobra.Command, _ []string) error {
			v := struct {
				Version string `json:"version"`
				Go      string `json:"go"`
				FIPS    string `json:"fips"`
				Policy  string `json:"policy"`
			}{Version: Version(), FIPS: fipsWords()}
			var err error
			if v.Policy, err = policies.CarriedDigest(); err != nil {
				return err
			}
			if info, ok := debug.ReadBuildInfo(); ok {
				v.Go = info.GoVersion
			}
			return s.show(v, func(w io.Writer) {
				facts(w, "version", v.Version, "go", v.Go, "fips 140", v.FIPS, "policy carried", v.Policy)
			})
		}),
	}
}
