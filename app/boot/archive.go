package boot

import (
	"context"
	"errors"
	"fmt"
	"sync"
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
	// tidyEvery is how often a node looks for what it left behind in archives.
	tidyEvery = time.Hour
)

// errNoSegment: archived entries of which no segment is on record that can be believed.
var errNoSegment = errors.New("no segment that can be believed is on record")

// archiver takes entries out of the database once they are in segments.
type archiver struct {
	mu      sync.Mutex      // held by a run, of which there is one at a time
	checked map[string]bool // segments whose files this process has read whole
	dropped uint64          // what is archived of the entries before it is gone
	tidy    time.Duration   // when it is next looked for what was left behind, monotonic
}

// dropArchived takes out of the database what is in segments, on one replica at a time, and only up to the first segment
// whose file this node can not read and find as it was recorded.
func (s *service) dropArchived(ctx context.Context) error {
	s.archive.mu.Lock()
	defer s.archive.mu.Unlock()
	if err := s.tidyArchives(); err != nil {
		return err
	}
	ours, err := s.store.Lease(ctx, archiveLease, s.cfg.Node.ID, 2*archiveEvery)
	if err != nil || !ours {
		return err
	}
	end, problem := s.droppable(ctx)
	for next := uint64(0); s.archive.dropped < end; { // from the beginning: a batch may stand across what was the end before
		pace := s.store.Pace()
		if next, err = s.store.DropArchived(ctx, next, end, dropAtOnce); err != nil {
			return err
		}
		if next == end {
			s.archive.dropped = end
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
	view := s.store.View()
	for _, g := range custodian.Segments(view) {
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
	if len(view.Tampered(custodian.KindSegment)) > 0 { // the last ones, behind which nothing shows that they are missing
		return end, fmt.Errorf("entries from %d on: %w", end, errNoSegment)
	}
	return end, nil
}

// tidyArchives takes away what this node began to write into archives and, killed, left behind. A place that can not be
// read is passed over: whoever needs what is in it says so.
func (s *service) tidyArchives() error {
	if s.clock.Elapsed() < s.archive.tidy {
		return nil
	}
	s.archive.tidy = s.clock.Elapsed() + tidyEvery
	seen := map[string]bool{}
	for _, g := range custodian.Segments(s.store.View()) {
		if seen[g.Directory] {
			continue
		}
		seen[g.Directory] = true
		removed, err := segment.Archive{Directory: g.Directory, Writer: segment.Writer(s.door.Instance().ID, s.cfg.Node.ID)}.Tidy(s.clock.Now())
		if removed > 0 {
			s.log.Info("what was left of segments that were never finished is removed", "directory", g.Directory, "files", removed)
		}
		if err != nil && !errors.Is(err, segment.ErrUnreachable) {
			return err
		}
	}
	return nil
}
