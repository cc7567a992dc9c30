package operation

import (
	"context"
	"fmt"
	"time"

	"conclave/custodian"
	"conclave/custodian/ledger"
	"conclave/custodian/people"
	"conclave/custodian/store"
)

// custodianAlterParams: what is left out stays as it is; "" takes away what may be absent.
type custodianAlterParams struct {
	Person      string    `json:"person"`
	Name        *string   `json:"name"`
	StaffNumber *string   `json:"staff_number"`
	Groups      *[]string `json:"groups"`
	Team        *string   `json:"team"`
	Site        *string   `json:"site"`
	Manager     *string   `json:"manager"`
	Backup      *string   `json:"backup"`
	// Until shortens or prolongs an engagement; one that has no end gets one. It is not taken away: whoever stays is added as such.
	Organisation *string    `json:"organisation"`
	Until        *time.Time `json:"until"`
}

func (p *custodianAlterParams) apply(to *people.Person) {
	set := func(value *string, field *string) {
		if value != nil {
			*field = *value
		}
	}
	set(p.Name, &to.Name)
	set(p.StaffNumber, &to.StaffNumber)
	set(p.Team, &to.Team)
	set(p.Site, &to.Site)
	set(p.Manager, &to.Manager)
	set(p.Backup, &to.Backup)
	set(p.Organisation, &to.Organisation)
	if p.Until != nil {
		to.Until = p.Until
	}
	if p.Groups != nil {
		to.Groups = *p.Groups
	}
}

// custodianAlter changes what the register says of a person, their roles and keys apart.
type custodianAlter struct{}

func (custodianAlter) Name() string { return "custodian.alter" }

func (custodianAlter) read(view *store.View, in Input) (*personChange, error) {
	p, err := decode[custodianAlterParams](in)
	if err != nil {
		return nil, err
	}
	c, err := changeOf(view, "person", p.Person)
	if err != nil {
		return nil, err
	}
	p.apply(c.after)
	if err := c.after.Validate(); err != nil {
		return nil, err
	}
	if err := checkUntil(p.Until, in.Now); err != nil {
		return nil, err
	}
	if p.Backup == nil {
		return c, nil // who was named before may have left since: that is a duty of its own
	}
	return c, people.CheckBackup(c.after, register(view))
}

// changeOf begins a change of a person who has not left.
func changeOf(view *store.View, field, id string) (*personChange, error) {
	before, row, err := personRow(view, field, id)
	if err != nil {
		return nil, err
	}
	if before.Status == people.StatusLeft {
		return nil, &custodian.InputError{Field: field, Problem: id + " left", Allowed: "somebody who is here"}
	}
	after := *before
	return &personChange{before: before, after: &after, row: row}, nil
}

func (o custodianAlter) Prepare(ctx context.Context, env Env, view *store.View, in Input) (Plan, error) {
	c, err := o.read(view, in)
	if err != nil {
		return Plan{}, err
	}
	lines := compare(c.before, c.after)
	plan := personPlan(c.before, c.row, fmt.Sprintf("Change the record of %s (%s)", c.before.ID, c.before.Name), lines...)
	if len(lines) == 0 {
		plan.Deny = append(plan.Deny, refusal("no_change", "nothing would change", "name what is to be different"))
	}
	err = c.finish(ctx, env, view, in, &plan)
	return plan, err
}

func (o custodianAlter) Execute(_ context.Context, env Env, tx *store.Tx, in Input) (Result, error) {
	c, err := o.read(tx.View(), in)
	if err != nil {
		return Result{}, err
	}
	a := act(env, tx, in, in.Reason)
	changed := []string{}
	for _, l := range compare(c.before, c.after) {
		changed = append(changed, l.Label)
	}
	e := a.event("custodian.alter", ledger.Target{Type: "person", ID: c.after.ID}, map[string]any{"changed": changed})
	if err := a.put(tx, custodian.KindPerson, c.after.ID, c.after, e); err != nil {
		return Result{}, err
	}
	return result(map[string]any{"person": c.after.ID, "changed": changed}), nil
}
