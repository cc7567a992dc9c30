package year

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"conclave/custodian/ledger"
	"conclave/custodian/segment"
)

// archive moves what need not be at hand out of the database. The audit that follows reads it from there.
func (s *story) archive(ctx context.Context) error {
	s.tell("what is older than three months leaves the database, and stays part of the ledger.")
	if _, err := s.Govern(ctx, lea, "retention.change", map[string]any{"class": "ledger", "days": 2192, "immediate_days": 92}, "the database is for what is asked for", nil, ida, kim); err != nil {
		return err
	}
	dir := filepath.Join(s.dir, "archive")
	if err := os.Mkdir(dir, 0o700); err != nil {
		return fmt.Errorf("making the archive: %w", err)
	}
	until := s.clock.Now().AddDate(0, 0, -92).Format(time.DateOnly)
	if _, err := s.Govern(ctx, lea, "ledger.archive", map[string]any{"until": until, "directory": dir}, "three months are at hand", nil, ida, kim); err != nil {
		return err
	}
	if err := s.pass(ctx, time.Hour); err != nil { // by then the entries are out of the database
		return err
	}
	found, err := filepath.Glob(filepath.Join(dir, "*.segment.zip"))
	if err != nil || len(found) == 0 {
		return fmt.Errorf("no segment in %s: %w", dir, err)
	}
	verifiers, err := s.Trust.Verifiers()
	if err != nil {
		return err
	}
	for _, path := range found {
		file, closer, err := segment.Archive{Directory: dir}.Open(ctx, filepath.Base(path))
		if err != nil {
			return err
		}
		head, err := ledger.OpenHead(file.Checkpoint, s.Trust.Origin, verifiers...)
		if err == nil {
			err = file.Verify(ctx, head)
		}
		if err != nil {
			return fmt.Errorf("verifying %s without the service: %w", path, err)
		}
		m := file.Manifest
		s.say("%s holds entries %d to %d, of before %s; it proves so by itself.", filepath.Base(path), m.From, m.To-1, until)
		if err := closer.Close(); err != nil {
			return err
		}
	}
	return nil
}
