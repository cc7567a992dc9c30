package operation

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"conclave/custodian"
	"conclave/custodian/access"
	"conclave/custodian/identity"
	"conclave/custodian/ledger"
	"conclave/custodian/oversight"
	"conclave/custodian/store"
	"conclave/policies"
)

type breakglassOpenParams struct {
	Application string             `json:"application"` // who gets it: an application
	Person      string             `json:"person"`      // or a person, to decrypt
	Keys        []string           `json:"keys"`
	Operations  []access.Operation `json:"operations"`
	Context     map[string]string  `json:"context"` // fields that the encryption context must have
	Minutes     int                `json:"minutes"`
	Reason      string             `json:"reason"`
}

// breakglassOpen gives somebody emergency access to named keys for at most four hours. It takes the quorum of any
// governed operation, waits for nothing, marks every use, and is reviewed within a day by people who took no part.
type breakglassOpen struct{}

func (breakglassOpen) Name() string { return "breakglass.open" }

func (breakglassOpen) read(env Env, view *store.View, in Input) (*oversight.BreakGlass, string, error) {
	p, err := decode[breakglassOpenParams](in)
	if err != nil {
		return nil, "", err
	}
	reason, err := why("reason", p.Reason, in)
	if err != nil {
		return nil, "", err
	}
	if (p.Application == "") == (p.Person == "") {
		return nil, "", &custodian.InputError{Field: "person", Problem: "an application and a person are named, or neither", Allowed: "one of them"}
	}
	from := in.Now.UTC().Truncate(time.Microsecond)
	b := &oversight.BreakGlass{ID: idFrom("bg", in.Ceremony), Kind: identity.Application, Principal: p.Application, Keys: p.Keys, Operations: p.Operations,
		Context: p.Context, Reason: reason, OpenedAt: from, ExpiresAt: from.Add(time.Duration(p.Minutes) * time.Minute), Ceremony: in.Ceremony}
	if p.Person != "" {
		b.Kind, b.Principal = identity.Human, p.Person
	}
	if p.Minutes < int(oversight.MinBreakGlass/time.Minute) || p.Minutes > int(oversight.MaxBreakGlass/time.Minute) {
		return nil, "", &custodian.InputError{Field: "minutes", Problem: fmt.Sprint(p.Minutes), Allowed: "5 to 240"}
	}
	if err := b.Validate(); err != nil {
		return nil, "", err
	}
	for i, op := range b.Operations {
		if !env.Policies.InEmergency(string(b.Kind), string(op)) {
			return nil, "", &custodian.InputError{Field: fmt.Sprintf("operations[%d]", i), Problem: fmt.Sprintf("%q is not for callers of kind %s", op, b.Kind),
				Allowed: "what policy lets callers of this kind do in an emergency"}
		}
	}
	return b, reason, nil
}

func (o breakglassOpen) Prepare(_ context.Context, env Env, view *store.View, in Input) (Plan, error) {
	b, reason, err := o.read(env, view, in)
	if err != nil {
		return Plan{}, err
	}
	plan := Plan{Target: Target{Type: "breakglass", ID: b.ID},
		Title: fmt.Sprintf("Emergency access: let %s %s %s for %s, beyond any grant", b.Kind, b.Principal, list(b.Operations), b.ExpiresAt.Sub(b.OpenedAt)),
		Lines: []Line{{Label: "reason", After: reason}, {Label: "lasts", After: fmt.Sprintf("%s from the decision, then ends by itself", b.ExpiresAt.Sub(b.OpenedAt))},
			{Label: "marked", After: "every use carries the id of this ceremony in the ledger"}},
		Quorum: policies.QuorumInput{Target: policies.QuorumTarget{Type: "breakglass", ID: b.ID}}}
	if b.Kind == identity.Human {
		if _, err := presentPerson(view, "person", b.Principal); err != nil {
			return Plan{}, err
		}
		plan.Subjects = []string{b.Principal}
	} else {
		app, _, err := applicationRow(view, "application", b.Principal)
		if err != nil {
			return Plan{}, err
		}
		if !app.Active() {
			plan.Deny = append(plan.Deny, refusal("application_suspended", "application "+app.ID+" is suspended, which emergency access does not change",
				"have it resumed (application.resume)"))
		}
		plan.Subjects = []string{app.Owner} // it is their application that gets it: they neither approve nor review
		plan.Lines = append(plan.Lines, Line{Label: "application", After: fmt.Sprintf("%s (%s), owner %s", app.ID, app.Name, app.Owner)})
	}
	for i, id := range b.Keys {
		k, err := keyRow(view, fmt.Sprintf("keys[%d]", i), id)
		if err != nil {
			return Plan{}, err
		}
		plan.Lines = append(plan.Lines, keyLine(k))
		plan.Quorum.Target.Classifications = append(plan.Quorum.Target.Classifications, string(k.Classification))
	}
	for _, name := range slices.Sorted(maps.Keys(b.Context)) {
		plan.Lines = append(plan.Lines, Line{Label: "only where the context has", After: fmt.Sprintf("%q = %q", name, b.Context[name])})
	}
	return plan, nil
}

func (o breakglassOpen) Execute(_ context.Context, env Env, tx *store.Tx, in Input) (Result, error) {
	in.Now = tx.Now()
	b, reason, err := o.read(env, tx.View(), in)
	if err != nil {
		return Result{}, err
	}
	a := act(env, tx, in, reason)
	e := a.event("breakglass.open", ledger.Target{Type: "breakglass", ID: b.ID}, map[string]any{"kind": string(b.Kind), "principal": b.Principal, "keys": b.Keys,
		"operations": b.Operations, "expires_at": b.ExpiresAt.Format(dateTime)})
	if err := a.put(tx, custodian.KindBreakGlass, b.ID, b, e); err != nil {
		return Result{}, err
	}
	return result(map[string]any{"breakglass": b.ID, "expires_at": b.ExpiresAt.Format(dateTime)}), nil
}

type breakglassCloseParams struct {
	Breakglass string `json:"breakglass"`
	Reason     string `json:"reason"`
}

// breakglassClose ends emergency access early. One person does it.
type breakglassClose struct{}

func (breakglassClose) Name() string { return "breakglass.close" }

func (breakglassClose) read(view *store.View, in Input) (*oversight.BreakGlass, store.Row, string, error) {
	p, err := decode[breakglassCloseParams](in)
	if err != nil {
		return nil, store.Row{}, "", err
	}
	reason, err := why("reason", p.Reason, in)
	if err != nil {
		return nil, store.Row{}, "", err
	}
	b, row, err := lookup[oversight.BreakGlass](view, custodian.KindBreakGlass, "breakglass", p.Breakglass, "emergency access")
	return b, row, reason, err
}

func (o breakglassClose) Prepare(_ context.Context, _ Env, view *store.View, in Input) (Plan, error) {
	b, row, reason, err := o.read(view, in)
	if err != nil {
		return Plan{}, err
	}
	plan := Plan{Target: Target{Type: "breakglass", ID: b.ID, GovRevision: row.Revision}, Title: fmt.Sprintf("End the emergency access of %s %s at once", b.Kind, b.Principal),
		Lines:  []Line{{Label: "ends", Before: b.ExpiresAt.Format(dateTime), After: "now"}, {Label: "reason", After: reason}},
		Quorum: policies.QuorumInput{Target: policies.QuorumTarget{Type: "breakglass", ID: b.ID}}}
	if !b.Open(in.Now) {
		plan.Deny = append(plan.Deny, refusal("not_open", "emergency access "+b.ID+" has ended", "nothing to do"))
	}
	return plan, nil
}

func (o breakglassClose) Execute(_ context.Context, env Env, tx *store.Tx, in Input) (Result, error) {
	b, _, reason, err := o.read(tx.View(), in)
	if err != nil {
		return Result{}, err
	}
	a := act(env, tx, in, reason)
	b.ClosedAt, b.ClosedBy = &a.at, in.Requester.ID
	e := a.event("breakglass.close", ledger.Target{Type: "breakglass", ID: b.ID}, map[string]any{"principal": b.Principal})
	if err := a.put(tx, custodian.KindBreakGlass, b.ID, b, e); err != nil {
		return Result{}, err
	}
	return result(map[string]any{"breakglass": b.ID, "closed": true}), nil
}
