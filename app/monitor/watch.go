package monitor

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"

	"conclave/custodian/identity"
	"conclave/custodian/ledger"
	"conclave/custodian/store"
)

const (
	cursor   = "monitor/rules" // among the export cursors
	maxFirst = 10              // first uses told one by one in a step; the others are told together, so that a roll-out is no flood
	maxKnown = 100_000         // uses that are no news, kept in memory; beyond it the database is asked anew
)

// Watch is shown the ledger's entries behind their writers and records what its rules find, each once. One replica does so
// at a time. Counts are in memory, and made anew from the ledger by whoever goes on.
type Watch struct {
	store *store.Store
	node  string
	mark  func() string // policy bundle in force, as entries name it
	rules []Rule
	log   *slog.Logger

	mu      sync.Mutex
	found   map[string]uint64 // alerts recorded, by rule
	windows *windows
	known   map[string]bool // actor and key that are no news
	next    uint64          // the entry that counts and known are up to; 0: they are to be made anew
	// Of the step under way: where the cursor stood, the counts that were filled, and uses that may be first ones.
	was            uint64
	filled, firsts []Alert
}

// NewWatch watches by rules.
func NewWatch(st *store.Store, node string, mark func() string, rules []Rule, log *slog.Logger) *Watch {
	return &Watch{store: st, node: node, mark: mark, rules: rules, log: log, found: map[string]uint64{}, windows: newWindows(log), known: map[string]bool{}}
}

// Next implements [follow.Watcher].
func (w *Watch) Next(ctx context.Context, size uint64) (uint64, error) {
	w.filled, w.firsts = nil, nil
	was, err := w.store.ExportCursor(ctx, cursor)
	if err != nil {
		return 0, err
	}
	if was == 0 || was > size {
		// New here, or behind a restore: what happened before is no news.
		if _, err := w.store.MoveExport(ctx, cursor, was, size); err != nil {
			return 0, err
		}
		was = size
	}
	row, err := watched(w.store.View())
	if err != nil {
		return 0, err
	}
	w.was = was
	from := max(was, row.To) // a process that ended between the two has recorded what it found
	if err := w.rebuild(ctx, from); err != nil {
		return 0, fmt.Errorf("watching the ledger: %w", err)
	}
	return from, nil
}

// See implements [follow.Watcher].
func (w *Watch) See(e *ledger.Entry) {
	w.next = 0 // until all of the step is done
	w.counted(e, nil, func(a Alert) { w.filled = append(w.filled, a) })
	w.firsts = w.maybeFirst(w.firsts, e)
}

// Judge implements [follow.Watcher]: it records what was found.
func (w *Watch) Judge(ctx context.Context, from, to uint64) error {
	err := w.judge(ctx, from, to)
	if err != nil && !errors.Is(err, errElsewhere) {
		return fmt.Errorf("watching the ledger: %w", err)
	}
	_, err = w.store.MoveExport(ctx, cursor, w.was, to)
	return err
}

func (w *Watch) judge(ctx context.Context, from, to uint64) error {
	found := w.filled
	for _, a := range w.firsts {
		before, err := w.store.UsedBefore(ctx, a.key(), a.actor(), a.FirstSeq)
		if err != nil {
			return err
		}
		if !before {
			found = append(found, a)
		}
	}
	found = gather(found, func(r Rule) int {
		if r.FirstUse {
			return maxFirst
		}
		return maxTold
	})
	if err := w.record(ctx, found, from, to); err != nil {
		return err
	}
	w.next = to
	return nil
}

// counted gives every count that an entry fills.
func (w *Watch) counted(e *ledger.Entry, told map[string][]uint64, full func(Alert)) {
	if ours(e) {
		return
	}
	for _, u := range usesOf(e) {
		for _, r := range w.rules {
			if subject := r.subject(e, u); !r.FirstUse && subject != "" {
				if a := w.windows.add(r, e, subject, told); a != nil {
					full(*a)
				}
			}
		}
	}
}

// ours says whether an entry is what this package itself recorded.
func ours(e *ledger.Entry) bool {
	return e.Type == "monitor.alert" || e.Type == "monitor.verdict" || e.Type == "monitor.run"
}

// maybeFirst notes uses that may be the first of an application under a key.
func (w *Watch) maybeFirst(firsts []Alert, e *ledger.Entry) []Alert {
	if e.Actor.Kind != identity.Application || ours(e) {
		return firsts
	}
	i := slices.IndexFunc(w.rules, func(r Rule) bool { return r.FirstUse })
	if i < 0 {
		return firsts
	}
	for _, u := range usesOf(e) {
		id := e.Actor.String() + "\x00" + u.key
		if u.key == "" || u.outcome != ledger.Allow || w.known[id] {
			continue
		}
		if len(w.known) >= maxKnown {
			clear(w.known)
		}
		w.known[id] = true
		firsts = append(firsts, Alert{Rule: w.rules[i], Subject: id, Count: 1, From: e.At, At: e.At, FirstSeq: e.Seq, LastSeq: e.Seq})
	}
	return firsts
}

func (a *Alert) actor() string { return a.Subject[:len(a.Subject)-len(a.key())-1] }

func (a *Alert) key() string {
	for i := len(a.Subject) - 1; i >= 0; i-- {
		if a.Subject[i] == 0 {
			return a.Subject[i+1:]
		}
	}
	return ""
}

// Alerts is what each rule found, recorded by this process.
func (w *Watch) Alerts() map[string]uint64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	out := map[string]uint64{}
	for _, r := range w.rules {
		out[r.ID] = w.found[r.ID]
	}
	return out
}
