package store

import (
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"conclave/custodian/clock"
)

const (
	// stallAfter is how long one round may take before callers are sent away (ours): longer than any commit of a
	// working database, shorter than callers' own patience.
	stallAfter = 10 * time.Second
	stallCheck = time.Second
)

var errStalled = errors.New("the database has not answered for " + stallAfter.String())

// stall notices a round that does not end, because the database neither answers nor refuses, and then lets go of
// everybody who waits. One goroutine watches, so that a call in good times pays no timer of its own.
type stall struct {
	clock clock.Clock
	since atomic.Int64                  // monotonic time at which the round under way began, plus 1; 0 for none
	gate  atomic.Pointer[chan struct{}] // closed while the committer is stalled
}

func newStall(c clock.Clock) *stall {
	s := &stall{clock: c}
	s.open()
	return s
}

func (s *stall) open() {
	gate := make(chan struct{})
	s.gate.Store(&gate)
}

// begin and end enclose a round.
func (s *stall) begin() { s.since.Store(int64(s.clock.Elapsed()) + 1) }
func (s *stall) end()   { s.since.Store(0) }

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

// check closes the gate when the round under way has taken too long, and opens it when it has ended after all.
func (s *stall) check() {
	since := s.since.Load()
	late := since != 0 && s.clock.Elapsed()-time.Duration(since-1) > stallAfter
	switch closed := s.stalled(); {
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
