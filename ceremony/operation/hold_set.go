package operation

import (
	"context"
	"fmt"
	"strings"

	"conclave/custodian"
	"conclave/custodian/access"
	"conclave/custodian/key"
	"conclave/custodian/ledger"
	"conclave/custodian/oversight"
	"conclave/custodian/people"
	"conclave/custodian/store"
	"conclave/policies"
)

type holdSetParams struct {
	ID     string        `json:"id"` // made from the ceremony's when empty
	On     oversight.Ref `json:"on"`
	From   uint64        `json:"from"` // ledger entries, type ledger only
	To     uint64        `json:"to"`
	Matter string        `json:"matter"`
	Reason string        `json:"reason"`
}

// holdSet keeps what a legal matter needs from being destroyed or deleted, at once. A quorum lifts it.
type holdSet struct{}

func (holdSet) Name() string { return "hold.set" }

func (holdSet) read(view *store.View, in Input) (*oversight.Hold, string, error) {
	p, err := decode[holdSetParams](in)
	if err != nil {
		return nil, "", err
	}
	reason, err := why("reason", p.Reason, in)
	if err != nil {
		return nil, "", err
	}
	if p.ID == "" {
		p.ID = idFrom("h", in.Ceremony)
	}
	h := &oversight.Hold{ID: p.ID, On: p.On, From: p.From, To: p.To, Matter: p.Matter, SetAt: in.Now, SetBy: in.Requester.ID, Ceremony: in.Ceremony}
	return h, reason, key.First([]error{h.Validate(), exists(view, "on.id", h.On), vacant(view, custodian.KindHold, "id", h.ID, "hold")})
}

// exists checks that a hold, or a finding, is about something that is on record.
func exists(view *store.View, field string, r oversight.Ref) error {
	var err error
	switch r.Type {
	case oversight.HoldKey:
		_, err = keyRow(view, field, r.ID)
	case oversight.HoldVersion:
		var v *key.Version
		if v, _, err = store.Get[key.Version](view, custodian.KindKeyVersion, r.ID); err != nil || key.VersionID(v.Key, v.Version) != r.ID {
			err = unknown(field, r.ID, "key version, as key/1")
		}
	case oversight.HoldPerson:
		_, _, err = personRow(view, field, r.ID)
	case oversight.HoldAsset:
		_, _, err = lookup[key.Asset](view, custodian.KindAsset, field, r.ID, "asset")
	case oversight.HoldTemplate:
		_, _, err = lookup[key.Template](view, custodian.KindTemplate, field, r.ID, "template")
	case "application":
		_, _, err = lookup[access.Application](view, custodian.KindApplication, field, r.ID, "application")
	case "keystore":
		_, err = keystoreRow(view, field, r.ID)
	case "share":
		if _, _, err = store.Get[people.Share](view, custodian.KindShare, r.ID); err != nil {
			err = unknown(field, r.ID, "share, as set/epoch/index")
		}
	}
	return err
}

func holdPlan(h *oversight.Hold, revision uint64, title string, lines ...Line) Plan {
	plan := Plan{Target: Target{Type: "hold", ID: h.ID, GovRevision: revision}, Title: title,
		Lines:  append([]Line{{Label: "on", After: h.What()}, {Label: "matter", After: h.Matter}}, lines...),
		Quorum: policies.QuorumInput{Target: policies.QuorumTarget{Type: "hold", ID: h.ID}}}
	if h.On.Type == oversight.HoldPerson {
		plan.Subjects = []string{h.On.ID}
	}
	return plan
}

func (o holdSet) Prepare(_ context.Context, _ Env, view *store.View, in Input) (Plan, error) {
	h, reason, err := o.read(view, in)
	if err != nil {
		return Plan{}, err
	}
	plan := holdPlan(h, 0, fmt.Sprintf("Put %s on hold: it is not destroyed or deleted until a quorum lifts the hold", h.What()), Line{Label: "reason", After: reason})
	plan.Subjects = nil // whom the records are about loses nothing by their being kept
	return plan, nil
}

func (o holdSet) Execute(_ context.Context, env Env, tx *store.Tx, in Input) (Result, error) {
	h, reason, err := o.read(tx.View(), in)
	if err != nil {
		return Result{}, err
	}
	a := act(env, tx, in, reason)
	h.SetAt = a.at
	e := a.event("hold.set", ledger.Target{Type: "hold", ID: h.ID}, map[string]any{"on": h.What(), "matter": h.Matter})
	if err := a.put(tx, custodian.KindHold, h.ID, h, e); err != nil {
		return Result{}, err
	}
	return result(map[string]any{"hold": h.ID, "on": h.What()}), nil
}

type holdLiftParams struct {
	Hold   string `json:"hold"`
	Reason string `json:"reason"`
}

// holdLift ends a hold. What it kept may then be destroyed by the ceremonies that destroy.
type holdLift struct{}

func (holdLift) Name() string { return "hold.lift" }

func (holdLift) read(view *store.View, in Input) (*oversight.Hold, store.Row, string, error) {
	p, err := decode[holdLiftParams](in)
	if err != nil {
		return nil, store.Row{}, "", err
	}
	reason, err := why("reason", p.Reason, in)
	if err != nil {
		return nil, store.Row{}, "", err
	}
	h, row, err := lookup[oversight.Hold](view, custodian.KindHold, "hold", p.Hold, "hold")
	return h, row, reason, err
}

func (o holdLift) Prepare(_ context.Context, _ Env, view *store.View, in Input) (Plan, error) {
	h, row, reason, err := o.read(view, in)
	if err != nil {
		return Plan{}, err
	}
	plan := holdPlan(h, row.Revision, fmt.Sprintf("Lift hold %s: %s may be destroyed or deleted again", h.ID, h.What()),
		Line{Label: "set", Before: fmt.Sprintf("%s by %s", h.SetAt.Format(dateTime), h.SetBy)}, Line{Label: "reason", After: reason})
	if !h.InForce() {
		plan.Deny = append(plan.Deny, refusal("already_lifted", "hold "+h.ID+" is lifted already", "nothing to do"))
	}
	return plan, nil
}

func (o holdLift) Execute(_ context.Context, env Env, tx *store.Tx, in Input) (Result, error) {
	h, _, reason, err := o.read(tx.View(), in)
	if err != nil {
		return Result{}, err
	}
	a := act(env, tx, in, reason)
	h.LiftedAt, h.LiftedBy = &a.at, in.Ceremony
	e := a.event("hold.lift", ledger.Target{Type: "hold", ID: h.ID}, map[string]any{"on": h.What(), "matter": h.Matter})
	if err := a.put(tx, custodian.KindHold, h.ID, h, e); err != nil {
		return Result{}, err
	}
	return result(map[string]any{"hold": h.ID, "lifted": true}), nil
}

// held lists the holds in force on something. A hold whose row contradicts the ledger may be on it too: then
// nobody can tell, which is an error.
func held(view *store.View, refs ...oversight.Ref) ([]string, error) {
	if bad := view.Tampered(custodian.KindHold); len(bad) > 0 {
		return nil, &store.TamperedError{Kind: custodian.KindHold, ID: bad[0].ID}
	}
	var out []string
	for row := range view.List(custodian.KindHold) {
		h, ok := row.Value.(*oversight.Hold)
		if !ok {
			continue
		}
		for _, r := range refs {
			if h.Covers(r) {
				out = append(out, h.ID)
				break
			}
		}
	}
	return out, nil
}

// onHold refuses what would destroy or delete something on hold.
func onHold(view *store.View, refs ...oversight.Ref) ([]policies.Reason, error) {
	ids, err := held(view, refs...)
	if err != nil || len(ids) == 0 {
		return nil, err
	}
	return []policies.Reason{{Rule: "operation", Code: key.CodeLegalHold, Controls: []string{"nist-800-53r5:AU-11"},
		Message: "a legal hold is set on it: " + strings.Join(ids, ", "), Remedy: "a quorum lifts the hold (hold.lift) when the matter has ended; then propose this anew"}}, nil
}
