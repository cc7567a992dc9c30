package monitor

import (
	"context"
	"errors"
	"fmt"
	"time"

	"conclave/custodian"
	"conclave/custodian/clock"
	"conclave/custodian/identity"
	"conclave/custodian/ledger"
	"conclave/custodian/oversight"
	"conclave/custodian/store"
	"conclave/reports"
	"conclave/reports/control"
)

const (
	dailyLease = "monitor/daily"
	dailyFor   = 30 * time.Minute
	// period is what a daily judgement looks at: long enough that what happens monthly shows, so short that what was
	// mended is green again after a month.
	period = 30 * 24 * time.Hour
	// maxChanges are recorded one by one of one run; a first run has none.
	maxChanges = 300
)

// errRan: another replica, to which the lease went meanwhile, has recorded this day.
var errRan = errors.New("judged already")

// Daily judges every framework once a day and records what changed.
type Daily struct {
	store  *store.Store
	node   string
	mark   func() string
	clock  clock.Clock
	source func(ctx context.Context) (reports.Source, error)
}

// NewDaily judges what source gives.
func NewDaily(st *store.Store, node string, mark func() string, clk clock.Clock, source func(ctx context.Context) (reports.Source, error)) *Daily {
	return &Daily{store: st, node: node, mark: mark, clock: clk, source: source}
}

// Run judges the frameworks whose day has come. One replica does so at a time.
func (d *Daily) Run(ctx context.Context) error {
	frameworks, err := control.Frameworks()
	if err != nil {
		return err
	}
	var errs []error
	for _, f := range frameworks {
		if last, _, err := store.Get[oversight.Monitored](d.store.View(), custodian.KindMonitored, f); err == nil && d.clock.Now().Sub(last.RunAt) < 24*time.Hour {
			continue
		} else if err != nil && !errors.Is(err, store.ErrNotFound) {
			errs = append(errs, err)
			continue
		}
		ours, err := d.store.Lease(ctx, dailyLease, d.node, dailyFor)
		if err != nil || !ours {
			return errors.Join(append(errs, err)...)
		}
		errs = append(errs, d.judge(ctx, f))
	}
	return errors.Join(errs...)
}

func (d *Daily) judge(ctx context.Context, framework string) error {
	src, err := d.source(ctx)
	if err != nil {
		return err
	}
	now := d.clock.Now()
	r, err := reports.Generate(ctx, src, reports.Request{Framework: framework, From: now.Add(-period), To: now}, now)
	if err != nil {
		return fmt.Errorf("judging %s: %w", framework, err)
	}
	_, err = d.store.Control(ctx, func(tx *store.Tx) error { return d.record(tx, r, now) })
	if errors.Is(err, errRan) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("recording the verdicts of %s: %w", framework, err)
	}
	return nil
}

// record notes the verdicts of a run, and each that is another than the run before.
func (d *Daily) record(tx *store.Tx, r *reports.Report, now time.Time) error {
	before, _, err := store.Get[oversight.Monitored](tx.View(), custodian.KindMonitored, r.Framework)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return err
	}
	first := err != nil
	if !first && now.Sub(before.RunAt) < 24*time.Hour {
		return errRan
	}
	after := oversight.Monitored{Framework: r.Framework, RunAt: now.UTC().Truncate(time.Microsecond), Verdicts: map[string]oversight.ControlVerdict{}}
	node := identity.Principal{Kind: identity.Node, ID: d.node}
	changed := 0
	var entries []ledger.Entry
	for _, c := range r.Controls {
		v := oversight.ControlVerdict{Verdict: string(c.Result.Verdict), Since: after.RunAt}
		if !first {
			was, known := before.Verdicts[c.ID]
			switch {
			case known && was.Verdict == v.Verdict:
				v.Since = was.Since
			default:
				if changed++; changed <= maxChanges {
					entries = append(entries, d.change(r.Framework, &c, was.Verdict, node))
				}
			}
		}
		after.Verdicts[c.ID] = v
	}
	if err := tx.Put(custodian.KindMonitored, r.Framework, after); err != nil {
		return err
	}
	err = tx.Append(ledger.Entry{Type: "monitor.run", Actor: node, Target: ledger.Target{Type: "framework", ID: r.Framework}, Outcome: ledger.Done, Policy: d.mark(),
		Detail: custodian.Detail(map[string]any{"counts": r.Counts, "changed": changed, "from": r.From, "to": r.To, "checkpoint_size": r.Checkpoint.Size})})
	for _, e := range entries {
		err = errors.Join(err, tx.Append(e))
	}
	return err
}

// change is the entry of one verdict that is another than before.
func (d *Daily) change(framework string, c *reports.Judgement, was string, node identity.Principal) ledger.Entry {
	outcome := ledger.Done
	if c.Result.Verdict == control.Violated {
		outcome = ledger.Failed
	}
	e := ledger.Entry{Type: "monitor.verdict", Actor: node, Target: ledger.Target{Type: "control", ID: framework + ":" + c.ID}, Outcome: outcome, Policy: d.mark(),
		Detail: custodian.Detail(map[string]any{"was": was, "is": string(c.Result.Verdict), "title": c.Title, "summary": c.Result.Summary})}
	ledger.ShrinkDetail(&e)
	return e
}

// Release lets another replica do so at once.
func (d *Daily) Release(ctx context.Context) error { return d.store.Release(ctx, dailyLease, d.node) }
