package quorum

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"conclave/custodian/people"
	"conclave/policies"
)

// seat is one person as one requirement sees them.
type seat struct {
	member   int  // index in the register
	asks     bool // may propose
	approves bool // an approval would count
	attends  bool // could be the witness
	roles    uint64
	team     string
	site     string
}

// panel is one requirement and everybody who matters to it. An operation has several when what it takes depends on
// who asks.
type panel struct {
	register *Register
	takes    policies.QuorumDecision
	need     int  // approvals
	node     bool // the node may ask: nobody is spent on asking
	alone    bool // whoever asks acts alone, or nobody at all is needed
	nobody   bool // rests on an earlier decision
	seats    []seat
}

// panels sorts the register by what a case takes. Errors are Table's.
func (r *Register) panels(ctx context.Context, t *Table, c Case) ([]*panel, error) {
	byTakes := map[string]*panel{}
	var order []*panel
	place := func(roles []people.Role) (*panel, error) {
		takes, allowed, err := t.Takes(ctx, c, roles)
		if err != nil || !allowed {
			return nil, err
		}
		takes.Reasons, takes.Denials = nil, nil
		key := fmt.Sprintf("%+v", takes)
		if byTakes[key] == nil {
			byTakes[key] = r.newPanel(takes, c)
			order = append(order, byTakes[key])
		}
		return byTakes[key], nil
	}
	p, err := place(nil)
	if err != nil {
		return nil, err
	}
	if p != nil {
		p.node = true
	}
	asked := make([]*panel, len(r.roles))
	for i, roles := range r.roles {
		if asked[i], err = place(roles); err != nil {
			return nil, err
		}
	}
	for i := range r.members {
		m := &r.members[i]
		if p := asked[m.roles]; p != nil && m.mayAsk(p.takes) {
			p.sit(i).asks = true
		}
	}
	for _, p := range order {
		p.fill(c)
	}
	return order, nil
}

// mayAsk: restricting, bringing shares and one's own duties are not held up by an acknowledgement, nor is what a
// witness or an auditor does directly in that role; all else is.
func (m *member) mayAsk(takes policies.QuorumDecision) bool {
	if m.bound || takes.Class == policies.Protective || takes.Class == policies.Attended {
		return true
	}
	return takes.Class == policies.Direct && (takes.OwnerOnly || slices.ContainsFunc(takes.ProposerRoles, func(r string) bool {
		return !people.NeedsAcknowledgement(people.Role(r)) && m.person.Has(people.Role(r))
	}))
}

// leastHolders is how many people the engine lets bring shares at least, whatever policy and threshold say.
const leastHolders = 2

func (r *Register) newPanel(takes policies.QuorumDecision, c Case) *panel {
	p := &panel{register: r, takes: takes, need: takes.Approvals}
	switch takes.Class {
	case policies.Attended:
		p.need = max(takes.Approvals, c.Threshold, leastHolders)
	case policies.Protective, policies.Direct:
		p.need, p.alone = 0, true
	case policies.PreAuthorised:
		p.need, p.nobody = 0, true
	}
	return p
}

// sit seats a member, who has no seat here yet.
func (p *panel) sit(m int) *seat {
	who := p.register.members[m].person
	p.seats = append(p.seats, seat{member: m, team: who.Team, site: who.Site})
	return &p.seats[len(p.seats)-1]
}

// fill seats approvers and witnesses.
func (p *panel) fill(c Case) {
	if p.alone || p.nobody {
		return
	}
	at := make(map[int]int, len(p.seats))
	for i := range p.seats {
		at[p.seats[i].member] = i
	}
	for i := range p.register.members {
		m := &p.register.members[i]
		approves := m.bound && m.holdsAny(p.takes.ApproverRoles) && (c.Set == "" || slices.Contains(p.register.sets[c.Set].Holders, m.person.ID))
		attends := p.takes.Witness && m.person.Has(people.RoleWitness)
		if !approves && !attends {
			continue
		}
		var s *seat
		if j, seated := at[i]; seated {
			s = &p.seats[j]
		} else {
			s = p.sit(i)
		}
		s.approves, s.attends = approves, attends
		for k, role := range p.takes.Roles {
			if approves && k < 64 && m.person.Has(people.Role(role.Role)) {
				s.roles |= 1 << k
			}
		}
	}
}

func (m *member) holdsAny(roles []string) bool {
	return len(roles) == 0 || slices.ContainsFunc(roles, func(r string) bool { return m.person.Has(people.Role(r)) })
}

// below says whether an approver reports to whoever asks.
func (p *panel) below(approver, asks *seat) bool {
	if !p.takes.Diversity.ReportingLine || asks == nil {
		return false
	}
	return slices.Contains(p.register.members[approver.member].line, p.register.members[asks.member].person.ID)
}

// without tells which seats are empty.
type without func(i int) bool

// lack says what a quorum would lack if some seats were empty: "" when the rest suffices. Everybody approving is the
// most there can be, but for a witness, who takes no other part; so nothing else need be tried.
func (p *panel) lack(gone without) string {
	if p.nobody {
		return ""
	}
	if p.node {
		if p.lackFor(-1, gone) == "" {
			return ""
		}
	}
	words := "nobody is left who may ask for it"
	for i := range p.seats {
		if !p.seats[i].asks || gone(i) {
			continue
		}
		if words = p.lackFor(i, gone); words == "" {
			return ""
		}
		if !p.spends() {
			break // whoever else asks finds the same people
		}
	}
	return words
}

// spends: whoever asks takes no other part. In attended operations the node is the requester, whoever called for it.
func (p *panel) spends() bool { return p.takes.Class != policies.Attended }

// lackFor is lack with one requester, -1 for the node.
func (p *panel) lackFor(self int, gone without) string {
	if p.alone {
		return ""
	}
	var asks *seat
	if self >= 0 && p.spends() {
		asks = &p.seats[self]
	} else {
		self = -1
	}
	free := func(i int) bool { return i != self && !gone(i) }
	if !p.takes.Witness {
		return p.short(asks, func(i int) bool { return !free(i) })
	}
	words := "nobody else is left with role witness"
	for w := range p.seats {
		if !p.seats[w].attends || !free(w) {
			continue
		}
		words = p.short(asks, func(i int) bool { return i == w || !free(i) })
		if words == "" || !p.seats[w].approves {
			return words // a witness who approves nothing anyway costs the quorum nothing: no other does better
		}
	}
	return words
}

// short says what the approvals of all seats but some lack.
func (p *panel) short(asks *seat, gone without) string {
	n := 0
	counts := make([]int, len(p.takes.Roles))
	teams, sites := spread{}, spread{}
	if asks != nil {
		teams.add(asks.team)
		sites.add(asks.site)
	}
	for i := range p.seats {
		s := &p.seats[i]
		if !s.approves || gone(i) || p.below(s, asks) {
			continue
		}
		n++
		for k := range counts {
			if s.roles&(1<<k) != 0 {
				counts[k]++
			}
		}
		if p.takes.Diversity.Teams > 1 {
			teams.add(s.team)
		}
		if p.takes.Diversity.Sites > 1 {
			sites.add(s.site)
		}
	}
	if n < p.need {
		return fmt.Sprintf("%d of the %d approvals that it takes are left", n, p.need)
	}
	for k, r := range p.takes.Roles {
		if counts[k] < r.Count {
			return fmt.Sprintf("nobody else is left with role %s", strings.ReplaceAll(r.Role, "-", " "))
		}
	}
	if p.takes.Diversity.Teams > max(1, len(teams)) || p.takes.Diversity.Sites > max(1, len(sites)) {
		return "those left are of too few teams or sites"
	}
	return ""
}

// spread is a small set of places.
type spread []string

func (s *spread) add(place string) {
	if !slices.Contains(*s, place) {
		*s = append(*s, place)
	}
}

// Lack says what a quorum for a case would lack with these people; "" when they suffice, one of whom asks.
func (r *Register) Lack(ctx context.Context, t *Table, c Case) (string, error) {
	panels, err := r.panels(ctx, t, c)
	if err != nil {
		return "", err
	}
	words := "nobody is left who may ask for it"
	for _, p := range panels {
		if words = p.lack(func(int) bool { return false }); words == "" {
			return "", nil
		}
	}
	return words, nil
}
