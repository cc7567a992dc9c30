package bundles

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"conclave/ceremony"
	"conclave/ceremony/operation"
	"conclave/custodian"
	"conclave/custodian/identity"
	"conclave/custodian/ledger"
	"conclave/custodian/store"
	"conclave/policies"
)

// backtestTimeout ends a back-test that takes for ever (ours).
const backtestTimeout = time.Hour

// States of a back-test.
const (
	Running   = "running"
	Done      = "done"
	Failed    = "failed"
	Cancelled = "cancelled"
)

// Progress is how far a back-test has come.
type Progress struct {
	Bundle    string     `json:"bundle"`
	State     string     `json:"state"`
	Phase     string     `json:"phase"`  // what it is at, in words
	Read      uint64     `json:"read"`   // entries of the ledger
	Of        uint64     `json:"of"`     // entries that it reads in all
	Groups    int        `json:"groups"` // distinct decisions so far
	AskedBy   string     `json:"asked_by"`
	StartedAt time.Time  `json:"started_at"`
	EndedAt   *time.Time `json:"ended_at,omitempty"`
	Problem   string     `json:"problem,omitempty"`
}

// Backtest begins to try a kept bundle against what is on record, in the background, one at a time on a node.
// Beginning one that runs gives the one that runs. Errors: store.ErrNotFound, ErrBusy.
func (k *Keeper) Backtest(p identity.Principal, digest string) (Progress, error) {
	view := k.door.View()
	if _, _, err := custodian.StoredPolicy(view, digest); err != nil {
		return Progress{}, err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.running != nil {
		if k.running.Bundle == digest {
			return *k.running, nil
		}
		return Progress{}, ErrBusy
	}
	ctx, cancel := context.WithTimeout(context.Background(), backtestTimeout)
	k.running, k.cancel = &Progress{Bundle: digest, State: Running, Phase: "reading recorded decisions", AskedBy: p.ID, StartedAt: k.clock.Now(), Of: view.Head().Size}, cancel
	begun := *k.running
	k.ended.Go(func() {
		defer cancel()
		k.finish(ctx, k.backtest(ctx, p, view, digest))
	})
	return begun, nil
}

// Cancel stops a back-test; nothing of it is kept.
func (k *Keeper) Cancel(digest string) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.running == nil || k.running.Bundle != digest {
		return fmt.Errorf("back-test of %q: %w", clip(digest), store.ErrNotFound)
	}
	k.cancel()
	return nil
}

// Close stops what is under way and waits for it.
func (k *Keeper) Close() {
	k.mu.Lock()
	if k.cancel != nil {
		k.cancel()
	}
	k.mu.Unlock()
	k.ended.Wait()
}

// Progress is how the back-test of a bundle stands on this node; false for none.
func (k *Keeper) Progress(digest string) (Progress, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.running != nil && k.running.Bundle == digest {
		return *k.running, true
	}
	p, known := k.last[digest]
	return p, known
}

// step tells how far the back-test has come.
func (k *Keeper) step(change func(p *Progress)) {
	k.mu.Lock()
	defer k.mu.Unlock()
	change(k.running)
}

func (k *Keeper) finish(ctx context.Context, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	p, now := *k.running, k.clock.Now()
	p.State, p.EndedAt = Done, &now
	switch {
	case errors.Is(ctx.Err(), context.Canceled) && err != nil:
		p.State, p.Problem = Cancelled, "cancelled; nothing of it is kept"
	case err != nil:
		p.State, p.Problem = Failed, ledger.CleanText(clipTo(err.Error(), 400))
		k.log.Warn("back-test failed", "bundle", p.Bundle, "error", err)
	}
	if len(k.last) >= 2*MaxCandidates {
		k.last = map[string]Progress{}
	}
	k.last[p.Bundle], k.running, k.cancel = p, nil, nil
}

func clipTo(s string, most int) string { return s[:min(len(s), most)] }

// backtest does the work and keeps its report.
func (k *Keeper) backtest(ctx context.Context, p identity.Principal, view *store.View, digest string) error {
	_, files, err := custodian.StoredPolicy(view, digest)
	if err != nil {
		return err
	}
	inForce := k.door.PoliciesOf(view)
	if err := inForce.Problem(); err != nil {
		return err
	}
	t := &trial{k: k, view: view, inForce: inForce, files: texts(files), mode: policies.Mode(k.door.Instance().Mode)}
	report, err := t.run(ctx)
	if err != nil {
		return err
	}
	report.Bundle, report.Against, report.Instance, report.At = digest, inForce.Digest(), k.door.Instance().ID, k.clock.Now()
	raw := custodian.Detail(report)
	sum := sha256.Sum256(raw)
	row := custodian.PolicyBacktest{Bundle: digest, Against: inForce.Digest(), BacktestSummary: report.summary(), Report: raw, AskedBy: p.ID}
	row.ReportSHA256 = hex.EncodeToString(sum[:])
	_, err = k.door.Store().Control(ctx, func(tx *store.Tx) error {
		if _, err := tx.View().Get(custodian.KindPolicyBundle, digest); err != nil {
			return err
		}
		row.FinishedAt = tx.Now()
		if err := custodian.PutBacktest(tx, row, openNames(tx.View())); err != nil {
			return err
		}
		return tx.Append(ledger.Entry{Type: "policy.backtest", Actor: p, Outcome: ledger.Done, Policy: k.door.Mark(),
			Target: ledger.Target{Type: "policy", ID: digest}, Detail: custodian.Detail(row.BacktestSummary)})
	})
	return err
}

// openNames says whether an open ceremony's parameters name a digest.
func openNames(view *store.View) func(digest string) bool {
	return func(digest string) bool {
		for _, c := range store.Active[ceremony.Ceremony](view, ceremony.Kind) {
			if c.Target.Type == operation.PolicyTarget && operation.NamesBundle(c.Params, digest) {
				return true
			}
		}
		return false
	}
}

// Report is the kept back-test of a bundle; store.ErrNotFound for none.
func (k *Keeper) Report(view *store.View, digest string) (*custodian.PolicyBacktest, error) {
	row, _, err := store.Get[custodian.PolicyBacktest](view, custodian.KindBacktest, digest)
	return row, err
}
