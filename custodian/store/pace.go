package store

import (
	"context"
	"time"
)

const (
	// busy is which part of what a step read may be written meanwhile before its reader gives way (ours).
	busy = 10
	// restFor is how many times as long as its step a reader that gives way rests: a tenth of one core is left to it (ours).
	restFor = 9
	maxRest = 5 * time.Second
)

// Pace is how who reads the ledger behind its writers, step by step, gives way to them: while much is written it rests
// after each step, and catches up when less is. What waits for it may be late; callers of the service never wait.
type Pace struct {
	store *Store
	size  uint64
	began time.Duration
}

// Pace begins a step.
func (s *Store) Pace() Pace {
	return Pace{store: s, size: s.View().Head().Size, began: s.cfg.Clock.Elapsed()}
}

// Rest ends a step that read so many entries.
func (p Pace) Rest(ctx context.Context, read uint64) {
	if written := p.store.View().Head().Size - p.size; written*busy < read {
		return
	}
	rest := min(restFor*(p.store.cfg.Clock.Elapsed()-p.began), maxRest)
	if rest <= 0 {
		return
	}
	timer := time.NewTimer(rest)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}
