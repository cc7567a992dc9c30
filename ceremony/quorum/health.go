package quorum

import (
	"cmp"
	"context"
	"slices"
	"time"

	"conclave/custodian/people"
	"conclave/policies"
)

// DueWithin is how long before its date the renewal of an acknowledgement, or a drill, counts as due (ours).
const DueWithin = 30 * 24 * time.Hour

// Facts is what health is computed from.
type Facts struct {
	People     []*people.Person // all, whatever their status
	Sets       []*people.ShareSet
	Shares     []*people.Share // of all epochs
	Drills     []people.DrillDue
	Operations []string // names, in order
	Mode       policies.Mode
	Policy     Policy
	Digest     string // of the policy
	Then       Policy // of simulations: what would judge afterwards; nil for Policy
	Now        time.Time
}

// Health is how an instance would stand losses and pressure: every share set and every operation.
type Health struct {
	At         time.Time   `json:"at"`
	Policy     string      `json:"policy_digest"`
	Active     int         `json:"active_people"`
	Sets       []SetHealth `json:"share_sets"`
	Operations []Outlook   `json:"operations"`
	Overdue    []Overdue   `json:"overdue"`
}

// SetHealth is one share set: custody now, and whether its size and spread follow the rules.
type SetHealth struct {
	people.Health
	Opens  string `json:"opens"`
	Sizing Sizing `json:"sizing"`
}

// Kinds of duties.
const (
	DutyAcknowledgement = "acknowledgement"
	DutyConfirmation    = "confirmation"
)

// Duties returns all kinds: those above, and the kinds of drills.
func Duties() []string {
	out := []string{DutyAcknowledgement, DutyConfirmation}
	for _, k := range people.DrillKinds() {
		out = append(out, string(k))
	}
	return out
}

// Overdue is something that a person should have done.
type Overdue struct {
	Kind   string     `json:"kind"`   // of duty
	Person string     `json:"person"` // for what several hold together, who answers for it
	Set    string     `json:"share_set,omitempty"`
	Due    *time.Time `json:"due,omitempty"` // when it was or will be due; absent where it never was done
	Late   bool       `json:"late"`          // false: due within 30 days
}

// Assess computes health. Errors are those of asking the policy.
func Assess(ctx context.Context, f Facts) (*Health, error) {
	h := &Health{At: f.Now, Policy: f.Digest, Sets: []SetHealth{}, Operations: []Outlook{}, Overdue: []Overdue{}}
	r := NewRegister(f.People, Holdings(f.Sets, f.Shares), f.Now)
	h.Active = len(r.members)
	for _, set := range f.Sets {
		h.Sets = append(h.Sets, setHealth(set, f.Shares, r.find, f.Now))
	}
	h.Overdue = overdue(f, h.Sets)
	var err error
	h.Operations, err = r.outlooks(ctx, NewTable(f.Policy, f.Mode, f.Now), f.Operations, f.Sets)
	return h, err
}

// Detail is one operation with everybody who could take part in it.
func Detail(ctx context.Context, f Facts, operation string) ([]Outlook, error) {
	r := NewRegister(f.People, Holdings(f.Sets, f.Shares), f.Now)
	a := r.assess(NewTable(f.Policy, f.Mode, f.Now))
	cases, targets, err := r.cases(ctx, a.table, []string{operation}, f.Sets)
	if err != nil {
		return nil, err
	}
	out := []Outlook{}
	for i, c := range cases {
		o, err := a.outlook(ctx, c, targets[i])
		if err != nil {
			return nil, err
		}
		if err := a.detail(ctx, c, &o); err != nil {
			return nil, err
		}
		out = append(out, o)
	}
	return out, nil
}

// outlooks judges a list of operations.
func (r *Register) outlooks(ctx context.Context, t *Table, operations []string, sets []*people.ShareSet) ([]Outlook, error) {
	a := r.assess(t)
	cases, targets, err := r.cases(ctx, t, operations, sets)
	if err != nil {
		return nil, err
	}
	out := make([]Outlook, 0, len(cases))
	for i, c := range cases {
		o, err := a.outlook(ctx, c, targets[i])
		if err != nil {
			return nil, err
		}
		out = append(out, o)
	}
	return out, nil
}

func setHealth(set *people.ShareSet, shares []*people.Share, find people.Lookup, now time.Time) SetHealth {
	var sites []string
	for _, s := range shares {
		if !s.Usable(set) {
			continue
		}
		if p := find(s.Custodian); p != nil {
			sites = append(sites, p.Site)
		}
	}
	return SetHealth{Health: people.Assess(set, shares, find, now), Opens: set.Opens(), Sizing: Size(set.Threshold, set.Total, sites)}
}

// overdue collects acknowledgements, confirmations and drills.
func overdue(f Facts, sets []SetHealth) []Overdue {
	out := []Overdue{}
	for _, p := range f.People {
		if people.Present(p) != nil || !slices.ContainsFunc(p.Roles, people.NeedsAcknowledgement) {
			continue
		}
		o := Overdue{Kind: DutyAcknowledgement, Person: p.ID, Late: people.Acknowledged(p, f.Now) != nil}
		if a := p.Acknowledgement; a != nil {
			ends := a.ExpiresAt
			o.Due = &ends
		}
		if o.Late || o.Due != nil && o.Due.Sub(f.Now) <= DueWithin {
			out = append(out, o)
		}
	}
	for _, set := range sets {
		for _, id := range set.Unconfirmed {
			out = append(out, Overdue{Kind: DutyConfirmation, Person: id, Set: set.Set, Late: true})
		}
	}
	for _, d := range f.Drills {
		if d.Late || d.Due.Sub(f.Now) <= DueWithin {
			out = append(out, Overdue{Kind: string(d.Kind), Person: d.Person, Set: d.Set, Due: &d.Due, Late: d.Late})
		}
	}
	slices.SortFunc(out, func(a, b Overdue) int {
		return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Set, b.Set), cmp.Compare(a.Person, b.Person))
	})
	return out
}

// Matter names an outlook: stable, for alerts and metrics.
func (o Outlook) Matter() string {
	name := o.Operation
	if o.Target != "" {
		name += " " + o.Target
	}
	if o.Set != "" {
		name += " set " + o.Set
	}
	return name
}

// setMatter names a share set among the matters.
func setMatter(id string) string { return "share set " + id }

// Matters names everything that could get out of reach, in order.
func (h *Health) Matters() []string {
	var out []string
	for _, o := range h.Operations {
		if o.Level() != NoPeople {
			out = append(out, o.Matter())
		}
	}
	for _, s := range h.Sets {
		out = append(out, setMatter(s.Set))
	}
	slices.Sort(out)
	return out
}

// Levels is how near every matter is to being out of reach; those with a spare, or that take nobody, are left out.
func (h *Health) Levels() map[string]Level {
	out := map[string]Level{}
	for _, o := range h.Operations {
		if l := o.Level(); l == Lost || l == NoSpare {
			out[o.Matter()] = l
		}
	}
	for _, s := range h.Sets {
		switch {
		case !s.Ready():
			out[setMatter(s.Set)] = Lost
		case s.LossesSurvived == 0:
			out[setMatter(s.Set)] = NoSpare
		}
	}
	return out
}
