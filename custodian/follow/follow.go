// Package follow reads the ledger behind its writers: each entry is read, proven to be in the signed tree and decoded once,
// for all who live on that: the counts of uses, the index for searches, and whoever watches.
package follow

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"conclave/custodian/ledger"
	"conclave/custodian/search"
	"conclave/custodian/store"
	"conclave/custodian/usage"
)

// Watcher sees entries once what they say of uses is counted. It has a place of its own in the ledger, which may be behind.
type Watcher interface {
	// Next begins a step: it is the entry that it wants next of a ledger of size entries.
	Next(ctx context.Context, size uint64) (uint64, error)
	// See takes an entry, which must not be changed.
	See(e *ledger.Entry)
	// Judge ends a step: it has seen the entries from ≤ seq < to, and they are counted.
	Judge(ctx context.Context, from, to uint64) error
}

const (
	lease = "follow"
	// leaseFor is longer than a step with its rest may take; it is prolonged at each.
	leaseFor = time.Minute
)

// Pass reads on, on one replica at a time.
type Pass struct {
	store   *store.Store
	node    string
	watcher Watcher
	turn    sync.Mutex // of this process: two would read the same entries
}

// New makes the pass of a node. watcher may be nil.
func New(s *store.Store, node string, watcher Watcher) *Pass {
	return &Pass{store: s, node: node, watcher: watcher}
}

// Run reads on from where it stopped until it has caught up or ctx ends, if this replica has the lease, and gives way to
// those who write.
func (p *Pass) Run(ctx context.Context) error {
	for ctx.Err() == nil {
		ours, err := p.store.Lease(ctx, lease, p.node, leaseFor)
		if err != nil || !ours {
			return err
		}
		pace := p.store.Pace()
		p.turn.Lock()
		read, err := step(ctx, p.store, p.watcher)
		p.turn.Unlock()
		if err != nil || read == 0 {
			return err
		}
		pace.Rest(ctx, read)
	}
	return nil
}

// Release lets another replica go on at once.
func (p *Pass) Release(ctx context.Context) error { return p.store.Release(ctx, lease, p.node) }

// CatchUp counts and indexes what is in the ledger now, on whichever replica, and rests at nothing. Whoever watches stays
// behind.
func (p *Pass) CatchUp(ctx context.Context) error {
	p.turn.Lock()
	defer p.turn.Unlock()
	return CatchUp(ctx, p.store)
}

// CatchUp is [Pass.CatchUp] where nothing else follows in this process.
func CatchUp(ctx context.Context, s *store.Store) error {
	if err := s.Refresh(ctx); err != nil {
		return err
	}
	for size := s.View().Head().Size; ; {
		counted, indexed, err := cursors(ctx, s)
		if err != nil || min(counted, indexed) >= size {
			return err
		}
		if _, err := step(ctx, s, nil); err != nil {
			return err
		}
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("following the ledger: %w", err)
		}
	}
}

// cursors are up to where the ledger is counted and indexed. A cursor beyond the ledger's end is one of a state before a
// restore: what it stands for is made anew.
func cursors(ctx context.Context, s *store.Store) (counted, indexed uint64, err error) {
	read := func() error {
		var err error
		if counted, err = s.UsageCursor(ctx); err != nil {
			return err
		}
		indexed, err = s.TermsCursor(ctx)
		return err
	}
	if err := read(); err != nil {
		return 0, 0, err
	}
	// Other replicas may have read what this one has not heard of yet.
	if err := s.Refresh(ctx); err != nil {
		return 0, 0, err
	}
	size := s.View().Head().Size
	if max(counted, indexed) <= size {
		return counted, indexed, nil
	}
	var errs []error
	if counted > size {
		errs = append(errs, s.ResetUsage(ctx))
	}
	if indexed > size {
		errs = append(errs, s.ResetTerms(ctx))
	}
	if err := errors.Join(errs...); err != nil {
		return 0, 0, err
	}
	err = read()
	return counted, indexed, err
}

// step reads some entries for all who stand where the last of them stands, and returns how many.
func step(ctx context.Context, s *store.Store, w Watcher) (uint64, error) {
	counted, indexed, err := cursors(ctx, s)
	if err != nil {
		return 0, err
	}
	size := s.View().Head().Size
	at, seen := []uint64{counted, indexed}, size
	if w != nil {
		if seen, err = w.Next(ctx, size); err != nil {
			return 0, err
		}
		at = append(at, seen)
	}
	from, to := size, size
	for _, a := range at {
		from = min(from, a)
	}
	// A step ends with its span of the index, and where others wait.
	to = min(to, (from/store.TermSpan+1)*store.TermSpan)
	for _, a := range at {
		if a > from {
			to = min(to, a)
		}
	}
	if from == to {
		return 0, nil
	}
	if w != nil && seen != from {
		w = nil
	}
	if err := read(ctx, s, store.Derived{From: from, To: to, Counted: counted == from, Indexed: indexed == from}, w); err != nil {
		return 0, fmt.Errorf("following the ledger: %w", err)
	}
	return to - from, nil
}

// read takes the entries of one step to all who take part.
func read(ctx context.Context, s *store.Store, d store.Derived, w Watcher) error {
	counter, indexer := usage.NewCounter(), search.NewIndexer()
	err := s.Present(ctx, d.From, d.To, func(e *ledger.Entry, _ []byte) error {
		if d.Counted {
			counter.Add(e)
		}
		if d.Indexed {
			indexer.Add(e)
		}
		if w != nil {
			w.See(e)
		}
		return nil
	})
	if err != nil {
		return err
	}
	if d.Counted || d.Indexed {
		d.Usage, d.Terms = counter.Rows(), indexer.Terms()
		// Where another replica has read them meanwhile, they are counted too.
		if _, err := s.AddDerived(ctx, d); err != nil {
			return err
		}
	}
	if w != nil {
		return w.Judge(ctx, d.From, d.To)
	}
	return nil
}
