package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"conclave/app/client"
	"conclave/ceremony/keyfile"
	"conclave/ceremony/recovery"
	"conclave/custodian/amount"
	"conclave/custodian/backup"
	"conclave/custodian/jwk"
	"conclave/custodian/ledger"
)

// Names in a session's directory.
const (
	sessionFile        = "session.json"
	sessionKeyFile     = "session.key"
	contributionSuffix = ".contribution.json"
	maxSessionFile     = 8 << 20
	maxContributions   = 512
)

// RestoreCommand is `conclave restore`. finish makes the data directory; only it needs the server's own parts.
func RestoreCommand(finish func(context.Context, recovery.Input) (recovery.Done, error)) *cobra.Command {
	return parent("restore", "Restore an instance from a backup, with a quorum and a witness, where none is left",
		restoreBegin(), restoreShow(), restoreContribute(), restoreWitness(), restoreFinish(finish))
}

// sources are what begin and finish both read.
type sources struct {
	backup   string
	journals []string
	known    []string
}

func (f *sources) flags(c *cobra.Command) {
	c.Flags().StringVar(&f.backup, "backup", "", "the backup file")
	c.Flags().StringSliceVar(&f.journals, "journal", nil, "journal, or directory with journals, of the lost instance; repeat for more")
	c.Flags().StringSliceVar(&f.known, "known", nil, "file with a checkpoint that a node, client or auditor had seen; repeat for more")
}

// heads reads the checkpoints that somebody had seen. The log key may have been replaced since the trust file was made: what
// this client has seen, and handovers, which the journals tell of, show by which.
func (f *sources) heads(s *session, handovers []string) ([]ledger.Head, error) {
	trust, err := client.Followed(s.trust, s.settings[setStateDir])
	if err != nil {
		return nil, err
	}
	if trust, err = trust.Follow(handovers...); err != nil {
		return nil, fmt.Errorf("succession of the log key: %w", err)
	}
	chain, err := trust.Chain()
	if err != nil {
		return nil, err
	}
	var out []ledger.Head
	for _, path := range f.known {
		note, err := readSmall(path, maxConfig)
		if err != nil {
			return nil, fmt.Errorf("reading known checkpoint: %w", err)
		}
		h, err := chain.Open(note)
		if errors.Is(err, ledger.ErrSignature) {
			err = fmt.Errorf("%w; where the log key was replaced after the trust file was made, give the journals, or a trust file from after that", err)
		}
		if err != nil {
			return nil, fmt.Errorf("known checkpoint %s: %w", path, err)
		}
		out = append(out, h)
	}
	return out, nil
}

func restoreBegin() *cobra.Command {
	c := &cobra.Command{
		Use: "begin DIR", Short: "Open a restore session: verify the backup and say what would be lost", Args: exactly("DIR"),
		Long: "Verifies a backup against the trust file, reads what journals and checkpoints tell of the time after it, and writes\n" +
			"a session to DIR: session.json, which everybody who takes part reads and signs, and session.key, to which custodians\n" +
			"seal their shares, under a passphrase of your choice. With --scratch it is a drill, whose result is thrown away.",
		Example: "  conclave restore begin session --backup nightly.cvb --journal /var/backups/conclave --known ~/.local/state/conclave/….checkpoint \\\n" +
			"    --data-dir /var/lib/conclave/data --trust trust.json",
	}
	var src sources
	src.flags(c)
	dir := c.Flags().String("data-dir", "", "directory where the instance will stand; must be empty or absent")
	driver := c.Flags().String("database-driver", "sqlite", "sqlite or postgres (its URL stands in CONCLAVE_SERVER_DATABASE_DSN when the restore is finished)")
	scratch := c.Flags().Bool("scratch", false, "a drill into a scratch instance")
	c.RunE = action(func(s *session, _ *cobra.Command, args []string) error {
		if *scratch == (*dir != "") {
			return usagef("data-dir: give --data-dir DIR, or --scratch for a drill")
		}
		target := "a scratch directory"
		if !*scratch {
			var err error
			if target, err = filepath.Abs(*dir); err != nil {
				return err
			}
		}
		return s.beginRestore(args[0], src, recovery.BeginInput{Target: target, Driver: *driver, Scratch: *scratch})
	})
	return must(c, "backup")
}

func (s *session) beginRestore(dir string, src sources, in recovery.BeginInput) error {
	if err := s.loadTrust(); err != nil {
		return err
	}
	s.say("Verifying %s: signatures, completeness, every byte.", src.backup)
	f, err := os.Open(src.backup)
	if err != nil {
		return fmt.Errorf("opening backup: %w", err)
	}
	defer f.Close()
	if in.File, err = backup.Open(f, s.trust); err != nil {
		return err
	}
	if in.Written, err = in.File.Verify(); err != nil {
		return err
	}
	head, err := in.File.Manifest.Head(s.trust)
	if err != nil {
		return err
	}
	if in.Lost, err = backup.ReadJournals(src.journals, s.trust, head.ControlCount); err != nil {
		return err
	}
	if in.Known, err = src.heads(s, in.Lost.Handovers); err != nil {
		return err
	}
	collector, err := s.sessionKey(dir)
	if err != nil {
		return err
	}
	defer collector.Wipe()
	in.Trust, in.Now, in.Collector = s.trust, s.clock.Now(), collector.Public().ShareKey
	begun, raw, err := recovery.Begin(in)
	if err != nil {
		return err
	}
	path := filepath.Join(dir, sessionFile)
	if err := writeNewFile(path, raw); err != nil {
		return err
	}
	opened, err := recovery.Open(raw, s.trust)
	if err != nil {
		return err
	}
	s.say("Session %s is in %s. Give %s to every custodian and to a witness; they compare its SHA-256 with you before they sign.", begun.ID, dir, path)
	return s.showSession(opened)
}

// sessionKey makes the one-time key that shares are sealed to.
func (s *session) sessionKey(dir string) (*keyfile.Signer, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("making the session's directory: %w", err)
	}
	passphrase, err := s.newPassphrase()
	if err != nil {
		return nil, err
	}
	defer passphrase.Wipe()
	signer, err := keyfile.Generate("restore-session", jwk.ES256)
	if err != nil {
		return nil, err
	}
	if err := signer.Save(filepath.Join(dir, sessionKeyFile), passphrase, keyfile.SaveOptions{Development: s.trust.Mode == "development"}); err != nil {
		signer.Wipe()
		return nil, err
	}
	return signer, nil
}

// openSession reads a session file and holds it against the trust file.
func (s *session) openSession(path string) (*recovery.Opened, error) {
	if err := s.loadTrust(); err != nil {
		return nil, err
	}
	raw, err := readSmall(path, maxSessionFile)
	if err != nil {
		return nil, fmt.Errorf("reading session: %w", err)
	}
	return recovery.Open(raw, s.trust)
}

func (s *session) showSession(o *recovery.Opened) error {
	return s.show(o.Session, func(w io.Writer) { writeSession(w, o) })
}

func writeSession(w io.Writer, o *recovery.Opened) {
	what := "Restore instance " + o.Manifest.Name
	if o.Scratch {
		what = "Drill: restore into a scratch instance, which is thrown away,"
	}
	fmt.Fprintf(w, "%s from backup %s\n\n", clean(what), clean(o.Backup.ID))
	target := o.Target
	if !o.Scratch {
		target += " (" + o.Driver + ")"
	}
	facts(w, "session", o.ID, "session SHA-256", o.Digest(), "instance", o.Instance, "mode", o.Mode, "backup made", when(o.Backup.CreatedAt),
		"backup SHA-256", o.Backup.SHA256, "ledger in it", number(o.Backup.Size)+" entries", "target", target,
		"collector key", o.Collector.Fingerprint(), "it takes", fmt.Sprintf("%d of %d holders of set %s, epoch %d, and a witness", o.Manifest.Threshold, len(o.Manifest.Shares), o.Manifest.ShareSet, o.Manifest.Epoch),
		"begun", o.BegunAt, "expires", o.ExpiresAt)
	for _, k := range o.Known {
		fmt.Fprintf(w, "Seen by somebody and not in the backup: a ledger of %d entries\n", k.Size)
	}
	writeJournals(w, o)
	for _, line := range o.Deviations {
		fmt.Fprintf(w, "Note: %s\n", clean(line))
	}
	if len(o.Restrictions) > 0 {
		fmt.Fprintln(w, "\nHolds again before anything is served, where the backup does not say so:")
		for _, line := range o.Restrictions {
			fmt.Fprintf(w, "  %s\n", clean(line))
		}
	}
}

// writeJournals says which journals were given and how far they reach: what is not in them is not known.
func writeJournals(w io.Writer, o *recovery.Opened) {
	for _, j := range o.Journals {
		fmt.Fprintf(w, "Journal beside backup %s: control entries %d to %d, SHA-256 %s\n", clean(j.Backup), j.From, j.To-1, clean(j.SHA256))
	}
	if known := o.Control - o.Head.ControlCount; known > 0 {
		fmt.Fprintf(w, "Known without a gap after the backup: %s, up to %d\n", amount.Of(known, "control entry"), o.Control-1)
	} else {
		fmt.Fprintln(w, "Of the time after the backup nothing is known without a gap")
	}
}

// notSeen refuses a session that leaves out what this client has seen: whoever began it would take away what was
// restricted since, and who signs could have known.
func (s *session) notSeen(o *recovery.Opened) error {
	if o.Scratch { // the instance is alive, and everybody has seen more
		return nil
	}
	seen, any, err := client.HighestSeen(s.trust, s.settings[setStateDir])
	if err != nil || !any || seen.Size <= o.Head.Size {
		return err
	}
	named := slices.ContainsFunc(o.Known, func(k ledger.Known) bool {
		return k.Size > seen.Size || k.Size == seen.Size && k.Root == seen.Root.String()
	})
	if !named {
		return fmt.Errorf("you have seen a ledger of %d entries, and the session names none as large: give your checkpoint (%s.checkpoint in %s) to who began it; they begin a new one with --known, and with every journal that there is: %w",
			seen.Size, o.Instance, s.settings[setStateDir], recovery.ErrOther)
	}
	if seen.ControlCount > o.Control {
		s.say("Note: you have seen %d control entries; the journals of this session know them up to %d without a gap.", seen.ControlCount, o.Control)
	}
	return nil
}

func restoreShow() *cobra.Command {
	return &cobra.Command{
		Use: "show SESSION", Short: "Show what a restore session would do, and the fingerprints to compare", Args: exactly("SESSION"),
		RunE: action(func(s *session, _ *cobra.Command, args []string) error {
			o, err := s.openSession(args[0])
			if err != nil {
				return err
			}
			return s.showSession(o)
		}),
	}
}

func restoreContribute() *cobra.Command {
	return restoreSign("contribute", "Approve a restore and give your share of the backup key, sealed to the session",
		"Shows the session, opens your share of the backup key, checks it against its commitment, signs your approval of exactly\n"+
			"this restore and seals the share to the session's key. Compare the session's SHA-256 with who began it first: whoever\n"+
			"began another session would get your share.", "Approve this restore and give your share",
		func(o *recovery.Opened, signer *keyfile.Signer, now time.Time) (*recovery.Contribution, error) {
			return o.Contribute(signer, now)
		})
}

func restoreWitness() *cobra.Command {
	return restoreSign("witness", "Attend a restore as a witness and sign that you did", "", "Sign as a witness that you attend this restore",
		func(o *recovery.Opened, signer *keyfile.Signer, now time.Time) (*recovery.Contribution, error) {
			return o.Witness(signer, now)
		})
}

func restoreSign(use, short, long, question string, give func(*recovery.Opened, *keyfile.Signer, time.Time) (*recovery.Contribution, error)) *cobra.Command {
	c := &cobra.Command{Use: use + " SESSION", Short: short, Long: long, Args: exactly("SESSION")}
	out := c.Flags().String("out", "", "file to write; default: beside the session, named after you")
	yes := c.Flags().Bool("yes", false, "sign without asking, once what is shown has been read and compared")
	c.RunE = action(func(s *session, _ *cobra.Command, args []string) error {
		if s.settings[setKeyFile] == "" {
			return usagef("key-file: missing; this is done by a person: give --%s FILE", setKeyFile)
		}
		o, err := s.openSession(args[0])
		if err != nil {
			return err
		}
		if err := s.unlock(); err != nil {
			return err
		}
		writeSession(s.err, o)
		if err := s.notSeen(o); err != nil {
			return err
		}
		if err := s.confirm(*yes, fmt.Sprintf("%s as %s?", question, s.signer.ID())); err != nil {
			return err
		}
		given, err := give(o, s.signer, s.clock.Now())
		if err != nil {
			return err
		}
		raw, err := given.Encode()
		if err != nil {
			return err
		}
		path := *out
		if path == "" {
			path = filepath.Join(filepath.Dir(args[0]), s.signer.ID()+contributionSuffix)
		}
		if err := writeNewFile(path, raw); err != nil {
			return err
		}
		s.say("Signed: %s. Give it to who began the session.", path)
		return nil
	})
	return c
}
