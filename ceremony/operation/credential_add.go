package operation

import (
	"context"
	"fmt"

	"conclave/custodian"
	"conclave/custodian/ledger"
	"conclave/custodian/people"
	"conclave/custodian/store"
)

type credentialAddParams struct {
	Person string `json:"person"`
	keyParams
}

// credentialAdd gives a person one more approval key, for a second device. All of theirs are one voice.
type credentialAdd struct{}

func (credentialAdd) Name() string { return "credential.add" }

func (credentialAdd) read(view *store.View, in Input) (*personChange, *broughtKeys, error) {
	p, err := decode[credentialAddParams](in)
	if err != nil {
		return nil, nil, err
	}
	c, err := changeOf(view, "person", p.Person)
	if err != nil {
		return nil, nil, err
	}
	if len(p.ShareKey) > 0 {
		return nil, nil, &custodian.InputError{Field: "share_key", Problem: "given", Allowed: "an approval key alone; a lost share key is replaced by credential.recover"}
	}
	keys, err := p.keyParams.read(view, in, c.after.ID)
	if err != nil {
		return nil, nil, err
	}
	c.after.ApprovalKeys = append(c.after.Revoke(nobody, in.Now, "", ""), keys.credential)
	return c, keys, c.after.Validate()
}

func nobody(people.Credential) bool { return false }

func (o credentialAdd) Prepare(ctx context.Context, env Env, view *store.View, in Input) (Plan, error) {
	c, keys, err := o.read(view, in)
	if err != nil {
		return Plan{}, err
	}
	plan := personPlan(c.before, c.row, fmt.Sprintf("Give %s (%s) one more approval key", c.before.ID, c.before.Name),
		append(keys.lines, Line{Label: "approval keys", Before: fmt.Sprintf("%d may sign", len(c.before.Live())), After: fmt.Sprintf("%d may sign, as one voice", len(c.after.Live()))})...)
	err = c.finish(ctx, env, view, in, &plan)
	return plan, err
}

func (o credentialAdd) Execute(_ context.Context, env Env, tx *store.Tx, in Input) (Result, error) {
	c, keys, err := o.read(tx.View(), in)
	if err != nil {
		return Result{}, err
	}
	a := act(env, tx, in, in.Reason)
	c.after.ApprovalKeys[len(c.after.ApprovalKeys)-1] = keys.stamp(a)
	if err := keys.use(a, tx); err != nil {
		return Result{}, err
	}
	e := a.event("credential.add", ledger.Target{Type: "person", ID: c.after.ID}, keys.detail(map[string]any{}))
	if err := a.put(tx, custodian.KindPerson, c.after.ID, c.after, e); err != nil {
		return Result{}, err
	}
	return result(map[string]any{"person": c.after.ID, "credential": keys.credential.ID}), nil
}
