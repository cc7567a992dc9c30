package operation

import (
	"context"
	"fmt"
	"strings"
	"time"

	"conclave/custodian"
	"conclave/custodian/access"
	"conclave/custodian/key"
	"conclave/custodian/ledger"
	"conclave/custodian/store"
	"conclave/policies"
)

// grantSpec is what a grant lets an application do with one key.
type grantSpec struct {
	Key        string             `json:"key"`
	Operations []access.Operation `json:"operations"`
	Context    map[string]string  `json:"context"`
	Days       int                `json:"days"`
}

// grant is the row that the spec stands for.
func (s grantSpec) grant(id, application string, a acting) *access.Grant {
	from := a.at.UTC().Truncate(time.Microsecond)
	return &access.Grant{ID: id, Application: application, Key: s.Key, Operations: s.Operations, Context: s.Context,
		CreatedAt: from, ExpiresAt: from.Add(time.Duration(s.Days) * key.Day), CreatedBy: a.ceremony, Asked: a.asked()}
}

// check validates the spec for an application of an environment and returns its key. A key of another
// environment is a refusal: test and production stay apart (PCI DSS 4.0.1, 6.5.3 and 6.5.4).
func (s grantSpec) check(view *store.View, id, application, environment string, in Input) (*key.Key, []policies.Reason, error) {
	if err := key.CheckRange("days", s.Days, 1, int(access.MaxGrantLife/key.Day), "days"); err != nil {
		return nil, nil, err
	}
	if err := s.grant(id, application, foresee(in, "")).Validate(); err != nil {
		return nil, nil, err
	}
	k, err := keyRow(view, "key", s.Key)
	if err != nil {
		return nil, nil, err
	}
	if err := s.fits(k); err != nil {
		return nil, nil, err
	}
	if k.Environment != environment {
		return k, []policies.Reason{refusal("environment", fmt.Sprintf("key %s is of environment %s, the application of %s", k.ID, k.Environment, environment),
			"use a key of the application's environment")}, nil
	}
	return k, nil, nil
}

// fits refuses operations that keys of this type never do, and an encryption context asked of those that bind none.
func (s grantSpec) fits(k *key.Key) error {
	for i, op := range s.Operations {
		field := fmt.Sprintf("operations[%d]", i)
		if !op.Fits(k.Type) {
			return &custodian.InputError{Field: field, Problem: fmt.Sprintf("%s does not go with a key of type %s", op, k.Type),
				Allowed: list(access.OperationsOf(k.Type))}
		}
		if len(s.Context) > 0 && !op.BindsContext() {
			return &custodian.InputError{Field: "context", Problem: fmt.Sprintf("%s binds no encryption context", op),
				Allowed: "a context with operations that encrypt or decrypt; none with " + string(op)}
		}
	}
	return nil
}

func (s grantSpec) line(label string) Line {
	text := fmt.Sprintf("%s with key %s for %d days", list(s.Operations), s.Key, s.Days)
	if len(s.Context) > 0 {
		fields := make([]string, 0, len(s.Context))
		for name, value := range s.Context {
			fields = append(fields, fmt.Sprintf("%q = %q", name, value))
		}
		text += ", where the encryption context has " + list(fields)
	}
	return Line{Label: label, After: text}
}

// record stores a grant.
func (s grantSpec) record(a acting, tx *store.Tx, id, application string) error {
	g := s.grant(id, application, a)
	if err := vacant(tx.View(), custodian.KindGrant, "id", id, "grant"); err != nil {
		return err
	}
	e := a.event("grant.create", ledger.Target{Type: "grant", ID: id}, map[string]any{"application": application, "key": s.Key,
		"operations": s.Operations, "expires_at": g.ExpiresAt.Format(time.RFC3339)})
	return a.put(tx, custodian.KindGrant, id, g, e)
}

type grantCreateParams struct {
	ID          string `json:"id"` // made from the ceremony's when empty
	Application string `json:"application"`
	grantSpec
}

// grantCreate lets an application use a key. The key's owner decides; for protected classes, a quorum.
type grantCreate struct{}

func (grantCreate) Name() string { return "grant.create" }

// idFrom names a row after the ceremony that makes it: "c-abc" and "g" give "g-abc".
func idFrom(prefix, ceremony string) string {
	return prefix + "-" + strings.TrimPrefix(ceremony, "c-")
}

func (grantCreate) read(in Input) (grantCreateParams, error) {
	p, err := decode[grantCreateParams](in)
	if err == nil && p.ID == "" {
		p.ID = idFrom("g", in.Ceremony)
		if in.Item > 0 {
			p.ID += fmt.Sprintf("-%d", in.Item)
		}
	}
	return p, err
}

func (o grantCreate) Prepare(_ context.Context, _ Env, view *store.View, in Input) (Plan, error) {
	p, err := o.read(in)
	if err != nil {
		return Plan{}, err
	}
	app, _, err := applicationRow(view, "application", p.Application)
	if err != nil {
		return Plan{}, err
	}
	if err := vacant(view, custodian.KindGrant, "id", p.ID, "grant"); err != nil {
		return Plan{}, err
	}
	k, against, err := p.check(view, p.ID, p.Application, app.Environment, in)
	if err != nil {
		return Plan{}, err
	}
	plan := Plan{Target: Target{Type: "grant", ID: p.ID}, Title: fmt.Sprintf("Let application %s use key %s", app.ID, k.ID), Deny: against,
		Lines: []Line{keyLine(k), {Label: "application", After: fmt.Sprintf("%s (%s), %s", app.ID, app.Name, app.Status)}, p.line("may")},
		Quorum: policies.QuorumInput{Target: policies.QuorumTarget{Type: "grant", ID: p.ID, Owner: k.Owner,
			Classifications: []string{string(k.Classification)}}}}
	return plan, nil
}

func (o grantCreate) Execute(_ context.Context, env Env, tx *store.Tx, in Input) (Result, error) {
	p, err := o.read(in)
	if err != nil {
		return Result{}, err
	}
	if _, _, err := applicationRow(tx.View(), "application", p.Application); err != nil {
		return Result{}, err
	}
	a := act(env, tx, in, in.Reason)
	if err := p.record(a, tx, p.ID, p.Application); err != nil {
		return Result{}, err
	}
	return result(map[string]any{"grant": p.ID, "application": p.Application, "key": p.Key}), nil
}
