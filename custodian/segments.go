package custodian

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sort"
	"sync"

	"conclave/custodian/location"
	"conclave/custodian/segment"
	"conclave/custodian/store"
)

// Segments are the segments of the ledger on record, in the order of their entries.
func Segments(view *store.View) []*segment.Segment {
	var out []*segment.Segment
	for _, g := range store.All[segment.Segment](view, KindSegment) {
		out = append(out, g)
	}
	return out
}

// ArchivedTo is up to which entry the ledger is archived: the entries before it are in segments, one after the other.
func ArchivedTo(view *store.View) uint64 {
	all := Segments(view)
	if len(all) == 0 {
		return 0
	}
	return all[len(all)-1].To
}

// Deleted are the runs of entries that were deleted and hold some of from ≤ seq < to, in order: what is left of them is of
// the control plane.
func Deleted(view *store.View, from, to uint64) []*segment.Segment {
	return slices.DeleteFunc(Segments(view), func(g *segment.Segment) bool { return g.Status != segment.Deleted || g.To <= from || to <= g.From })
}

// openSegments are kept open at once.
const openSegments = 8

// SegmentSource reads archived entries for the store. It is safe for concurrent use.
type SegmentSource struct {
	objects segment.Objects // nil where this process is configured for no object store

	mu   sync.Mutex
	view *store.View // that runs was read from
	runs []*segment.Segment
	open []*openSegment // the one used last at the end
	last lastGroup
}

// openSegment is closed once it was put away and the last who reads it has done.
type openSegment struct {
	id     string
	file   *segment.File
	closer io.Closer
	users  int
	away   bool
}

// lastGroup is the group of entries that was read last: its neighbours are read next.
type lastGroup struct {
	id     string
	index  uint64
	bundle []byte
}

// NewSegmentSource makes one; objects is nil where this process is configured for no object store.
func NewSegmentSource(objects segment.Objects) *SegmentSource {
	return &SegmentSource{objects: objects}
}

var _ store.Segments = (*SegmentSource)(nil)

// Archive is the place of a segment.
func (s *SegmentSource) Archive(directory string) segment.Archive {
	return segment.Archive{Directory: directory, Objects: s.objects}
}

// Covering implements [store.Segments].
func (s *SegmentSource) Covering(view *store.View, seq uint64) (store.Run, bool) {
	g := s.covering(view, seq)
	if g == nil {
		return store.Run{}, false
	}
	run := store.Run{ID: g.ID, From: g.From, To: g.To, FirstAt: g.FirstAt, LastAt: g.LastAt}
	if g.Status != segment.Kept {
		run.Deleted = g.DeletedBy
	}
	return run, true
}

func (s *SegmentSource) covering(view *store.View, seq uint64) *segment.Segment {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.view != view {
		s.view, s.runs = view, Segments(view)
	}
	i := sort.Search(len(s.runs), func(i int) bool { return s.runs[i].To > seq })
	if i == len(s.runs) || s.runs[i].From > seq {
		return nil
	}
	return s.runs[i]
}

// Bundle implements [store.Segments].
func (s *SegmentSource) Bundle(ctx context.Context, run store.Run, index uint64) ([]byte, error) {
	s.mu.Lock()
	if s.last.id == run.ID && s.last.index == index && s.last.bundle != nil {
		defer s.mu.Unlock()
		return s.last.bundle, nil
	}
	s.mu.Unlock()
	o, err := s.acquire(ctx, run)
	if err != nil {
		return nil, err
	}
	bundle, err := o.file.Bundle(index)
	if err = errors.Join(err, s.release(o)); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.last = lastGroup{run.ID, index, bundle}
	return bundle, nil
}

func (s *SegmentSource) acquire(ctx context.Context, run store.Run) (*openSegment, error) {
	s.mu.Lock()
	for i, o := range s.open {
		if o.id == run.ID {
			o.users++
			s.open = append(append(s.open[:i:i], s.open[i+1:]...), o)
			s.mu.Unlock()
			return o, nil
		}
	}
	view := s.view
	s.mu.Unlock()
	g := s.covering(view, run.From)
	if g == nil || g.ID != run.ID {
		return nil, store.ErrNotFound
	}
	file, closer, err := s.Archive(g.Directory).Open(ctx, g.File)
	if err != nil {
		return nil, err
	}
	o := &openSegment{id: run.ID, file: file, closer: closer, users: 1}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.open = append(s.open, o) // somebody else may have opened it as well: then both serve
	if len(s.open) > openSegments {
		err = s.putAway(s.open[0])
		s.open = s.open[1:]
	}
	return o, err
}

func (s *SegmentSource) release(o *openSegment) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	o.users--
	if o.away && o.users == 0 {
		return o.closer.Close()
	}
	return nil
}

// putAway closes an open segment, or leaves it to the last who reads it. The lock is held.
func (s *SegmentSource) putAway(o *openSegment) error {
	o.away = true
	if o.users == 0 {
		return o.closer.Close()
	}
	return nil
}

// Close closes what is open.
func (s *SegmentSource) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var err error
	for _, o := range s.open {
		err = errors.Join(err, s.putAway(o))
	}
	s.open, s.last = nil, lastGroup{}
	return err
}

// Forget puts a segment away that was deleted.
func (s *SegmentSource) Forget(id string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var err error
	kept := s.open[:0:0]
	for _, o := range s.open {
		if o.id == id {
			err = errors.Join(err, s.putAway(o))
		} else {
			kept = append(kept, o)
		}
	}
	s.open = kept
	if s.last.id == id {
		s.last = lastGroup{}
	}
	return err
}

// Check reads a segment's file and shows that it is the one on record, which was verified before it was recorded.
func (s *SegmentSource) Check(ctx context.Context, g *segment.Segment) error {
	sum, size, err := s.Archive(g.Directory).Sum(ctx, g.File)
	if err != nil {
		return err
	}
	if sum != g.SHA256 || size != g.Bytes {
		return another(g)
	}
	return nil
}

// Present shows that a segment's file is there, as long as it was recorded; what is in it [SegmentSource.Check] tells.
func (s *SegmentSource) Present(ctx context.Context, g *segment.Segment) error {
	size, err := s.Archive(g.Directory).Size(ctx, g.File)
	if err != nil {
		return err
	}
	if size != g.Bytes {
		return another(g)
	}
	return nil
}

func another(g *segment.Segment) error {
	return fmt.Errorf("%w: %s is another file than the one on record", segment.ErrAltered, location.Within(g.Directory, g.File))
}
