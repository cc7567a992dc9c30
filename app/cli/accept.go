package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"conclave/app/api"
	"conclave/app/client"
	"conclave/ceremony/recovery"
	"conclave/custodian"
	"conclave/custodian/backup"
	"conclave/custodian/ledger"
)

// maxDocument bounds a recovery's document, a row of the ledger.
const maxDocument = 1 << 20

func ledgerAcceptRecovery() *cobra.Command {
	c := &cobra.Command{
		Use: "accept-recovery", Short: "Judge a recovery, and go on with the recovered ledger where yours was lost", Args: exactly(),
		Long: "After a restore the ledger does not continue what you had seen, and is refused. This command verifies the whole recovered\n" +
			"ledger against the trust file, and the recovery's approvals against the people whom the ledger knew before it; that it\n" +
			"names what you had seen; and shows who restored what and what was lost. Once you say yes, the recovered ledger is the one\n" +
			"you hold others against, and the one that was left behind is refused. With --dir the service is not asked.",
	}
	file := c.Flags().String("recovery", "", "recovery.json, as the restore wrote it; default: the service's newest recovery")
	dir := c.Flags().String("dir", "", "exported copy of the recovered ledger; default: the service's ledger, with credentials of an auditor or officer")
	yes := c.Flags().Bool("yes", false, "accept without asking, once what is shown has been read")
	c.RunE = action(func(s *session, _ *cobra.Command, _ []string) error {
		if err := s.loadTrust(); err != nil {
			return err
		}
		if *dir == "" || *file == "" {
			if err := s.dialUnchecked(); err != nil {
				return err
			}
		}
		document, err := s.recoveryDocument(*file)
		if err != nil {
			return err
		}
		return s.acceptRecovery(document, *dir, *yes)
	})
	return c
}

// dialUnchecked opens the client without holding the ledger against what was seen: that is what is to be judged.
func (s *session) dialUnchecked() error {
	if s.settings[setKeyFile] != "" {
		if err := s.unlock(); err != nil {
			return err
		}
		return s.dial(client.Config{Signer: s.signer, Person: s.signer.ID(), Instance: s.trust.Instance})
	}
	return s.connectToken()
}

func (s *session) recoveryDocument(path string) ([]byte, error) {
	if path != "" {
		raw, err := readSmall(path, maxDocument)
		if err != nil {
			return nil, fmt.Errorf("reading recovery: %w", err)
		}
		return raw, nil
	}
	list, err := s.client.Recoveries(s.ctx)
	if err != nil {
		return nil, err
	}
	if len(list) == 0 {
		return nil, errors.New("the service tells of no recovery")
	}
	newest := slices.MaxFunc(list, func(a, b api.Recovery) int { return a.At.Compare(b.At) })
	return newest.Document, nil
}

func (s *session) acceptRecovery(document []byte, dir string, yes bool) error {
	source, closeSource, err := s.source(dir)
	if err != nil {
		return err
	}
	defer closeSource()
	in, err := s.verifyInput()
	if err != nil {
		return err
	}
	doc, judged, checkpoint, err := s.judgeRecovery(in, source, document)
	if err != nil {
		return err
	}
	if err := s.showRecovery(doc, judged); err != nil {
		return err
	}
	if err := s.confirm(yes, "Accept this recovery, and refuse the ledger that was left behind?"); err != nil {
		return err
	}
	handovers, err := handoversOf(s.ctx, source)
	if err != nil {
		return err
	}
	if err := client.AcceptRecovery(s.trust, s.settings[setStateDir], *judged.Recovery, checkpoint, handovers); err != nil {
		return err
	}
	s.say("Accepted. What was lost is not missed here any more; whoever still shows it is refused.")
	return nil
}

// judgeRecovery verifies the whole recovered ledger, and who restored it, by one checkpoint of it, which is returned.
func (s *session) judgeRecovery(in ledger.VerifyInput, source ledger.LogSource, document []byte) (*backup.Recovery, *recovery.Judgement, []byte, error) {
	doc, err := openRecovery(document)
	if err != nil {
		return nil, nil, nil, err
	}
	checkpoint, err := source.ReadFile(s.ctx, ledger.CheckpointFile)
	if err != nil {
		return nil, nil, nil, err
	}
	s.say("Verifying the whole ledger and the recovery's signatures.")
	in.Source = pinned{source, checkpoint}
	judged, err := recovery.JudgeLedger(s.ctx, in, doc, document)
	return doc, judged, checkpoint, err
}

func openRecovery(document []byte) (*backup.Recovery, error) {
	value, err := custodian.Schema()[custodian.KindRecovery].Decode(document)
	doc, ok := value.(*backup.Recovery)
	if err != nil || !ok {
		return nil, fmt.Errorf("reading recovery: %w", err)
	}
	return doc, nil
}

// source is the recovered ledger: an exported copy, or the service's.
func (s *session) source(dir string) (ledger.LogSource, func(), error) {
	if dir == "" {
		return s.client.LogSource(), func() {}, nil
	}
	d, err := ledger.OpenDir(dir)
	if err != nil {
		return nil, nil, err
	}
	return d, func() { _ = d.Close() }, nil
}

// handoversOf are the handovers of the log key that a source shows.
func handoversOf(ctx context.Context, source ledger.LogSource) ([]string, error) {
	data, err := source.ReadFile(ctx, ledger.HandoversFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return ledger.ParseHandovers(data)
}

// pinned is a source that shows one checkpoint throughout, so that what is verified is what is remembered.
type pinned struct {
	ledger.LogSource
	checkpoint []byte
}

// ReadFile implements ledger.LogSource.
func (p pinned) ReadFile(ctx context.Context, path string) ([]byte, error) {
	if path == ledger.CheckpointFile {
		return p.checkpoint, nil
	}
	return p.LogSource.ReadFile(ctx, path)
}

func (s *session) showRecovery(doc *backup.Recovery, j *recovery.Judgement) error {
	return s.show(j.Recovery, func(w io.Writer) {
		facts(w, "recovery", j.Recovery.ID, "at", when(doc.At), "what happened", j.Opened.Summary(), "backup made", when(j.Opened.Backup.CreatedAt),
			"approved by", strings.Join(j.Quorum.People, ", "), "witnessed by", strings.Join(j.Quorum.Witnesses, ", "), "ledger now", number(j.Report.Size)+" entries",
			"your checkpoints that were lost", fmt.Sprint(j.Report.Lost))
		for _, line := range doc.Restrictions {
			fmt.Fprintf(w, "Held again: %s\n", clean(line))
		}
		for _, line := range doc.Deviations {
			fmt.Fprintf(w, "Note: %s\n", clean(line))
		}
	})
}
