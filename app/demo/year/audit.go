package year

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"conclave/app/client"
	"conclave/custodian/ledger"
	"conclave/reports/bundle"
)

// audit pulls the evidence of the year and checks it, and the whole ledger, without the service.
func (s *story) audit(ctx context.Context) error {
	issued, err := s.Alone(ctx, ida, "token.issue", map[string]any{"auditor": aud, "days": 30}, "the yearly audit")
	if err != nil {
		return err
	}
	auditor, err := s.Bearer(issued.Once)
	if err != nil {
		return err
	}
	for file, format := range map[string]client.ReportFormat{"report.html": client.ReportHTML, "evidence.zip": client.ReportBundle} {
		if err := s.fetch(file, func(w io.Writer) error {
			return auditor.Report(ctx, "pci-dss-4.0.1", begin(), s.clock.Now(), format, w)
		}); err != nil {
			return err
		}
	}
	if _, err := bundle.Verify(ctx, filepath.Join(s.dir, "evidence.zip"), s.Trust); err != nil {
		return fmt.Errorf("verifying the evidence offline: %w", err)
	}
	head, note, err := auditor.CheckLedger(ctx, s.Trust, filepath.Join(s.Seen, "auditor"))
	if err != nil {
		return fmt.Errorf("checking the ledger online: %w", err)
	}
	dir := filepath.Join(s.dir, "ledger-copy")
	keys, err := s.Trust.Chain()
	if err != nil {
		return err
	}
	if err := ledger.ExportDir(ctx, dir, ledger.Export{Checkpoint: note, Keys: keys, Entries: auditor.EntrySource(head.Size)}); err != nil {
		return fmt.Errorf("exporting the ledger: %w", err)
	}
	found, err := ledger.VerifyDir(ctx, dir, ledger.VerifyInput{Trust: s.Trust})
	if err != nil {
		return fmt.Errorf("verifying the exported ledger: %w", err)
	}
	s.say("%d entries of the year; %s. The report is %s.", found.Size, found.Verdict(), filepath.Join(s.dir, "report.html"))
	return nil
}

func (s *story) fetch(file string, get func(io.Writer) error) error {
	f, err := os.OpenFile(filepath.Join(s.dir, file), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("writing a report: %w", err)
	}
	if err := get(f); err != nil {
		_ = f.Close()
		return err
	}
	return f.Close()
}
