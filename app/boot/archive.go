package boot

import (
	"context"
	"errors"
	"fmt"
	"time"

	"conclave/custodian"
	"conclave/custodian/ledger"
	"conclave/custodian/segment"
)

const (
	archiveEvery = time.Minute
	archiveLease = "archive"
	// dropAfter is how long a segment is on record before its entries leave the database: by then every replica knows it.
	dropAfter = 5 * time.Minute
	// dropAtOnce is how many batches one step takes out, so that no commit waits for long.
	dropAtOnce = 64
)

// errNoSegment: archived entries of which no segment is on record that can be believed.
var errNoSegment = errors.New("no segment that can be believed is on record")

// archiver takes entries out of the database once they are in segments.
type archiver struct {
	checked map[string]bool // segments whose files this process has read whole
	dropped uint64          // batches that begin before it are gone
}

// dropArchived takes out of the database what is in segments, on one replica at a time, and only up to the first segment
// whose file this node can not read and find as it was recorded.
func (s *service) dropArchived(ctx context.Context) error {
	ours, err := s.store.Lease(ctx, archiveLease, s.cfg.Node.ID, 2*archiveEvery)
	if err != nil || !ours {
		return err
	}
	end, problem := s.droppable(ctx)
	for s.archive.dropped < end {
		pace := s.store.Pace()
		if s.archive.dropped, err = s.store.DropArchived(ctx, s.archive.dropped, end, dropAtOnce); err != nil {
			return err
		}
		pace.Rest(ctx, dropAtOnce*ledger.TileWidth)
		if ours, err = s.store.Lease(ctx, archiveLease, s.cfg.Node.ID, 2*archiveEvery); err != nil || !ours {
			return err
		}
	}
	return problem
}

// droppable is up to which entry the database can do without the data plane, and why not further.
func (s *service) droppable(ctx context.Context) (end uint64, err error) {
	for _, g := range custodian.Segments(s.store.View()) {
		switch {
		case g.From != end: // the row of the one before it is not to be believed: its file was not looked at
			return end, fmt.Errorf("entries from %d to %d: %w", end, g.From, errNoSegment)
		case g.Status != segment.Kept || s.archive.checked[g.ID]:
		case s.clock.Now().Sub(g.ArchivedAt) < dropAfter:
			return end, nil
		default:
			if err := s.segments.Check(ctx, g); err != nil {
				return end, err
			}
			s.archive.checked[g.ID] = true
			s.log.Info("archived entries leave the database", "segment", g.ID, "directory", g.Directory)
		}
		end = g.To
	}
	return end, nil
}
