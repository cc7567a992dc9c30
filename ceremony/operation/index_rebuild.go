package operation

import (
	"context"
	"errors"

	"conclave/custodian"
	"conclave/custodian/ledger"
	"conclave/custodian/oversight"
	"conclave/custodian/store"
	"conclave/policies"
)

type indexRebuildParams struct {
	Reason string `json:"reason"`
}

// indexRebuild has the index of the ledger for searches made anew. It is derived from the ledger, so that this takes
// nothing from anybody: until it is done searches look at every entry.
type indexRebuild struct{}

func (indexRebuild) Name() string { return "index.rebuild" }

func (indexRebuild) read(in Input) (string, error) {
	p, err := decode[indexRebuildParams](in)
	if err != nil {
		return "", err
	}
	return why("reason", p.Reason, in)
}

func (o indexRebuild) Prepare(_ context.Context, _ Env, view *store.View, in Input) (Plan, error) {
	reason, err := o.read(in)
	if err != nil {
		return Plan{}, err
	}
	_, row, err := store.Get[oversight.SearchIndex](view, custodian.KindSearchIndex, oversight.SearchIndexRow)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return Plan{}, err
	}
	return Plan{Target: Target{Type: "search_index", ID: oversight.SearchIndexRow, GovRevision: row.Revision}, Title: "Make the index of the ledger for searches anew",
		Lines:  []Line{{Label: "until it is done", After: "searches look at every entry, and are slow"}, {Label: "reason", After: reason}},
		Quorum: policies.QuorumInput{Target: policies.QuorumTarget{Type: "search_index", ID: oversight.SearchIndexRow}}}, nil
}

func (o indexRebuild) Execute(_ context.Context, env Env, tx *store.Tx, in Input) (Result, error) {
	reason, err := o.read(in)
	if err != nil {
		return Result{}, err
	}
	a := act(env, tx, in, reason)
	e := a.event("index.rebuild", ledger.Target{Type: "search_index", ID: oversight.SearchIndexRow}, nil)
	return result(nil), a.put(tx, custodian.KindSearchIndex, oversight.SearchIndexRow, oversight.SearchIndex{By: a.principal.ID, Why: reason, At: a.at}, e)
}
