package operation

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"conclave/custodian"
	"conclave/custodian/amount"
	"conclave/custodian/key"
	"conclave/custodian/ledger"
	"conclave/custodian/oversight"
	"conclave/custodian/store"
	"conclave/policies"
)

// dateTime is how lines that people read show an instant.
const dateTime = time.RFC3339

type exceptionGrantParams struct {
	ID           string `json:"id"` // made from the ceremony's when empty
	Rule         string `json:"rule"`
	Key          string `json:"key"` // may be a key that is yet to be made
	Keystore     string `json:"keystore"`
	Control      string `json:"control"`
	Risk         string `json:"risk"`
	Compensating string `json:"compensating"`
	Owner        string `json:"owner"`
	Days         int    `json:"days"`
}

// exceptionGrant accepts a risk for a time: a rule of policy that lets exceptions be does not count for what is
// named, until the date. What is done under it is not undone by its end; nothing new is.
type exceptionGrant struct{}

func (exceptionGrant) Name() string { return "exception.grant" }

func (exceptionGrant) read(env Env, view *store.View, in Input) (*oversight.Exception, error) {
	p, err := decode[exceptionGrantParams](in)
	if err != nil {
		return nil, err
	}
	if p.ID == "" {
		p.ID = idFrom("x", in.Ceremony)
	}
	if err := key.CheckRange("days", p.Days, 1, oversight.MaxExceptionDays, "days"); err != nil {
		return nil, err
	}
	rules := env.Policies.Exceptable()
	if !slices.Contains(rules, p.Rule) {
		return nil, &custodian.InputError{Field: "rule", Problem: fmt.Sprintf("%q lets no exception be", clean(p.Rule)), Allowed: strings.Join(rules, ", ")}
	}
	from := in.Now.UTC().Truncate(time.Microsecond)
	x := &oversight.Exception{ID: p.ID, Rule: p.Rule, Key: p.Key, Keystore: p.Keystore, Control: p.Control, Risk: p.Risk, Compensating: p.Compensating,
		Owner: p.Owner, GrantedAt: from, ExpiresAt: from.Add(time.Duration(p.Days) * key.Day), Ceremony: in.Ceremony}
	checks := []error{x.Validate(), vacant(view, custodian.KindException, "id", x.ID, "exception")}
	if x.Keystore != "" {
		_, err := keystoreRow(view, "keystore", x.Keystore)
		checks = append(checks, err)
	}
	_, err = presentPerson(view, "owner", x.Owner)
	return x, key.First(append(checks, err))
}

func scope(x *oversight.Exception) string {
	switch {
	case x.Key == "":
		return "every key in keystore " + x.Keystore
	case x.Keystore == "":
		return "key " + x.Key + " in any keystore"
	}
	return "key " + x.Key + " in keystore " + x.Keystore
}

func exceptionPlan(x *oversight.Exception, revision uint64, title string, lines ...Line) Plan {
	return Plan{Target: Target{Type: "exception", ID: x.ID, GovRevision: revision}, Title: title,
		Lines:  append([]Line{{Label: "rule", After: x.Rule}, {Label: "counts for", After: scope(x)}, {Label: "owner of the risk", After: x.Owner}}, lines...),
		Quorum: policies.QuorumInput{Target: policies.QuorumTarget{Type: "exception", ID: x.ID, Owner: x.Owner}}}
}

func (o exceptionGrant) Prepare(_ context.Context, env Env, view *store.View, in Input) (Plan, error) {
	x, err := o.read(env, view, in)
	if err != nil {
		return Plan{}, err
	}
	lines := []Line{{Label: "risk", After: x.Risk}, {Label: "compensating measures", After: x.Compensating},
		{Label: "lasts", After: amount.Of(int(x.ExpiresAt.Sub(x.GrantedAt)/key.Day), "day") + " from the decision"}}
	if x.Control != "" {
		lines = append(lines, Line{Label: "control", After: x.Control})
	}
	plan := exceptionPlan(x, 0, fmt.Sprintf("Accept a risk: rule %s does not count for %s", x.Rule, scope(x)), lines...)
	if x.Key != "" {
		k, _, err := store.Get[key.Key](view, custodian.KindKey, x.Key)
		switch {
		case err == nil:
			plan.Lines = append(plan.Lines, keyLine(k))
			plan.Quorum.Target.Classifications = []string{string(k.Classification)}
		case !errors.Is(err, store.ErrNotFound):
			return Plan{}, fmt.Errorf("reading key %q: %w", x.Key, err)
		}
	}
	return plan, nil
}

func (o exceptionGrant) Execute(_ context.Context, env Env, tx *store.Tx, in Input) (Result, error) {
	in.Now = tx.Now()
	x, err := o.read(env, tx.View(), in)
	if err != nil {
		return Result{}, err
	}
	a := act(env, tx, in, in.Reason)
	e := a.event("exception.grant", ledger.Target{Type: "exception", ID: x.ID}, map[string]any{"rule": x.Rule, "scope": scope(x), "control": x.Control,
		"owner": x.Owner, "compensating": x.Compensating, "expires_at": x.ExpiresAt.Format(dateTime)})
	if err := a.put(tx, custodian.KindException, x.ID, x, e); err != nil {
		return Result{}, err
	}
	return result(map[string]any{"exception": x.ID, "expires_at": x.ExpiresAt.Format(dateTime)}), nil
}

type exceptionRevokeParams struct {
	Exception string `json:"exception"`
	Reason    string `json:"reason"`
}

// exceptionRevoke ends an accepted risk at once: the rule counts again.
type exceptionRevoke struct{}

func (exceptionRevoke) Name() string { return "exception.revoke" }

func (exceptionRevoke) read(view *store.View, in Input) (*oversight.Exception, store.Row, string, error) {
	p, err := decode[exceptionRevokeParams](in)
	if err != nil {
		return nil, store.Row{}, "", err
	}
	reason, err := why("reason", p.Reason, in)
	if err != nil {
		return nil, store.Row{}, "", err
	}
	x, row, err := lookup[oversight.Exception](view, custodian.KindException, "exception", p.Exception, "exception")
	return x, row, reason, err
}

func (o exceptionRevoke) Prepare(_ context.Context, _ Env, view *store.View, in Input) (Plan, error) {
	x, row, reason, err := o.read(view, in)
	if err != nil {
		return Plan{}, err
	}
	plan := exceptionPlan(x, row.Revision, fmt.Sprintf("Revoke exception %s: rule %s counts again", x.ID, x.Rule),
		Line{Label: "ends", Before: x.ExpiresAt.Format(dateTime), After: "now"}, Line{Label: "reason", After: reason})
	if !x.InForce(in.Now) {
		plan.Deny = append(plan.Deny, refusal("not_in_force", "exception "+x.ID+" has ended", "nothing to do"))
	}
	return plan, nil
}

func (o exceptionRevoke) Execute(_ context.Context, env Env, tx *store.Tx, in Input) (Result, error) {
	x, _, reason, err := o.read(tx.View(), in)
	if err != nil {
		return Result{}, err
	}
	a := act(env, tx, in, reason)
	x.RevokedAt, x.RevokedBy = &a.at, in.Requester.ID
	e := a.event("exception.revoke", ledger.Target{Type: "exception", ID: x.ID}, map[string]any{"rule": x.Rule})
	if err := a.put(tx, custodian.KindException, x.ID, x, e); err != nil {
		return Result{}, err
	}
	return result(map[string]any{"exception": x.ID, "revoked": true}), nil
}
