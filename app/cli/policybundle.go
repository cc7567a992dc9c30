package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"conclave/app/api"
	"conclave/ceremony/bundles"
	"conclave/custodian/amount"
	"conclave/policies"
)

// maxBundleFile bounds a signed bundle on disk: the archive in base64, and its envelope.
const maxBundleFile = 2*policies.MaxArchive + 16<<10

func policyList() *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List policy bundles and which was in force when", Args: exactly(),
		RunE: action(func(s *session, _ *cobra.Command, _ []string) error {
			if err := s.connectAny(); err != nil {
				return err
			}
			list, err := s.client.Bundles(s.ctx)
			if err != nil {
				return err
			}
			return s.show(list, func(w io.Writer) { writeBundles(w, list) })
		}),
	}
}

func writeBundles(w io.Writer, list api.PolicyBundles) {
	facts(w, "in force", list.InForce, "problem", list.Problem)
	var rows [][]string
	for _, b := range list.Items {
		tried := "no"
		if b.Tried != nil {
			tried = amount.Of(b.Tried.Decisions, "decision")
		}
		rows = append(rows, []string{b.Digest, b.State, b.Name, b.Signer, when(b.AddedAt), tried})
	}
	fmt.Fprintln(w)
	table(w, []string{"BUNDLE", "STATE", "NAME", "SIGNED BY", "SINCE", "BACK-TESTED"}, rows)
	rows = nil
	for _, h := range list.History {
		rows = append(rows, []string{number(h.Number), h.Digest, when(h.From), maybe(h.Until), h.Operation, h.Ceremony})
	}
	fmt.Fprintln(w)
	table(w, []string{"NO", "IN FORCE", "FROM", "UNTIL", "BY", "CEREMONY"}, rows)
}

func policySign() *cobra.Command {
	c := &cobra.Command{
		Use: "sign DIRECTORY", Short: "Sign a policy bundle: a directory or tar with rules/, lib/ and data/", Args: cobra.MaximumNArgs(1),
		Long: "Reads the bundle, compiles it, runs its own tests, and signs its digest for the instance of your trust file.\n" +
			"With --carried the bundle that this program carries is taken: what an upgrade brings. Needs no service.",
	}
	out := c.Flags().StringP("out", "o", "", "file to keep the signed bundle in; must not exist")
	name := c.Flags().String("name", "", "what you call it: letters, digits, spaces, dots, dashes")
	own := c.Flags().Bool("carried", false, "sign the bundle that this program carries")
	c.RunE = action(func(s *session, cmd *cobra.Command, args []string) error {
		if *own == (len(args) == 1) {
			return usagef("sign: give either a directory or tar, or --carried")
		}
		files, err := bundleFrom(args, *own)
		if err != nil {
			return err
		}
		return s.signBundle(files, *name, *out)
	})
	return must(c, "out", "name")
}

// bundleFrom reads a bundle from disk, or the carried one.
func bundleFrom(args []string, own bool) (policies.Files, error) {
	if own {
		return policies.FilesOf(policies.Bundle())
	}
	info, err := os.Stat(args[0])
	if err != nil {
		return nil, fmt.Errorf("reading the bundle: %w", err)
	}
	if info.IsDir() {
		return policies.FilesOf(os.DirFS(args[0]))
	}
	raw, err := readSmall(args[0], policies.MaxBytes*2)
	if err != nil {
		return nil, fmt.Errorf("reading the bundle: %w", err)
	}
	return policies.FilesFrom(raw)
}

// signBundle compiles, tests and signs a bundle and keeps it in a file.
func (s *session) signBundle(files policies.Files, name, out string) error {
	if err := s.loadTrust(); err != nil {
		return err
	}
	engine, err := policies.New(s.ctx, policies.Options{Files: files})
	if err != nil {
		return err
	}
	if len(files) > len(files.Deciding()) {
		report, err := engine.RunTests(s.ctx)
		if err != nil {
			return err
		}
		for _, t := range report.Tests {
			if !t.Pass {
				return fmt.Errorf("%w: %s.%s (%s:%d) %s", errPolicyTests, t.Package, t.Name, t.File, t.Line, t.Problem)
			}
		}
		s.say("Of its tests %d pass, of its lines %.0f %% are covered.", len(report.Tests), report.Coverage)
	}
	if err := s.unlock(); err != nil {
		return err
	}
	s.say("Signing bundle %s as %s, for instance %s.", engine.Digest(), s.signer.ID(), s.trust.Instance)
	upload := api.BundleUpload{}
	if upload.Envelope, err = bundles.Sign(s.signer, s.trust.Instance, s.signer.ID(), name, engine.Digest(), s.clock.Now()); err != nil {
		return err
	}
	if upload.Archive, err = files.Archive(); err != nil {
		return err
	}
	raw, err := json.Marshal(upload)
	if err != nil {
		return fmt.Errorf("encoding the signed bundle: %w", err)
	}
	if err := writeNewFile(out, raw); err != nil {
		return err
	}
	result := struct {
		Bundle string `json:"bundle"`
		File   string `json:"file"`
	}{engine.Digest(), out}
	return s.show(result, func(w io.Writer) {
		facts(w, "bundle", result.Bundle, "file", result.File)
		fmt.Fprintf(w, "\nHand it in with: conclave policy propose %s\n", clean(out))
	})
}

func policySet() *cobra.Command {
	c := &cobra.Command{
		Use: "set TABLE.PATH=VALUE…", Short: "Make a signed bundle of the one in force with some table values changed", Args: cobra.MinimumNArgs(1),
		Long: "Values are JSON. A path names what is there, e.g. classifications.ephi.max_oup_days=365 or\n" +
			"operations.policy.activate.0.approvals=4; with + before it the last name is added:\n" +
			"+operations.key.destroy.0.approvals=3. What changes is shown before you sign.",
	}
	out := c.Flags().StringP("out", "o", "", "file to keep the signed bundle in; must not exist")
	name := c.Flags().String("name", "", "what you call it")
	c.RunE = action(func(s *session, _ *cobra.Command, args []string) error {
		if err := s.connectPerson(); err != nil {
			return err
		}
		list, err := s.client.Bundles(s.ctx)
		if err != nil {
			return err
		}
		before, err := s.bundleOf(list.InForce)
		if err != nil {
			return err
		}
		after := before
		for _, arg := range args {
			path, value, found := strings.Cut(arg, "=")
			if !found {
				return usagef("set: %q; allowed: TABLE.PATH=VALUE", arg)
			}
			if after, err = after.Set(path, json.RawMessage(value)); err != nil {
				return usagef("set: %v", err)
			}
		}
		writeChanges(s.err, changesOf(policies.Diff(before, after)))
		return s.signBundle(after, *name, *out)
	})
	return must(c, "out", "name")
}

// bundleOf fetches a bundle and holds it against its digest.
func (s *session) bundleOf(digest string) (policies.Files, error) {
	raw, err := s.client.BundleFiles(s.ctx, digest)
	if err != nil {
		return nil, err
	}
	files, err := policies.FilesFrom(raw)
	if err != nil {
		return nil, err
	}
	if d := files.Digest(); d != digest {
		return nil, fmt.Errorf("bundle refused: the service gave files of digest %s for %s", d, digest)
	}
	return files, nil
}

func changesOf(in []policies.Change) []api.PolicyChange {
	var out []api.PolicyChange
	for _, c := range in {
		out = append(out, api.PolicyChange(c))
	}
	return out
}

func writeChanges(w io.Writer, changes []api.PolicyChange) {
	if len(changes) == 0 {
		fmt.Fprintln(w, "nothing differs")
	}
	for _, c := range changes {
		fmt.Fprintf(w, "%s %s\n", clean(c.File), clean(c.At))
		for _, side := range []struct{ mark, text string }{{"-", c.Before}, {"+", c.After}} {
			for line := range strings.Lines(side.text) {
				fmt.Fprintf(w, "  %s %s\n", side.mark, clean(strings.TrimRight(line, "\n")))
			}
		}
	}
}

func policyDiff() *cobra.Command {
	return &cobra.Command{
		Use: "diff BUNDLE", Short: "Show what a bundle, or a signed bundle's file, would change of the one in force", Args: exactly("BUNDLE"),
		RunE: action(func(s *session, _ *cobra.Command, args []string) error {
			if err := s.connectAny(); err != nil {
				return err
			}
			if isDigest(args[0]) {
				d, err := s.client.Bundle(s.ctx, args[0])
				if err != nil {
					return err
				}
				return s.show(d.Changes, func(w io.Writer) { writeChanges(w, d.Changes) })
			}
			_, after, err := s.readBundle(args[0])
			if err != nil {
				return err
			}
			list, err := s.client.Bundles(s.ctx)
			if err != nil {
				return err
			}
			before, err := s.bundleOf(list.InForce)
			if err != nil {
				return err
			}
			changes := changesOf(policies.Diff(before, after))
			return s.show(changes, func(w io.Writer) { writeChanges(w, changes) })
		}),
	}
}

func isDigest(text string) bool {
	return len(text) == 64 && strings.Trim(text, "0123456789abcdef") == ""
}

func (s *session) readBundle(path string) (api.BundleUpload, policies.Files, error) {
	var in api.BundleUpload
	raw, err := readSmall(path, maxBundleFile)
	if err != nil {
		return in, nil, fmt.Errorf("reading the signed bundle: %w", err)
	}
	if err := json.Unmarshal(raw, &in); err != nil {
		return in, nil, usagef("%s: no signed bundle; make one with: conclave policy sign", path)
	}
	files, err := policies.FilesFrom(in.Archive)
	return in, files, err
}

func policyDocs() *cobra.Command {
	c := &cobra.Command{
		Use: "docs", Short: "Write the policy in force out as procedures: who may do what, and which control it serves", Args: exactly(),
	}
	format := c.Flags().String("format", "markdown", "markdown, html or json")
	out := c.Flags().StringP("out", "o", "", "file to write; must not exist")
	c.RunE = action(func(s *session, _ *cobra.Command, _ []string) error {
		if err := s.connectAny(); err != nil {
			return err
		}
		text, err := s.client.Procedures(s.ctx, *format)
		if err != nil {
			return err
		}
		if *out != "" {
			return writeNewFile(*out, text)
		}
		_, err = s.out.Write(text)
		return err
	})
	return c
}

func policyFetch() *cobra.Command {
	c := &cobra.Command{
		Use: "fetch BUNDLE", Short: "Fetch a bundle's files as a tar archive, to base another one on", Args: exactly("BUNDLE"),
	}
	out := c.Flags().StringP("out", "o", "", "file to write (.tar.gz); must not exist")
	c.RunE = action(func(s *session, _ *cobra.Command, args []string) error {
		if err := s.connectAny(); err != nil {
			return err
		}
		files, err := s.bundleOf(args[0])
		if err != nil {
			return err
		}
		archive, err := files.Archive()
		if err != nil {
			return err
		}
		return writeNewFile(*out, archive)
	})
	return must(c, "out")
}
