package store

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// stallAfter is how long one step of a round may take before callers are sent away (ours): longer than any commit
	// of a working database, shorter than callers' own patience.
	stallAfter = 10 * time.Second
	stallCheck = time.Second
)

var errStalled = errors.New("the database has not answered for " + stallAfter.String())

// stall notices a round that stands still, because the database neither answers nor refuses, and then lets go of
// everybody who waits. One goroutine looks, so that a call in good times pays no timer of its own. It counts its own
// looks and reads no clock: a machine that was asleep in the middle of a round has not waited for the database.
type stall struct {
	round atomic.Uint64                 // counts beginnings, steps and ends of rounds; odd while one is under way
	gate  atomic.Pointer[chan struct{}] // closed while the committer is stalled

	mu    sync.Mutex
	seen  uint64        // round at the last look
	since time.Duration // how long looks have found that very round under way, at that very step
}

func newStall() *stall {
	s := &stall{}
	s.open()
	return s
}

func (s *stall) open() {
	gate := make(chan struct{})
	s.gate.Store(&gate)
}

// begin and end enclose a round.
func (s *stall) begin() { s.round.Add(1) }
func (s *stall) end()   { s.round.Add(1) }

// progress says that a round goes on: one that writes thousands of rows may take longer than any single answer.
func (s *stall) progress() { s.round.Add(2) }

// waiting is closed as soon as waiting has become pointless.
func (s *stall) waiting() <-chan struct{} { return *s.gate.Load() }

func (s *stall) stalled() bool {
	select {
	case <-s.waiting():
		return true
	default:
		return false
	}
}

// refusal says why nothing is taken or waited for.
func (s *stall) refusal(doing string) error { return unavailable(doing, errStalled) }

// check is one look, [stallCheck] after the one before. It closes the gate when the round under way stands still for too
// long, and opens it when it goes on after all.
func (s *stall) check() {
	s.mu.Lock()
	defer s.mu.Unlock()
	round := s.round.Load()
	if underWay := round%2 == 1; underWay && round == s.seen {
		s.since += stallCheck
	} else {
		s.since = 0
	}
	s.seen = round
	switch late, closed := s.since >= stallAfter, s.stalled(); {
	case late && !closed:
		close(*s.gate.Load())
	case !late && closed:
		s.open()
	}
}

// watch checks until stop is closed.
func (s *stall) watch(stop <-chan struct{}) {
	ticker := time.NewTicker(stallCheck)
	defer ticker.Stop()
	for {
		select {
		case <-stop:
			return
		case <-ticker.C:
			s.check()
		}
	}
}

// health is nil while rounds end.
func (s *stall) health() error {
	if s.stalled() {
		return fmt.Errorf("ledger storage does not take writes: %w", errStalled)
	}
	return nil
}
