package monitor

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"conclave/custodian/identity"
	"conclave/custodian/ledger"
	"conclave/custodian/store"
)

const (
	cursor   = "monitor/rules" // among the export cursors
	lease    = "monitor"
	leaseFor = 2 * time.Minute
	step     = 2048
	maxFirst = 10      // first uses told one by one in a step; the others are told together, so that a roll-out is no flood
	maxKnown = 100_000 // uses that are no news, kept in memory; beyond it the database is asked anew
)

// Watch reads the ledger behind its writers and records what its rules find, each once. One replica does so at a time.
// Counts are in memory, and made anew from the ledger by whoever goes on.
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
}

// NewWatch watches by rules.
func NewWatch(st *store.Store, node string, mark func() string, rules []Rule, log *slog.Logger) *Watch {
	return &Watch{store: st, node: node, mark: mark, rules: rules, log: log, found: map[string]uint64{}, windows: newWindows(log), known: map[string]bool{}}
}

// Run looks at what is new until it has caught up with the counting of uses, which it rests on.
func (w *Watch) Run(ctx context.Context) error {
	ours, err := w.store.Lease(ctx, lease, w.node, leaseFor)
	if err != nil || !ours {
		return err
	}
	for ctx.Err() == nil {
		pace := w.store.Pace()
		was, err := w.store.ExportCursor(ctx, cursor)
		if err != nil {
			return err
		}
		counted, err := w.store.UsageCursor(ctx)
		if err != nil {
			return err
		}
		end := min(counted, w.store.View().Head().Size)
		if was > end || was == 0 {
			// New here, or behind a restore: what happened before is no news.
			moved, err := w.store.MoveExport(ctx, cursor, was, end)
			if err != nil || !moved || end == 0 {
				return err
			}
			continue
		}
		row, err := watched(w.store.View())
		if err != nil {
			return err
		}
		from := max(was, row.To) // a process that ended between the two has recorded what it found
		to := min(end, from+step)
		if from >= to {
			return nil
		}
		if err := w.look(ctx, from, to); err != nil && !errors.Is(err, errElsewhere) {
			return fmt.Errorf("watching the ledger: %w", err)
		}
		if moved, err := w.store.MoveExport(ctx, cursor, was, to); err != nil || !moved {
			return err
		}
		pace.Rest(ctx, to-from)
	}
	return nil
}

// look judges entries and records what is found.
func (w *Watch) look(ctx context.Context, from, to uint64) error {
	if err := w.rebuild(ctx, from); err != nil {
		return err
	}
	w.next = 0 // until all of it is done
	var found []Alert
	var firsts []Alert
	err := w.store.Entries(ctx, from, to, func(e *ledger.Entry, _ []byte) error {
		w.counted(e, nil, func(a Alert) { found = append(found, a) })
		firsts = w.maybeFirst(firsts, e)
		return nil
	})
	if err != nil {
		return err
	}
	for _, a := range firsts {
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

// Release lets another replica watch at once.
func (w *Watch) Release(ctx context.Context) error {
	return errors.Join(w.store.Release(ctx, lease, w.node), w.store.Release(ctx, dailyLease, w.node))
}
