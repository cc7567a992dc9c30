package boot

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"conclave/custodian"
	"conclave/custodian/segment"
	"conclave/custodian/store"
)

const (
	// lookAtArchivesEvery is how often each node looks whether the files of segments are there.
	lookAtArchivesEvery = 15 * time.Minute
	// readAgainAfter is how long a segment's file is taken for what it was when it was last read whole.
	readAgainAfter = 24 * time.Hour
	// faultsNamed bounds a message.
	faultsNamed = 3
)

// archiveWatch finds out that archived entries are lost before somebody asks for them, years later: each node looks for
// every file, whose place may be mounted here and not there, and one of them reads one whole at a time.
type archiveWatch struct {
	s *service

	mu     sync.Mutex
	read   map[string]time.Duration // when a segment's file was last read whole, monotonic
	faults map[string]error         // by segment: what was wrong with its file at the last look
}

func newArchiveWatch(s *service) *archiveWatch {
	return &archiveWatch{s: s, read: map[string]time.Duration{}, faults: map[string]error{}}
}

// look is one round. Its error names the first files that can not be read or are others than on record; one that was
// altered is on the ledger too, once.
func (w *archiveWatch) look(ctx context.Context) error {
	kept, found := w.kept(), map[string]error{}
	for _, g := range kept {
		if err := w.s.segments.Present(ctx, g); err != nil {
			found[g.ID] = err
		}
	}
	unread := w.readOne(ctx, kept, found) // what was seen of the files holds all the same
	if ctx.Err() != nil {
		return ctx.Err() // what failed may have failed for that
	}
	kept = w.kept() // a segment that was deleted meanwhile is not lost
	maps.DeleteFunc(found, func(id string, _ error) bool {
		return !slices.ContainsFunc(kept, func(g *segment.Segment) bool { return g.ID == id })
	})
	w.mu.Lock()
	before := w.faults
	w.faults = found
	w.mu.Unlock()
	return errors.Join(w.judge(kept, before, found), unread)
}

func (w *archiveWatch) kept() []*segment.Segment {
	var out []*segment.Segment
	for _, g := range custodian.Segments(w.s.store.View()) {
		if g.Status == segment.Kept {
			out = append(out, g)
		}
	}
	return out
}

// readOne has the replica that looks after archives read the file that was not read for longest. Those that this node found
// altered, and which may have been put right, it reads anew whoever looks after them by now.
func (w *archiveWatch) readOne(ctx context.Context, kept []*segment.Segment, found map[string]error) error {
	ours, err := w.s.store.Lease(ctx, archiveLease, w.s.cfg.Node.ID, 2*archiveEvery)
	var due []*segment.Segment
	var oldest *segment.Segment
	for _, g := range kept {
		last, known := w.read[g.ID]
		switch {
		case found[g.ID] != nil: // it is not there to be read
		case errors.Is(w.faults[g.ID], segment.ErrAltered):
			due = append(due, g)
		case !ours, known && w.s.clock.Elapsed()-last < readAgainAfter:
		case oldest == nil || !known || last < w.read[oldest.ID]:
			oldest = g
		}
	}
	if oldest != nil {
		due = append(due, oldest)
	}
	for _, g := range due {
		if err := w.s.segments.Check(ctx, g); err != nil {
			found[g.ID] = err
		}
		w.read[g.ID] = w.s.clock.Elapsed()
	}
	return err
}

func (w *archiveWatch) judge(kept []*segment.Segment, before, found map[string]error) error {
	var errs []error
	for _, g := range kept {
		err := found[g.ID]
		if err == nil {
			continue
		}
		if errors.Is(err, segment.ErrAltered) && !errors.Is(before[g.ID], segment.ErrAltered) {
			w.s.alert(store.Violation{Object: "segment", Problem: store.ProblemEdited, ID: g.ID, Seq: g.From, Detail: err.Error(), FoundAt: w.s.clock.Now()})
		}
		if len(errs) < faultsNamed {
			errs = append(errs, err)
		}
	}
	if len(errs) == 0 {
		return nil
	}
	return fmt.Errorf("of %d segments of the ledger %d can not be read as recorded: %w", len(kept), len(found), errors.Join(errs...))
}

// unreadable is how many segments were found at fault at the last look.
func (w *archiveWatch) unreadable() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.faults)
}

// archiveCollector tells whether the ledger's archives are whole.
type archiveCollector struct{ s *service }

var _ prometheus.Collector = archiveCollector{}

func archiveDescs() (kept, unreadable *prometheus.Desc) {
	return prometheus.NewDesc("conclave_ledger_segments", "Segments that hold archived entries of the ledger.", nil, nil),
		prometheus.NewDesc("conclave_ledger_segments_unreadable", "Segments whose file this node did not find as recorded when it last looked.", nil, nil)
}

// Describe implements prometheus.Collector.
func (archiveCollector) Describe(ch chan<- *prometheus.Desc) {
	kept, unreadable := archiveDescs()
	ch <- kept
	ch <- unreadable
}

// Collect implements prometheus.Collector.
func (c archiveCollector) Collect(ch chan<- prometheus.Metric) {
	kept, unreadable := archiveDescs()
	ch <- prometheus.MustNewConstMetric(kept, prometheus.GaugeValue, float64(len(c.s.archives.kept())))
	ch <- prometheus.MustNewConstMetric(unreadable, prometheus.GaugeValue, float64(c.s.archives.unreadable()))
}
