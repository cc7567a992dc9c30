package monitor

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"conclave/custodian"
	"conclave/custodian/identity"
	"conclave/custodian/ledger"
	"conclave/custodian/store"
)

const (
	cursor      = "monitor/rules" // among the export cursors
	lease       = "monitor"
	leaseFor    = 2 * time.Minute
	step        = 2048
	maxFirst    = 10      // first uses told one by one in a step; the others are told together, so that a roll-out is no flood
	maxSubjects = 100_000 // kept in memory; beyond it counting begins anew
)

// Alert is what a rule found.
type Alert struct {
	Rule     Rule
	Subject  string
	Count    int
	From     time.Time // beginning of the window; of a first use, the use itself
	FirstSeq uint64
	LastSeq  uint64
	More     bool // so many first uses as Count, together: there were too many to be told one by one
}

// Watch reads the ledger behind its writers and records what its rules find. One replica does so at a time. Counts are
// in memory: those of a window that is open when the process ends begin anew.
type Watch struct {
	store *store.Store
	node  string
	mark  func() string // policy bundle in force, as entries name it
	rules []Rule
	log   *slog.Logger

	mu     sync.Mutex
	found  map[string]uint64 // alerts recorded, by rule
	counts map[string]*tally
	known  map[string]bool // actor and key that are no news
}

type tally struct {
	window time.Time
	count  int
	first  uint64
	told   bool
}

// NewWatch watches by rules.
func NewWatch(st *store.Store, node string, mark func() string, rules []Rule, log *slog.Logger) *Watch {
	return &Watch{store: st, node: node, mark: mark, rules: rules, log: log, found: map[string]uint64{}, counts: map[string]*tally{}, known: map[string]bool{}}
}

// Run looks at what is new until it has caught up with the counting of uses, which it rests on.
func (w *Watch) Run(ctx context.Context) error {
	ours, err := w.store.Lease(ctx, lease, w.node, leaseFor)
	if err != nil || !ours {
		return err
	}
	for ctx.Err() == nil {
		pace := w.store.Pace()
		from, err := w.store.ExportCursor(ctx, cursor)
		if err != nil {
			return err
		}
		counted, err := w.store.UsageCursor(ctx)
		if err != nil {
			return err
		}
		end := min(counted, w.store.View().Head().Size)
		if from > end || from == 0 {
			// New here, or behind a restore: what happened before is no news.
			moved, err := w.store.MoveExport(ctx, cursor, from, end)
			if err != nil || !moved || end == 0 {
				return err
			}
			continue
		}
		to := min(end, from+step)
		if from == to {
			return nil
		}
		if err := w.look(ctx, from, to); err != nil {
			return fmt.Errorf("watching the ledger: %w", err)
		}
		if moved, err := w.store.MoveExport(ctx, cursor, from, to); err != nil || !moved {
			return err
		}
		pace.Rest(ctx, to-from)
	}
	return nil
}

// look judges entries and records what is found.
func (w *Watch) look(ctx context.Context, from, to uint64) error {
	var found []Alert
	var firsts []Alert
	err := w.store.Entries(ctx, from, to, func(e *ledger.Entry, _ []byte) error {
		if e.Type == "monitor.alert" || e.Type == "monitor.verdict" || e.Type == "monitor.run" {
			return nil
		}
		for _, u := range usesOf(e) {
			for _, r := range w.rules {
				if r.FirstUse {
					firsts = w.maybeFirst(firsts, r, e, u)
				} else if a := w.count(r, e, u); a != nil {
					found = append(found, *a)
				}
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	alone, more := 0, (*Alert)(nil)
	for _, a := range firsts {
		before, err := w.store.UsedBefore(ctx, a.key(), a.actor(), a.FirstSeq)
		if err != nil {
			return err
		}
		switch {
		case before:
		case alone < maxFirst:
			alone++
			found = append(found, a)
		case more == nil:
			a.More = true
			more = &a
		default:
			more.Count, more.LastSeq = more.Count+1, a.LastSeq
		}
	}
	if more != nil {
		found = append(found, *more)
	}
	for _, a := range found {
		if err := w.record(ctx, a); err != nil {
			return err
		}
	}
	return nil
}

// maybeFirst notes a use that may be the first of an application under a key.
func (w *Watch) maybeFirst(firsts []Alert, r Rule, e *ledger.Entry, u use) []Alert {
	id := e.Actor.String() + "\x00" + u.key
	if u.key == "" || u.outcome != ledger.Allow || e.Actor.Kind != identity.Application || w.known[id] {
		return firsts
	}
	if len(w.known) >= maxSubjects {
		clear(w.known)
	}
	w.known[id] = true
	return append(firsts, Alert{Rule: r, Subject: id, Count: 1, From: e.At, FirstSeq: e.Seq, LastSeq: e.Seq})
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

// count adds a use to its subject's window, and gives an alert when the window has reached the rule's count, once.
func (w *Watch) count(r Rule, e *ledger.Entry, u use) *Alert {
	subject := r.subject(e, u)
	if subject == "" {
		return nil
	}
	id := r.ID + "\x00" + subject
	t := w.counts[id]
	if window := r.window(e.At); t == nil || !t.window.Equal(window) {
		if t == nil && len(w.counts) >= maxSubjects {
			w.log.Warn("the monitor counts too many subjects at once and begins anew", "subjects", len(w.counts))
			clear(w.counts)
		}
		t = &tally{window: window, first: e.Seq}
		w.counts[id] = t
	}
	t.count++
	if t.told || t.count < r.Count {
		return nil
	}
	t.told = true
	return &Alert{Rule: r, Subject: subject, Count: t.count, From: t.window, FirstSeq: t.first, LastSeq: e.Seq}
}

// record makes an alert an entry.
func (w *Watch) record(ctx context.Context, a Alert) error {
	outcome, subject := ledger.Failed, a.Subject
	if a.Rule.Notice {
		outcome = ledger.Done
	}
	if a.Rule.FirstUse {
		subject = "actor " + a.actor() + ", key " + a.key()
	}
	if a.More {
		subject = fmt.Sprintf("%d more of other actors or keys", a.Count)
	}
	e := ledger.Entry{Type: "monitor.alert", Actor: identity.Principal{Kind: identity.Node, ID: w.node}, Target: ledger.Target{Type: "rule", ID: a.Rule.ID},
		Outcome: outcome, Reason: a.Rule.ID, Policy: w.mark(),
		Detail: custodian.Detail(map[string]any{"title": a.Rule.Title, "subject": ledger.CleanText(subject), "count": a.Count, "from": a.From, "first_seq": a.FirstSeq, "last_seq": a.LastSeq})}
	ledger.ShrinkDetail(&e)
	if _, err := w.store.Control(ctx, func(tx *store.Tx) error { return tx.Append(e) }); err != nil {
		return fmt.Errorf("recording an alert: %w", err)
	}
	w.mu.Lock()
	w.found[a.Rule.ID]++
	w.mu.Unlock()
	w.log.Warn("the monitor found something", "rule", a.Rule.ID, "subject", subject, "count", a.Count, "entries", fmt.Sprintf("%d to %d", a.FirstSeq, a.LastSeq))
	return nil
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
