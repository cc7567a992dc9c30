package quorum

import (
	"fmt"
	"slices"
	"strings"
)

// Bounds of the search for the fewest people whose loss stops an operation.
const (
	// MaxLosses is how many losses are looked at: an operation that survives as many is said to survive at least
	// those. Nobody plans for more at once.
	MaxLosses = 6
	// maxSteps bounds the quorums that are tried for one operation. Beyond it the answer is the number of losses
	// that was proved to be survived, said to be a least one.
	maxSteps = 20_000
)

// Losses is how many people, whoever they are, an operation can lose and still find a quorum.
type Losses struct {
	// Survived is -1 when no quorum can be found as it is.
	Survived int `json:"survived"`
	// AtLeast: it survives more than was looked at.
	AtLeast bool `json:"at_least,omitempty"`
	// Critical are people whose loss together, one more than survived, stops it; one such group of perhaps several.
	// Empty with AtLeast, and when nothing can be found as it is.
	Critical []string `json:"critical,omitempty"`
}

// losses finds the fewest people who between them have a part in every possible quorum: the smallest hitting set,
// by iterative deepening. Any such group has a member in any one quorum, so that trying the members of a quorum
// found, one after the other, misses none. People whom nothing tells apart are lost in a fixed order, and only as
// many of them as could matter are looked at.
func losses(panels []*panel) Losses {
	s := newSearch(panels)
	if s.quorum() == nil {
		return Losses{Survived: -1}
	}
	for depth := 1; depth <= MaxLosses; depth++ {
		s.seen = map[string]bool{}
		switch s.stops(depth) {
		case yes:
			slices.Sort(s.critical)
			return Losses{Survived: depth - 1, Critical: s.critical}
		case unknown:
			return Losses{Survived: depth - 1, AtLeast: true}
		}
	}
	return Losses{Survived: MaxLosses, AtLeast: true}
}

type verdict int

const (
	no verdict = iota
	yes
	unknown
)

// search is a state of losing people.
type search struct {
	panels   []*panel
	gone     map[int]bool // members lost, by index in the register
	class    map[int]int  // member to class of people whom nothing tells apart
	members  [][]int      // of each class, in order
	lost     []int        // of each class
	seen     map[string]bool
	steps    int
	critical []string
}

func newSearch(panels []*panel) *search {
	s := &search{gone: map[int]bool{}, class: map[int]int{}}
	signature := map[int]*strings.Builder{}
	var order []int
	for i, p := range panels {
		for j := range p.seats {
			seat := &p.seats[j]
			if signature[seat.member] == nil {
				signature[seat.member] = &strings.Builder{}
				order = append(order, seat.member)
			}
			fmt.Fprintf(signature[seat.member], "%d:%s;", i, p.signature(seat))
		}
	}
	slices.Sort(order)
	classes := map[string]int{}
	for _, m := range order {
		text := signature[m].String()
		c, known := classes[text]
		if !known {
			c = len(s.members)
			classes[text] = c
			s.members = append(s.members, nil)
		}
		s.class[m] = c
		s.members[c] = append(s.members[c], m)
	}
	s.lost = make([]int, len(s.members))
	s.panels = s.reduce(panels)
	return s
}

// signature is all by which a panel tells two people apart.
func (p *panel) signature(s *seat) string {
	team, site, line := "", "", ""
	if p.takes.Diversity.Teams > 1 {
		team = s.team
	}
	if p.takes.Diversity.Sites > 1 {
		site = s.site
	}
	if p.takes.Diversity.ReportingLine && (s.approves || s.asks) {
		m := &p.register.members[s.member]
		line = strings.Join(m.line, "\x01")
		if p.register.leads[m.person.ID] { // nobody is like somebody to whom others report
			line += "\x02" + m.person.ID
		}
	}
	return fmt.Sprintf("%t%t%t%x %q %q %q", s.asks, s.approves, s.attends, s.roles, team, site, line)
}

// reduce leaves of every class as many as could matter: those that may be lost and those that one quorum takes.
func (s *search) reduce(panels []*panel) []*panel {
	most := 0
	for _, p := range panels {
		n := p.need + 2 + p.takes.Diversity.Teams + p.takes.Diversity.Sites
		for _, r := range p.takes.Roles {
			n += r.Count
		}
		most = max(most, n)
	}
	keep := map[int]bool{}
	for c, members := range s.members {
		s.members[c] = members[:min(len(members), most+MaxLosses)]
		for _, m := range s.members[c] {
			keep[m] = true
		}
	}
	out := make([]*panel, len(panels))
	for i, p := range panels {
		own := *p
		own.seats = nil
		for _, seat := range p.seats {
			if keep[seat.member] {
				own.seats = append(own.seats, seat)
			}
		}
		out[i] = &own
	}
	return out
}

// stops says whether losing so many more people stops every panel.
func (s *search) stops(depth int) verdict {
	if s.steps++; s.steps > maxSteps {
		return unknown
	}
	q := s.quorum()
	if q == nil {
		for m := range s.gone {
			s.critical = append(s.critical, s.panels[0].register.members[m].person.ID)
		}
		return yes
	}
	if depth == 0 {
		return no
	}
	tried := map[int]bool{}
	for _, m := range q {
		c := s.class[m]
		if tried[c] {
			continue
		}
		tried[c] = true
		next := s.members[c][s.lost[c]] // the members of a class go in order: m is no worse than the first left
		s.lost[c]++
		s.gone[next] = true
		v := no
		if key := fmt.Sprint(s.lost); !s.seen[key] {
			s.seen[key] = true
			v = s.stops(depth - 1)
		}
		delete(s.gone, next)
		s.lost[c]--
		if v != no {
			return v
		}
	}
	return no
}

// quorum finds people who suffice, nil when nobody left does. Empty, not nil, where nobody is needed.
func (s *search) quorum() []int {
	for _, p := range s.panels {
		if q := p.quorum(func(i int) bool { return s.gone[p.seats[i].member] }); q != nil {
			return q
		}
	}
	return nil
}

// quorum is a smallest possible choice of people who suffice: register indexes.
func (p *panel) quorum(gone without) []int {
	if p.nobody {
		return []int{}
	}
	if p.node {
		if q := p.quorumOf(-1, gone); q != nil {
			return q
		}
	}
	for i := range p.seats {
		if !p.seats[i].asks || gone(i) {
			continue
		}
		if q := p.quorumOf(i, gone); q != nil {
			return q
		}
		if !p.spends() {
			break
		}
	}
	return nil
}

// quorumOf is quorum with one requester.
func (p *panel) quorumOf(self int, gone without) []int {
	q := []int{}
	if self >= 0 {
		q = append(q, p.seats[self].member)
	}
	if p.alone {
		return q
	}
	if p.lackFor(self, gone) != "" {
		return nil
	}
	chosen := map[int]bool{}
	var asks *seat
	if self >= 0 && p.spends() {
		asks, chosen[self] = &p.seats[self], true
	}
	if p.takes.Witness {
		w := p.witness(asks, chosen, gone)
		chosen[w] = true
		q = append(q, p.seats[w].member)
	}
	for _, i := range p.choose(asks, func(i int) bool { return chosen[i] || gone(i) }) {
		if m := p.seats[i].member; !slices.Contains(q, m) {
			q = append(q, m)
		}
	}
	return q
}

// witness is somebody whose attendance leaves a quorum; there is one.
func (p *panel) witness(asks *seat, taken map[int]bool, gone without) int {
	best := -1
	for w := range p.seats {
		if !p.seats[w].attends || taken[w] || gone(w) {
			continue
		}
		if !p.seats[w].approves {
			return w
		}
		if p.short(asks, func(i int) bool { return i == w || taken[i] || gone(i) }) == "" {
			best = w
		}
	}
	return best
}

// choose picks approvers who satisfy roles and diversity, few of them: whoever brings most of what is still missing.
func (p *panel) choose(asks *seat, gone without) []int {
	var out []int
	taken := map[int]bool{}
	missing := make([]int, len(p.takes.Roles))
	for k, r := range p.takes.Roles {
		missing[k] = r.Count
	}
	teams, sites := spread{}, spread{}
	if asks != nil {
		teams.add(asks.team)
		sites.add(asks.site)
	}
	for {
		best, most := -1, -1
		for i := range p.seats {
			s := &p.seats[i]
			if !s.approves || taken[i] || gone(i) || p.below(s, asks) {
				continue
			}
			worth := 0
			for k := range missing {
				if missing[k] > 0 && s.roles&(1<<k) != 0 {
					worth += 4
				}
			}
			if len(teams) < p.takes.Diversity.Teams && !slices.Contains(teams, s.team) {
				worth += 2
			}
			if len(sites) < p.takes.Diversity.Sites && !slices.Contains(sites, s.site) {
				worth += 2
			}
			if worth > most {
				best, most = i, worth
			}
		}
		if best < 0 || most == 0 && len(out) >= p.need {
			return out
		}
		s := &p.seats[best]
		taken[best] = true
		out = append(out, best)
		for k := range missing {
			if s.roles&(1<<k) != 0 {
				missing[k]--
			}
		}
		teams.add(s.team)
		sites.add(s.site)
	}
}
