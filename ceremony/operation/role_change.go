package operation

import (
	"context"
	"fmt"
	"slices"

	"conclave/custodian"
	"conclave/custodian/ledger"
	"conclave/custodian/people"
	"conclave/custodian/store"
)

type roleChangeParams struct {
	Person string        `json:"person"`
	Roles  []people.Role `json:"roles"` // all that they have from now on
}

// roleChange gives a person other roles. A role that takes an acknowledgement takes a new one, since what was signed
// names the roles; who is no custodian any more and holds shares opens the duty to have them re-issued.
type roleChange struct{}

func (roleChange) Name() string { return "role.change" }

func (roleChange) read(view *store.View, in Input) (*personChange, error) {
	p, err := decode[roleChangeParams](in)
	if err != nil {
		return nil, err
	}
	c, err := changeOf(view, "person", p.Person)
	if err != nil {
		return nil, err
	}
	c.after.Roles = p.Roles
	for _, r := range p.Roles {
		if people.NeedsAcknowledgement(r) && !c.before.Has(r) {
			c.after.Acknowledgement = nil
		}
	}
	return c, c.after.Validate()
}

// unshared is whether a person stops being a custodian.
func (c *personChange) unshared() bool {
	return c.before.Has(people.RoleCustodian) && !c.after.Has(people.RoleCustodian)
}

func (o roleChange) Prepare(ctx context.Context, env Env, view *store.View, in Input) (Plan, error) {
	c, err := o.read(view, in)
	if err != nil {
		return Plan{}, err
	}
	plan := personPlan(c.before, c.row, fmt.Sprintf("Change the roles of %s (%s)", c.before.ID, c.before.Name), compare(c.before, c.after)...)
	if slices.Equal(sorted(c.before.Roles), sorted(c.after.Roles)) {
		plan.Deny = append(plan.Deny, refusal("no_change", "nothing would change", "name the roles that they are to have"))
	}
	if c.before.Acknowledgement != nil && c.after.Acknowledgement == nil {
		plan.Lines = append(plan.Lines, Line{Label: "acknowledgement", Before: "signed", After: "to be signed anew for the new role"})
	}
	if c.unshared() {
		for _, d := range followUps(view, c.after, people.CauseRole, in, nil) {
			plan.Lines = append(plan.Lines, d.line())
		}
	}
	err = c.finish(ctx, env, view, in, &plan)
	return plan, err
}

func sorted(roles []people.Role) []people.Role { return slices.Sorted(slices.Values(roles)) }

func (o roleChange) Execute(_ context.Context, env Env, tx *store.Tx, in Input) (Result, error) {
	c, err := o.read(tx.View(), in)
	if err != nil {
		return Result{}, err
	}
	a := act(env, tx, in, in.Reason)
	e := a.event("role.change", ledger.Target{Type: "person", ID: c.after.ID}, map[string]any{"before": c.before.Roles, "after": c.after.Roles})
	if err := a.put(tx, custodian.KindPerson, c.after.ID, c.after, e); err != nil {
		return Result{}, err
	}
	out := map[string]any{"person": c.after.ID, "roles": c.after.Roles}
	if c.unshared() {
		if out["duties"], err = openDuties(a, tx, followUps(tx.View(), c.after, people.CauseRole, in, nil)); err != nil {
			return Result{}, err
		}
	}
	return result(out), nil
}
