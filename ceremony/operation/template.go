package operation

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"conclave/custodian"
	"conclave/custodian/amount"
	"conclave/custodian/key"
	"conclave/custodian/ledger"
	"conclave/custodian/oversight"
	"conclave/custodian/store"
	"conclave/hsm"
	"conclave/policies"
)

type templateParams struct {
	ID             string             `json:"id"`
	Label          string             `json:"label"`
	Type           key.Type           `json:"type"`
	Algorithms     []hsm.Spec         `json:"algorithms"`
	Classification key.Classification `json:"classification"`
	MaxImpact      key.Impact         `json:"max_impact"`
	Frameworks     []string           `json:"frameworks"`
	Jurisdictions  []string           `json:"jurisdictions"`
	Environment    string             `json:"environment"`
	Keystores      []string           `json:"keystores"`
	Owners         []string           `json:"owners"`
	NamePrefix     string             `json:"name_prefix"`
	MaxOUPDays     int                `json:"max_oup_days"`
	MaxRUPDays     int                `json:"max_rup_days"`
	MaxRotateDays  int                `json:"max_rotate_days"`
	MaxKeys        int                `json:"max_keys"`
}

// templateSet approves a template, or replaces the bounds of one that is there. Keys made before stay as they are.
type templateSet struct{ alter bool }

func (o templateSet) Name() string {
	if o.alter {
		return "template.alter"
	}
	return "template.create"
}

// record is the template as it would be, and as it is.
func (o templateSet) record(view *store.View, in Input) (next, before *key.Template, err error) {
	p, err := decode[templateParams](in)
	if err != nil {
		return nil, nil, err
	}
	if p.Type == "" {
		p.Type = key.DataEncryption
	}
	next = &key.Template{ID: p.ID, Label: p.Label, Type: p.Type, Algorithms: p.Algorithms, Classification: p.Classification, MaxImpact: p.MaxImpact, Frameworks: p.Frameworks,
		Jurisdictions: p.Jurisdictions, Environment: p.Environment, Keystores: p.Keystores, Owners: p.Owners, NamePrefix: p.NamePrefix,
		MaxOUPDays: p.MaxOUPDays, MaxRUPDays: p.MaxRUPDays, MaxRotateDays: p.MaxRotateDays, MaxKeys: p.MaxKeys,
		Status: key.StatusActive, ApprovedBy: in.Ceremony, GovRevision: 1}
	if err := next.Validate(); err != nil {
		return nil, nil, err
	}
	if policies.ProtectedClass(string(p.Classification)) {
		return nil, nil, &custodian.InputError{Field: "classification", Problem: string(p.Classification) + " keys are each decided by a quorum", Allowed: "public, internal, confidential"}
	}
	for i, id := range p.Keystores {
		if _, err := keystoreRow(view, fmt.Sprintf("keystores[%d]", i), id); err != nil {
			return nil, nil, err
		}
	}
	for i, id := range p.Owners {
		if _, err := presentPerson(view, fmt.Sprintf("owners[%d]", i), id); err != nil {
			return nil, nil, err
		}
	}
	if !o.alter {
		return next, nil, vacant(view, custodian.KindTemplate, "id", p.ID, "template")
	}
	before, _, err = lookup[key.Template](view, custodian.KindTemplate, "id", p.ID, "template")
	if err == nil {
		next.Made, next.GovRevision = before.Made, before.GovRevision+1
	}
	return next, before, err
}

func (o templateSet) Prepare(_ context.Context, _ Env, view *store.View, in Input) (Plan, error) {
	next, before, err := o.record(view, in)
	if err != nil {
		return Plan{}, err
	}
	target := Target{Type: "template", ID: next.ID}
	title := fmt.Sprintf("Let up to %s be made under template %s without further decisions", amount.Of(next.MaxKeys, "key"), next.ID)
	old := map[string]string{}
	if before != nil {
		target.GovRevision = before.GovRevision
		title = fmt.Sprintf("Replace the bounds of template %s; %s so far made under it", next.ID, amount.Of(before.Made, "key"))
		for _, l := range templateLines(before) {
			old[l.Label] = l.After
		}
	}
	plan := Plan{Target: target, Title: title, Quorum: policies.QuorumInput{Target: policies.QuorumTarget{Type: "template", ID: next.ID,
		Classifications: []string{string(next.Classification)}}}}
	for _, l := range templateLines(next) {
		l.Before = old[l.Label]
		plan.Lines = append(plan.Lines, l)
	}
	if o.alter { // a template on hold stays as it is; that it is retired, which only restricts, is another matter
		plan.Deny, err = onHold(view, oversight.Ref{Type: oversight.HoldTemplate, ID: next.ID})
	}
	return plan, err
}

func templateLines(t *key.Template) []Line {
	frameworks := "none"
	if len(t.Frameworks) > 0 {
		frameworks = strings.Join(t.Frameworks, ", ")
	}
	algorithms := "all of the type: " + list(t.Type.Specs())
	if len(t.Algorithms) > 0 {
		algorithms = list(t.Algorithms)
	}
	return []Line{
		{Label: "template", After: t.Label},
		{Label: "keys", After: fmt.Sprintf("%s, %s, up to impact %s, %s, at most %d", t.Type, t.Classification, t.MaxImpact, t.Environment, t.MaxKeys)},
		{Label: "algorithms", After: algorithms},
		{Label: "ids begin with", After: t.NamePrefix},
		{Label: "keystores", After: strings.Join(t.Keystores, ", ")},
		{Label: "jurisdictions", After: strings.Join(t.Jurisdictions, ", ")},
		{Label: "frameworks", After: frameworks},
		{Label: "owners", After: strings.Join(t.Owners, ", ")},
		{Label: "longest periods", After: describePeriods(t.MaxOUPDays, t.MaxRUPDays, t.MaxRotateDays)},
		{Label: "status", After: t.Status},
	}
}

func (o templateSet) Execute(_ context.Context, env Env, tx *store.Tx, in Input) (Result, error) {
	next, _, err := o.record(tx.View(), in)
	if err != nil {
		return Result{}, err
	}
	if o.alter {
		against, err := onHold(tx.View(), oversight.Ref{Type: oversight.HoldTemplate, ID: next.ID})
		if err != nil {
			return Result{}, err
		}
		if len(against) > 0 {
			return Result{}, errors.New(against[0].Message)
		}
	}
	a := act(env, tx, in, in.Reason)
	next.At = a.at
	e := a.event(o.Name(), ledger.Target{Type: "template", ID: next.ID}, map[string]any{"classification": next.Classification, "max_keys": next.MaxKeys})
	return result(map[string]any{"template": next.ID, "max_keys": next.MaxKeys}), a.put(tx, custodian.KindTemplate, next.ID, next, e)
}

type templateRetireParams struct {
	Template string `json:"template"`
	Reason   string `json:"reason"`
}

// templateRetire stops new keys under a template at once; template.alter, by a quorum, takes it up again.
type templateRetire struct{}

func (templateRetire) Name() string { return "template.retire" }

func (templateRetire) read(view *store.View, in Input) (*key.Template, string, error) {
	p, err := decode[templateRetireParams](in)
	if err != nil {
		return nil, "", err
	}
	reason, err := why("reason", p.Reason, in)
	if err != nil {
		return nil, "", err
	}
	t, _, err := lookup[key.Template](view, custodian.KindTemplate, "template", p.Template, "template")
	return t, reason, err
}

func (o templateRetire) Prepare(_ context.Context, _ Env, view *store.View, in Input) (Plan, error) {
	t, reason, err := o.read(view, in)
	if err != nil {
		return Plan{}, err
	}
	plan := Plan{Target: Target{Type: "template", ID: t.ID, GovRevision: t.GovRevision}, Title: fmt.Sprintf("Retire template %s: no more keys are made under it", t.ID),
		Lines:  []Line{{Label: "template " + t.ID, Before: t.Status, After: key.StatusRetired}, {Label: "reason", After: reason}},
		Quorum: policies.QuorumInput{Target: policies.QuorumTarget{Type: "template", ID: t.ID, Classifications: []string{string(t.Classification)}}}}
	if t.Status != key.StatusActive {
		plan.Deny = []policies.Reason{refusal("already_retired", "template "+t.ID+" is retired already", "nothing to do")}
	}
	return plan, nil
}

func (o templateRetire) Execute(_ context.Context, env Env, tx *store.Tx, in Input) (Result, error) {
	t, reason, err := o.read(tx.View(), in)
	if err != nil {
		return Result{}, err
	}
	a := act(env, tx, in, reason)
	t.Status, t.At = key.StatusRetired, a.at
	t.GovRevision++
	e := a.event("template.retire", ledger.Target{Type: "template", ID: t.ID}, nil)
	return result(map[string]any{"template": t.ID, "status": t.Status}), a.put(tx, custodian.KindTemplate, t.ID, t, e)
}

// underTemplate judges a new key by the template that it cites: the ceremony to cite, and what is against it.
func underTemplate(view *store.View, id string, k *key.Key) (*key.Template, []policies.Reason, error) {
	t, _, err := lookup[key.Template](view, custodian.KindTemplate, "template", id, "template")
	if err != nil {
		return nil, nil, err
	}
	var out []policies.Reason
	for _, lack := range t.Against(k) {
		out = append(out, refusal("template_bounds", lack, "keep to the template's bounds, or propose the key without it (a quorum decides then)"))
	}
	return t, out, nil
}

// takeTemplate counts a key that was made under a template, whose bounds hold once more.
func takeTemplate(tx *store.Tx, id string, k *key.Key) error {
	t, against, err := underTemplate(tx.View(), id, k)
	if err != nil {
		return err
	}
	if len(against) > 0 {
		return errors.New(against[0].Message)
	}
	t.Made++
	return tx.Put(custodian.KindTemplate, t.ID, t)
}
