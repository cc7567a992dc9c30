package operation

import (
	"context"
	"fmt"
	"time"

	"conclave/custodian"
	"conclave/custodian/ledger"
	"conclave/custodian/people"
	"conclave/custodian/store"
	"conclave/policies"
)

type custodianAddParams struct {
	ID          string        `json:"id"`
	Name        string        `json:"name"`
	StaffNumber string        `json:"staff_number"`
	Roles       []people.Role `json:"roles"`
	Groups      []string      `json:"groups"`
	Team        string        `json:"team"`
	Site        string        `json:"site"`
	Manager     string        `json:"manager"`
	Backup      string        `json:"backup"`
	// Organisation and Until are of auditors from outside.
	Organisation string     `json:"organisation"`
	Until        *time.Time `json:"until"`
	keyParams
}

// custodianAdd puts a person into the register, with keys that they handed in. They count once they have signed the
// acknowledgement, where their roles take one.
type custodianAdd struct{}

func (custodianAdd) Name() string { return "custodian.add" }

func (custodianAdd) read(view *store.View, in Input) (*people.Person, *broughtKeys, error) {
	p, err := decode[custodianAddParams](in)
	if err != nil {
		return nil, nil, err
	}
	if err := vacant(view, custodian.KindPerson, "id", p.ID, "person"); err != nil {
		return nil, nil, err
	}
	keys, err := p.keyParams.read(view, in, p.ID)
	if err != nil {
		return nil, nil, err
	}
	person := &people.Person{ID: p.ID, Name: p.Name, StaffNumber: p.StaffNumber, Roles: p.Roles, Groups: p.Groups, Team: p.Team, Site: p.Site,
		Manager: p.Manager, Backup: p.Backup, Organisation: p.Organisation, Until: p.Until, Status: people.StatusActive, ApprovalKeys: []people.Credential{keys.credential},
		ShareKey: keys.shareKey, ShareKeyID: keys.shareKeyID, AddedAt: in.Now, AddedBy: in.Ceremony,
		Development: in.Instance.Mode == custodian.Development}
	if err := person.Validate(); err != nil {
		return nil, nil, err
	}
	if err := checkUntil(person.Until, in.Now); err != nil {
		return nil, nil, err
	}
	return person, keys, people.CheckBackup(person, register(view))
}

func (o custodianAdd) Prepare(ctx context.Context, env Env, view *store.View, in Input) (Plan, error) {
	p, keys, err := o.read(view, in)
	if err != nil {
		return Plan{}, err
	}
	plan := Plan{Target: Target{Type: "person", ID: p.ID}, Title: fmt.Sprintf("Add %s (%s) to the people of this instance", p.ID, p.Name),
		Subjects: []string{p.ID}, Lines: append([]Line{{Label: "person", After: fmt.Sprintf("%s (%s)", p.ID, p.Name)}}, compare(&people.Person{Name: p.Name}, p)...),
		Quorum: policies.QuorumInput{Target: policies.QuorumTarget{Type: "person", ID: p.ID}}}
	plan.Lines = append(plan.Lines, keys.lines...)
	change := personChange{after: p}
	err = change.finish(ctx, env, view, in, &plan)
	return plan, err
}

func (o custodianAdd) Execute(_ context.Context, env Env, tx *store.Tx, in Input) (Result, error) {
	p, keys, err := o.read(tx.View(), in)
	if err != nil {
		return Result{}, err
	}
	a := act(env, tx, in, in.Reason)
	p.AddedAt, p.ApprovalKeys = a.at, []people.Credential{keys.stamp(a)}
	if err := keys.use(a, tx); err != nil {
		return Result{}, err
	}
	if err := seen(a, tx, p.ID); err != nil {
		return Result{}, err
	}
	e := a.event("custodian.add", ledger.Target{Type: "person", ID: p.ID}, keys.detail(map[string]any{"roles": p.Roles}))
	if err := a.put(tx, custodian.KindPerson, p.ID, p, e); err != nil {
		return Result{}, err
	}
	next := "they can act at once"
	if people.MustAcknowledge(p) {
		next = "they sign the acknowledgement of duties (acknowledgement.sign)"
	}
	return result(map[string]any{"person": p.ID, "credential": keys.credential.ID, "next": next}), nil
}

// maxEngagement bounds an engagement (ours): an assessment is yearly, and who comes again is added or prolonged again.
const maxEngagement = 366 * 24 * time.Hour

func checkUntil(until *time.Time, now time.Time) error {
	if until == nil || until.After(now) && !until.After(now.Add(maxEngagement)) {
		return nil
	}
	return &custodian.InputError{Field: "until", Problem: until.UTC().Format(time.RFC3339), Allowed: "a time after now and not more than a year ahead"}
}

// seen begins the count of a person's inactivity anew. It must be followed by an entry.
func seen(a acting, tx *store.Tx, person string) error {
	return tx.Put(custodian.KindActivity, person, people.Activity{Person: person, At: a.at})
}
