package operation

import (
	"context"
	"errors"
	"fmt"

	"conclave/custodian"
	"conclave/custodian/key"
	"conclave/custodian/ledger"
	"conclave/custodian/oversight"
	"conclave/custodian/store"
	"conclave/policies"
)

type clockConfirmParams struct {
	Source string `json:"source"` // what the clock was compared with
}

// clockConfirm says that the clock shows the right time now, after it disagreed with the time that had passed, or
// with the ledger. Executions go on afterwards, on every replica whose clock shows what was confirmed.
type clockConfirm struct{}

func (clockConfirm) Name() string { return "clock.confirm" }

// Timeless: it is what ends a disagreement.
func (clockConfirm) Timeless() {}

func (clockConfirm) read(view *store.View, in Input) (clockConfirmParams, store.Row, error) {
	p, err := decode[clockConfirmParams](in)
	if err == nil {
		err = key.CheckText("source", p.Source, 200, false)
	}
	if err != nil {
		return p, store.Row{}, err
	}
	row, err := view.Get(custodian.KindClock, oversight.ClockRow)
	if errors.Is(err, store.ErrNotFound) {
		err = nil
	}
	if err != nil {
		return p, row, fmt.Errorf("reading the last confirmation: %w", err)
	}
	return p, row, nil
}

func (o clockConfirm) Prepare(_ context.Context, _ Env, view *store.View, in Input) (Plan, error) {
	p, row, err := o.read(view, in)
	if err != nil {
		return Plan{}, err
	}
	return Plan{Target: Target{Type: "clock", ID: oversight.ClockRow, GovRevision: row.Revision}, Title: "Confirm that the clock of the service shows the right time",
		Lines: []Line{{Label: "the clock showed when this was asked", After: in.Now.UTC().Format(dateTime)},
			{Label: "last ledger entry", After: view.Time().UTC().Format(dateTime)}, {Label: "compared with", After: p.Source}},
		Quorum: policies.QuorumInput{Target: policies.QuorumTarget{Type: "clock", ID: oversight.ClockRow}}}, nil
}

func (o clockConfirm) Execute(_ context.Context, env Env, tx *store.Tx, in Input) (Result, error) {
	p, _, err := o.read(tx.View(), in)
	if err != nil {
		return Result{}, err
	}
	a := act(env, tx, in, in.Reason)
	c := &oversight.ClockConfirmation{Wall: in.Now, Ledger: a.at, Node: env.Custodian.Node(), Source: p.Source, Ceremony: in.Ceremony}
	e := a.event("clock.confirm", ledger.Target{Type: "clock", ID: oversight.ClockRow}, map[string]any{"wall": c.Wall.UTC().Format(dateTime), "source": p.Source})
	if err := a.put(tx, custodian.KindClock, oversight.ClockRow, c, e); err != nil {
		return Result{}, err
	}
	return result(map[string]any{"confirmed": c.Wall.UTC().Format(dateTime)}), nil
}
