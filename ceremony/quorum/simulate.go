package quorum

import (
	"context"
	"fmt"
	"slices"
	"time"

	"conclave/custodian/key"
	"conclave/custodian/people"
	"conclave/policies"
)

// MaxSupposed bounds every list of a supposition.
const MaxSupposed = 200

// Supposition is what somebody wonders about. Nothing of it happens.
type Supposition struct {
	Remove  []string                 `json:"remove,omitempty"`
	Suspend []string                 `json:"suspend,omitempty"`
	Resume  []string                 `json:"resume,omitempty"`
	Roles   map[string][]people.Role `json:"roles,omitempty"` // by person: what they would hold
	Add     []Newcomer               `json:"add,omitempty"`
	Sets    map[string]NewSet        `json:"share_sets,omitempty"` // by id of the set
	Policy  string                   `json:"policy,omitempty"`     // digest of the bundle that would be in force
}

// Newcomer is somebody who would join.
type Newcomer struct {
	ID      string        `json:"id"`
	Roles   []people.Role `json:"roles"`
	Team    string        `json:"team"`
	Site    string        `json:"site"`
	Manager string        `json:"manager,omitempty"`
}

// NewSet is a share set as it would be: a quorum of Threshold among Holders, a share each.
type NewSet struct {
	Threshold int      `json:"threshold"`
	Holders   []string `json:"holders"`
}

// Check finds what is wrong with a supposition (*key.FieldError), given the people and sets that there are.
func (s *Supposition) Check(all []*people.Person, sets []*people.ShareSet) error {
	for field, n := range map[string]int{"remove": len(s.Remove), "suspend": len(s.Suspend), "resume": len(s.Resume), "roles": len(s.Roles),
		"add": len(s.Add), "share_sets": len(s.Sets)} {
		if err := key.CheckRange(field, n, 0, MaxSupposed, "at once"); err != nil {
			return err
		}
	}
	if len(s.Remove)+len(s.Suspend)+len(s.Resume)+len(s.Roles)+len(s.Add)+len(s.Sets) == 0 && s.Policy == "" {
		return &key.FieldError{Field: "remove", Problem: "nothing is supposed", Allowed: "somebody to remove, suspend, resume or add, roles, share_sets or a policy"}
	}
	find := people.Among(all)
	for field, ids := range map[string][]string{"remove": s.Remove, "suspend": s.Suspend, "resume": s.Resume} {
		for i, id := range ids {
			if find(id) == nil {
				return notThere(fmt.Sprintf("%s[%d]", field, i), id, "person")
			}
		}
	}
	for id, roles := range s.Roles {
		p := find(id)
		if p == nil {
			return notThere("roles", id, "person")
		}
		if err := people.CheckRoles(roles); err != nil {
			return err
		}
	}
	for i, n := range s.Add {
		field := fmt.Sprintf("add[%d].", i)
		if find(n.ID) != nil || slices.ContainsFunc(s.Add[:i], func(m Newcomer) bool { return m.ID == n.ID }) {
			return &key.FieldError{Field: field + "id", Problem: "taken", Allowed: "an id that nobody has"}
		}
		if err := key.First([]error{key.CheckID(field+"id", n.ID), people.CheckRoles(n.Roles), key.CheckText(field+"team", n.Team, 64, false),
			key.CheckText(field+"site", n.Site, 64, false), key.CheckText(field+"manager", n.Manager, 128, true)}); err != nil {
			return err
		}
	}
	return s.checkSets(find, sets)
}

func notThere(field, id, what string) error {
	return &key.FieldError{Field: field, Problem: fmt.Sprintf("%.64q is not known", id), Allowed: "the id of a registered " + what}
}

func (s *Supposition) checkSets(find people.Lookup, sets []*people.ShareSet) error {
	joins := func(id string) bool { return slices.ContainsFunc(s.Add, func(n Newcomer) bool { return n.ID == id }) }
	for id, would := range s.Sets {
		if !slices.ContainsFunc(sets, func(set *people.ShareSet) bool { return set.ID == id }) {
			return notThere("share_sets", id, "share set")
		}
		field := "share_sets." + id
		if err := key.First([]error{key.CheckRange(field+".holders", len(would.Holders), 1, people.MaxShares, "holders"),
			key.CheckRange(field+".threshold", would.Threshold, 1, people.MaxShares, "shares")}); err != nil {
			return err
		}
		for i, holder := range would.Holders {
			at := fmt.Sprintf("%s.holders[%d]", field, i)
			if find(holder) == nil && !joins(holder) {
				return notThere(at, holder, "person")
			}
			if slices.Contains(would.Holders[:i], holder) {
				return &key.FieldError{Field: at, Problem: "repeats", Allowed: "one share a person and set"}
			}
		}
	}
	return nil
}

// Change is how each person of the register would stand; nil for one who would be gone.
func (s *Supposition) Change(p *people.Person) *people.Person {
	own := *p
	switch {
	case slices.Contains(s.Remove, p.ID):
		own.Status = people.StatusLeft // still above whom they are above
	case slices.Contains(s.Suspend, p.ID):
		own.Status = people.StatusSuspended
	case slices.Contains(s.Resume, p.ID):
		own.Status, own.SuspendedAt = people.StatusActive, nil
	}
	if roles, changed := s.Roles[p.ID]; changed {
		own.Roles = roles
	}
	return &own
}

// Added are the newcomers, with a key of their own.
func (s *Supposition) Added() []*people.Person {
	var out []*people.Person
	for _, n := range s.Add {
		out = append(out, &people.Person{ID: n.ID, Name: n.ID, Roles: n.Roles, Team: n.Team, Site: n.Site, Manager: n.Manager,
			Status: people.StatusActive, ApprovalKeys: []people.Credential{{ID: "supposed"}}})
	}
	return out
}

// Holdings are the share sets that would be held otherwise.
func (s *Supposition) Holdings() map[string]Holding {
	out := map[string]Holding{}
	for id, would := range s.Sets {
		out[id] = Holding{Threshold: would.Threshold, Total: len(would.Holders), Holders: would.Holders}
	}
	return out
}

// Simulation is what a supposition comes to: approvals and shares together, before and after.
type Simulation struct {
	Assumes    string            `json:"assumes"`
	Refused    []policies.Reason `json:"refused"` // why such a change would be refused; empty: it would not, for want of a quorum
	Sets       []SetChange       `json:"share_sets"`
	Operations []Change          `json:"operations"`
}

// Assumption is what simulations take for granted.
const Assumption = "everybody who is active signs the acknowledgement of duties, confirms their share and has a key to sign with"

// SetChange is one share set before and after.
type SetChange struct {
	Set    string   `json:"share_set"`
	Opens  string   `json:"opens"`
	Before SetStand `json:"before"`
	After  SetStand `json:"after"`
}

// SetStand is how a set stands.
type SetStand struct {
	Threshold int      `json:"threshold"`
	Total     int      `json:"total"`
	Holders   []string `json:"holders"`         // who could bring a share
	Survives  int      `json:"losses_survived"` // negative: the quorum cannot be reached
	Sizing    Sizing   `json:"sizing"`
}

// Change is one operation before and after.
type Change struct {
	Operation string         `json:"operation"`
	Target    string         `json:"target,omitempty"`
	Set       string         `json:"share_set,omitempty"`
	Class     policies.Class `json:"class,omitempty"`
	Before    Stand          `json:"before"`
	After     Stand          `json:"after"`
	Verdict   string         `json:"verdict"` // "lost", "weaker", "same", "stronger", "regained"
}

// Stand is how an operation stands.
type Stand struct {
	Ready  bool   `json:"ready"`
	Lack   string `json:"lack,omitempty"`
	Losses Losses `json:"losses"`
}

// Simulate compares the register with what a supposition makes of it. Why it would be refused is for the caller to
// add: that is judged by the operations themselves.
func Simulate(ctx context.Context, f Facts, s *Supposition) (*Simulation, error) {
	held := Holdings(f.Sets, f.Shares)
	before := NewRegister(f.People, held, time.Time{})
	supposed := s.Added()
	for _, p := range f.People {
		supposed = append(supposed, s.Change(p))
	}
	would := Holdings(f.Sets, f.Shares)
	for id, h := range s.Holdings() {
		would[id] = h
	}
	after := NewRegister(supposed, would, time.Time{})
	table := NewTable(f.Policy, f.Mode, f.Now)
	was, err := before.outlooks(ctx, table, f.Operations, f.Sets)
	if err != nil {
		return nil, err
	}
	if f.Then != nil {
		table = NewTable(f.Then, f.Mode, f.Now)
	}
	is, err := after.outlooks(ctx, table, f.Operations, f.Sets)
	if err != nil {
		return nil, err
	}
	out := &Simulation{Assumes: Assumption, Refused: []policies.Reason{}, Sets: []SetChange{}, Operations: []Change{}}
	for _, set := range f.Sets {
		out.Sets = append(out.Sets, SetChange{Set: set.ID, Opens: set.Opens(), Before: before.stand(set.ID), After: after.stand(set.ID)})
	}
	earlier := map[string]Outlook{}
	for _, o := range was {
		earlier[o.Matter()] = o
	}
	for _, o := range is {
		if o.Class == policies.PreAuthorised {
			continue
		}
		before := earlier[o.Matter()]
		c := Change{Operation: o.Operation, Target: o.Target, Set: o.Set, Class: o.Class,
			Before: Stand{before.Ready, before.Lack, before.Losses}, After: Stand{o.Ready, o.Lack, o.Losses}}
		c.Verdict = verdictOf(c.Before, c.After)
		out.Operations = append(out.Operations, c)
	}
	return out, nil
}

func verdictOf(before, after Stand) string {
	switch was, is := before.Losses, after.Losses; {
	case before.Ready && !after.Ready:
		return "lost"
	case !before.Ready && after.Ready:
		return "regained"
	case is.Survived < was.Survived:
		return "weaker"
	case is.Survived > was.Survived:
		return "stronger"
	}
	return "same"
}

// stand is how a set stands in a register: whose shares would count.
func (r *Register) stand(id string) SetStand {
	h := r.sets[id]
	out := SetStand{Threshold: h.Threshold, Total: h.Total, Holders: []string{}}
	var sites []string
	for _, m := range r.members {
		if slices.Contains(h.Holders, m.person.ID) && m.person.Has(people.RoleCustodian) {
			out.Holders = append(out.Holders, m.person.ID)
			sites = append(sites, m.person.Site)
		}
	}
	out.Survives = len(out.Holders) - h.Threshold
	out.Sizing = Size(h.Threshold, h.Total, sites)
	return out
}
