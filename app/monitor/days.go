package monitor

import (
	"context"
	"encoding/hex"
	"errors"
	"slices"
	"strings"
	"time"

	"conclave/custodian"
	"conclave/custodian/identity"
	"conclave/custodian/ledger"
	"conclave/custodian/oversight"
	"conclave/custodian/store"
	"conclave/reports"
)

const day = 24 * time.Hour

// notable are types of entries that somebody must look at one by one.
func notable() []string {
	return []string{"integrity.violation", "clock.disagrees", "share.report-lost", "share.lost-form", "keystore.secret-exposed", "key.compromise", "breakglass.open",
		"placement.drift", "quorum.worse", "monitor.alert", "monitor.verdict", "recovery.begin", "credential.recover", "policy.recover"}
}

const (
	daysLease = "monitor/days"
	daysFor   = 15 * time.Minute
	daysWork  = 10 * time.Minute // of one run: shorter than the lease
	daysARun  = 31               // summaries that one run makes; the rest follow with the next
)

// Days sums up each day's log for whoever reviews it. One replica does so at a time.
type Days struct {
	store  *store.Store
	node   string
	mark   func() string
	source func(ctx context.Context) (reports.Source, error)
}

// NewDays sums up what source gives.
func NewDays(st *store.Store, node string, mark func() string, source func(ctx context.Context) (reports.Source, error)) *Days {
	return &Days{store: st, node: node, mark: mark, source: source}
}

// Run sums up the days that are over and are not summed up.
func (d *Days) Run(ctx context.Context) error {
	ours, err := d.store.Lease(ctx, daysLease, d.node, daysFor)
	if err != nil || !ours {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, daysWork)
	defer cancel()
	src, err := d.source(ctx)
	if err != nil {
		return err
	}
	return d.sumUpDays(ctx, src)
}

// Release lets another replica do so at once.
func (d *Days) Release(ctx context.Context) error { return d.store.Release(ctx, daysLease, d.node) }

// sumUpDays makes the summaries of the days that are over. A day is over once the ledger has an entry of a later one:
// times in it never go back, so that no entry of that day can come any more, on whichever replica.
func (d *Days) sumUpDays(ctx context.Context, src reports.Source) error {
	next, err := d.nextDay(ctx, src)
	if err != nil {
		return err
	}
	now := src.Checkpoint().At
	for range daysARun {
		if next.Add(day).After(now) {
			return nil
		}
		sum, err := sumUp(ctx, src, next)
		if err != nil {
			return err
		}
		if err := d.record(ctx, sum); err != nil {
			return err
		}
		next = next.Add(day)
	}
	return nil
}

// oldStart is how old a ledger may be, that has no summaries, for them to begin with its first day (ours). A review of
// what lies longer ago would come too late whatever anybody does.
const oldStart = 7 * day

// nextDay is the day after the last that is summed up. Where none is, it is the ledger's first, or yesterday where the
// ledger is older.
func (d *Days) nextDay(ctx context.Context, src reports.Source) (time.Time, error) {
	view, newest := d.store.View(), "" // the names of days sort by time
	for row := range view.List(custodian.KindLogDay) {
		newest = max(newest, row.ID)
	}
	for id := range view.Marks(custodian.KindLogDay) {
		newest = max(newest, id)
	}
	if newest != "" {
		last, err := time.Parse(time.DateOnly, newest)
		return last.Add(day), err
	}
	first, _, err := src.Entry(ctx, 0)
	if err != nil {
		return time.Time{}, err
	}
	begin, today := first.At.UTC().Truncate(day), src.Checkpoint().At.UTC().Truncate(day)
	if today.Sub(begin) <= oldStart {
		return begin, nil
	}
	return today.Add(-day), nil
}

func sumUp(ctx context.Context, src reports.Source, begin time.Time) (*oversight.LogDay, error) {
	from, to, err := reports.Range(ctx, src, begin, begin.Add(day))
	if err != nil {
		return nil, err
	}
	d := &oversight.LogDay{Day: begin.Format(time.DateOnly), From: from, To: to, Entries: map[string]int{}, Notable: []oversight.NotableEntry{}}
	looked := notable()
	err = src.Entries(ctx, from, to, func(e *ledger.Entry, raw []byte) error {
		d.Entries[strings.Clone(e.Type)]++
		switch e.Outcome {
		case ledger.Deny:
			d.Refused++
		case ledger.Failed:
			d.Failed++
		}
		if e.Seq+1 == to {
			leaf := ledger.LeafHash(raw)
			d.Leaf = hex.EncodeToString(leaf[:])
		}
		if !slices.Contains(looked, e.Type) {
			return nil
		}
		if len(d.Notable) == oversight.MaxNotable {
			d.More++
			return nil
		}
		d.Notable = append(d.Notable, oversight.NotableEntry{Seq: e.Seq, At: e.At, Type: strings.Clone(e.Type),
			Target: strings.Clone(e.Target.Type + ":" + e.Target.ID), Reason: strings.Clone(e.Reason)})
		return nil
	})
	return d, err
}

// errSummedUp: another replica was first.
var errSummedUp = errors.New("summed up already")

// record stores the summary of a day, unless another replica has.
func (d *Days) record(ctx context.Context, sum *oversight.LogDay) error {
	_, err := d.store.Control(ctx, func(tx *store.Tx) error {
		_, err := tx.View().Get(custodian.KindLogDay, sum.Day)
		if err == nil {
			return errSummedUp
		}
		if !errors.Is(err, store.ErrNotFound) {
			return err
		}
		sum.MadeAt = tx.Now().UTC().Truncate(time.Microsecond)
		if err := tx.Put(custodian.KindLogDay, sum.Day, sum); err != nil {
			return err
		}
		return tx.Append(ledger.Entry{Type: "log.day", Actor: identity.Principal{Kind: identity.Node, ID: d.node}, Target: ledger.Target{Type: "log_day", ID: sum.Day},
			Outcome: ledger.Done, Policy: d.mark(), Detail: custodian.Detail(map[string]any{"from": sum.From, "to": sum.To, "leaf": sum.Leaf,
				"refused": sum.Refused, "failed": sum.Failed, "notable": len(sum.Notable) + sum.More})})
	})
	if errors.Is(err, errSummedUp) {
		return nil
	}
	return err
}
