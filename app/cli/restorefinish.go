package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/spf13/cobra"

	"conclave/ceremony/recovery"
	"conclave/custodian/backup"
)

func restoreFinish(finish func(context.Context, recovery.Input) (recovery.Done, error)) *cobra.Command {
	c := &cobra.Command{
		Use: "finish DIR", Short: "Open the backup with what was given, verify all of it, and restore", Args: exactly("DIR"),
		Long: "Puts the backup key together from the contributions in DIR (*" + contributionSuffix + "), decrypts the backup, verifies the\n" +
			"whole ledger and every row against the trust file, counts the quorum by the restored register, applies again what had\n" +
			"restricted, and writes the data directory: whole or not at all. Of a drill it writes the record for `conclave backup drill`.",
	}
	var src sources
	src.flags(c)
	record := c.Flags().String("record", "", "drill: file to write the record to; default: drill.json in DIR")
	yes := c.Flags().Bool("yes", false, "restore without asking, once what is shown has been read")
	c.RunE = action(func(s *session, cmd *cobra.Command, args []string) error {
		return s.finishRestore(args[0], src, *record, *yes, finish)
	})
	return must(c, "backup")
}

func (s *session) finishRestore(dir string, src sources, record string, yes bool, finish func(context.Context, recovery.Input) (recovery.Done, error)) error {
	o, err := s.openSession(filepath.Join(dir, sessionFile))
	if err != nil {
		return err
	}
	in := recovery.Input{Session: o, Trust: s.trust, Backup: src.backup, Journals: src.journals}
	lost, err := backup.ReadJournals(src.journals, s.trust, 0)
	if err != nil {
		return err
	}
	if in.Known, err = src.heads(s, lost.Handovers); err != nil {
		return err
	}
	if in.Given, err = readContributions(dir); err != nil {
		return err
	}
	writeSession(s.err, o)
	if err := s.confirm(yes, "Restore?"); err != nil {
		return err
	}
	s.settings[setKeyFile] = filepath.Join(dir, sessionKeyFile)
	if err := s.unlock(); err != nil {
		return err
	}
	in.Collector = s.signer
	done, err := finish(s.ctx, in)
	if err != nil {
		return err
	}
	if o.Scratch {
		return s.saveDrill(dir, record, recovery.NewDrill(o, done.Result, in.Given, s.clock.Now().UTC().Format(time.RFC3339)))
	}
	return s.showRestored(o, done)
}

func readContributions(dir string) ([]*recovery.Contribution, error) {
	found, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("reading contributions: %w", err)
	}
	var out []*recovery.Contribution
	var failed error
	for _, e := range found {
		if !strings.HasSuffix(e.Name(), contributionSuffix) || len(out) == maxContributions {
			continue
		}
		raw, err := readSmall(filepath.Join(dir, e.Name()), maxSignatureBytes)
		if err == nil {
			var c *recovery.Contribution
			if c, err = recovery.ReadContribution(raw); err == nil {
				out = append(out, c)
			}
		}
		if err != nil {
			failed = errors.Join(failed, fmt.Errorf("%s: %w", e.Name(), err))
		}
	}
	return out, failed
}

func (s *session) saveDrill(dir, path string, d *recovery.Drill) error {
	if path == "" {
		path = filepath.Join(dir, "drill.json")
	}
	raw, err := json.Marshal(d, jsontext.WithIndent("  "))
	if err != nil {
		return fmt.Errorf("encoding the drill's record: %w", err)
	}
	if err := writeNewFile(path, append(raw, '\n')); err != nil {
		return err
	}
	s.say("The backup opens and restores whole. Record it in the live instance: conclave backup drill %s", path)
	return s.show(d, func(w io.Writer) {
		facts(w, "backup", d.Backup, "entries verified", number(d.Entries), "rows", number(d.Rows), "record", path)
	})
}

func (s *session) showRestored(o *recovery.Opened, done recovery.Done) error {
	out := struct {
		Recovery     string   `json:"recovery"`
		DataDir      string   `json:"data_dir"`
		TrustFile    string   `json:"trust_file"`
		Entries      uint64   `json:"entries"`
		Rows         int      `json:"rows"`
		People       []string `json:"people"`
		Witnesses    []string `json:"witnesses"`
		Restrictions []string `json:"restrictions"`
		Deviations   []string `json:"deviations"`
		Voided       int      `json:"voided_ceremonies"`
	}{o.ID, done.DataDir, done.TrustFile, done.Backup.Size, done.Rows, done.Recovery.People, done.Recovery.Witnesses,
		append([]string{}, done.Recovery.Restrictions...), append([]string{}, done.Recovery.Deviations...), done.Voided}
	return s.show(out, func(w io.Writer) {
		facts(w, "recovery", out.Recovery, "data directory", out.DataDir, "trust file", out.TrustFile, "entries verified", number(out.Entries), "rows", number(out.Rows),
			"approved by", strings.Join(out.People, ", "), "witnessed by", strings.Join(out.Witnesses, ", "), "open ceremonies ended", number(out.Voided))
		for _, line := range out.Restrictions {
			fmt.Fprintf(w, "Holds again: %s\n", clean(line))
		}
		for _, line := range out.Deviations {
			fmt.Fprintf(w, "Note: %s\n", clean(line))
		}
		fmt.Fprintf(w, "\nMake sure that the old instance never runs again. Start: conclave server --data-dir %s\n", out.DataDir)
		fmt.Fprintln(w, "Whoever saw the lost ledger goes on with: conclave ledger accept-recovery; hand them the new trust file and recovery.json.")
	})
}
