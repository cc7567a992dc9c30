package quorum

import (
	"cmp"
	"slices"
	"time"

	"conclave/custodian/people"
)

// Holding is who could bring a share of a set.
type Holding struct {
	Threshold int
	Total     int
	Holders   []string // person ids, each once: custody of a usable share of the current epoch
}

// Register is the people of an instance and their shares at one moment, as they are or as somebody supposes them.
// It is immutable.
type Register struct {
	members []member // who is active and has a key to sign with, in order of id
	find    people.Lookup
	sets    map[string]Holding
	leads   map[string]bool // who is above somebody
	roles   [][]people.Role // the different sets of roles
}

// member is somebody who could take part now.
type member struct {
	person *people.Person
	bound  bool     // by an acknowledgement in force
	line   []string // the managers above, nearest first
	roles  int      // index among the register's sets of roles
}

// NewRegister takes all people of a register, whatever their status, and the holders of every share set. Whoever is
// not active or has no key left to sign with takes no part. now judges acknowledgements; the zero time counts
// everybody as bound by one, since everybody can sign their own.
func NewRegister(all []*people.Person, sets map[string]Holding, now time.Time) *Register {
	r := &Register{find: people.Among(all), sets: sets, leads: map[string]bool{}}
	for _, p := range all {
		if people.Present(p) == nil && signs(p) {
			m := member{person: p, bound: now.IsZero() || people.Acknowledged(p, now) == nil, line: people.Line(p, r.find)}
			for _, above := range m.line {
				r.leads[above] = true
			}
			m.roles = r.roleSet(p.Roles)
			r.members = append(r.members, m)
		}
	}
	slices.SortFunc(r.members, func(a, b member) int { return cmp.Compare(a.person.ID, b.person.ID) })
	return r
}

// roleSet finds or adds a set of roles.
func (r *Register) roleSet(roles []people.Role) int {
	sorted := append([]people.Role{}, roles...)
	slices.Sort(sorted)
	if i := slices.IndexFunc(r.roles, func(have []people.Role) bool { return slices.Equal(have, sorted) }); i >= 0 {
		return i
	}
	r.roles = append(r.roles, sorted)
	return len(r.roles) - 1
}

// signs: somebody whose keys are all revoked can say neither yes nor no.
func signs(p *people.Person) bool {
	return slices.ContainsFunc(p.ApprovalKeys, func(c people.Credential) bool { return !c.Revoked })
}

// Holdings finds the holders of every set among the lines of the custody register.
func Holdings(sets []*people.ShareSet, shares []*people.Share) map[string]Holding {
	out := make(map[string]Holding, len(sets))
	for _, set := range sets {
		h := Holding{Threshold: set.Threshold, Total: set.Total}
		for _, s := range shares {
			if s.Usable(set) && !slices.Contains(h.Holders, s.Custodian) {
				h.Holders = append(h.Holders, s.Custodian)
			}
		}
		slices.Sort(h.Holders)
		out[set.ID] = h
	}
	return out
}
