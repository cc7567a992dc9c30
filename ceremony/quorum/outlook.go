package quorum

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"conclave/custodian/people"
	"conclave/policies"
)

// Place is a site, a team or a reporting line.
type Place struct {
	Kind string `json:"kind"` // "site", "team", "line"
	Name string `json:"name"` // for a line, who leads it
}

// Outlook is how one operation on one kind of target stands.
type Outlook struct {
	Operation string         `json:"operation"`
	Target    string         `json:"target,omitempty"`    // "protected" or "unprotected"; "" where no key is touched
	Set       string         `json:"share_set,omitempty"` // whose shares are brought
	Class     policies.Class `json:"class,omitempty"`     // "" where policy names no usable quorum
	Ready     bool           `json:"ready"`
	Lack      string         `json:"lack,omitempty"` // what is missing, in words; "" when ready
	Losses    Losses         `json:"losses"`
	// CanAsk, CanApprove and CanAttend are how many people could take each part now.
	CanAsk     int `json:"can_ask"`
	CanApprove int `json:"can_approve"`
	CanAttend  int `json:"can_attend,omitempty"`
	// Act are places whose people alone could do it, where it takes several people; Block those without which nobody
	// else could.
	Act   []Place `json:"act_alone,omitempty"`
	Block []Place `json:"block_alone,omitempty"`
	// Requesters is how it stands with each person who may ask; only where it is asked for.
	Requesters []Asking `json:"requesters,omitempty"`
	Approvers  []string `json:"approvers,omitempty"` // who could approve; only where it is asked for
	Witnesses  []string `json:"witnesses,omitempty"` // who could attend; only where it is asked for
}

// Asking is how an operation stands when one person asks for it.
type Asking struct {
	Person    string `json:"person"`
	Ready     bool   `json:"ready"`
	Lack      string `json:"lack,omitempty"`
	Approvers int    `json:"approvers"` // others whose approval would count
}

// Level is how near an operation is to being out of reach.
type Level string

const (
	Lost     Level = "lost"     // no quorum can be found
	NoSpare  Level = "no-spare" // the loss of one person more puts it out of reach
	Spare    Level = "spare"
	NoPeople Level = "no-people" // rests on an earlier decision and takes nobody
)

// Level says how near it is.
func (o Outlook) Level() Level {
	switch {
	case o.Class == policies.PreAuthorised:
		return NoPeople
	case !o.Ready:
		return Lost
	case o.Losses.Survived == 0 && !o.Losses.AtLeast:
		return NoSpare
	}
	return Spare
}

// assessor judges cases under one register and policy. Operations that take the same of the same people are judged
// once.
type assessor struct {
	register *Register
	table    *Table
	places   []located
	known    map[string]Outlook
}

// located is a place and its members, by index in the register.
type located struct {
	Place
	members []int
}

func (r *Register) assess(t *Table) *assessor {
	return &assessor{register: r, table: t, places: r.places(), known: map[string]Outlook{}}
}

// places are all sites and teams, and the lines of two people or more: a line of one is the person.
func (r *Register) places() []located {
	members := map[Place][]int{}
	for i, m := range r.members {
		members[Place{"site", m.person.Site}] = append(members[Place{"site", m.person.Site}], i)
		members[Place{"team", m.person.Team}] = append(members[Place{"team", m.person.Team}], i)
		for _, above := range append(slices.Clone(m.line), m.person.ID) {
			members[Place{"line", above}] = append(members[Place{"line", above}], i)
		}
	}
	var out []located
	for place, who := range members {
		if place.Name != "" && (place.Kind != "line" || len(who) > 1) {
			out = append(out, located{place, who})
		}
	}
	slices.SortFunc(out, func(a, b located) int { return strings.Compare(a.Kind+"\x00"+a.Name, b.Kind+"\x00"+b.Name) })
	return out
}

// outlook judges one case.
func (a *assessor) outlook(ctx context.Context, c Case, target string) (Outlook, error) {
	panels, err := a.register.panels(ctx, a.table, c)
	if err != nil {
		return Outlook{}, err
	}
	key := fingerprint(panels)
	o, known := a.known[key]
	if !known {
		o = a.judge(panels)
		a.known[key] = o
	}
	o.Operation, o.Target, o.Set = c.Operation, target, c.Set
	return o, nil
}

// fingerprint is equal for cases that take the same of the same people.
func fingerprint(panels []*panel) string {
	var b strings.Builder
	for _, p := range panels {
		takes := p.takes
		takes.Operation = ""
		fmt.Fprintf(&b, "%+v %d %t %v\n", takes, p.need, p.node, p.seats)
	}
	return b.String()
}

func nobody(int) bool { return false }

func (a *assessor) judge(panels []*panel) Outlook {
	o := Outlook{Lack: "policy lets nobody ask for it"}
	ask, approve, attend := map[int]bool{}, map[int]bool{}, map[int]bool{}
	for _, p := range panels {
		o.Class = p.takes.Class
		for i := range p.seats {
			s := &p.seats[i]
			mark(ask, s.member, s.asks)
			mark(approve, s.member, s.approves)
			mark(attend, s.member, s.attends)
		}
		if !o.Ready {
			o.Lack = p.lack(nobody)
			o.Ready = o.Lack == ""
		}
	}
	o.CanAsk, o.CanApprove, o.CanAttend = len(ask), len(approve), len(attend)
	o.Losses = losses(panels)
	if o.Ready && o.Class != policies.PreAuthorised {
		a.judgePlaces(panels, &o)
	}
	return o
}

func mark(set map[int]bool, member int, in bool) {
	if in {
		set[member] = true
	}
}

// judgePlaces finds who could act or block alone.
func (a *assessor) judgePlaces(panels []*panel, o *Outlook) {
	inside := make([]bool, len(a.register.members))
	for _, place := range a.places {
		for _, m := range place.members {
			inside[m] = true
		}
		blocks, acts := true, false
		for _, p := range panels {
			blocks = blocks && p.lack(func(i int) bool { return inside[p.seats[i].member] }) != ""
			acts = acts || !p.alone && p.within(inside).lack(nobody) == ""
		}
		if blocks {
			o.Block = append(o.Block, place.Place)
		}
		if acts {
			o.Act = append(o.Act, place.Place)
		}
		for _, m := range place.members {
			inside[m] = false
		}
	}
}

// within is a panel of those inside alone; the node belongs to no place.
func (p *panel) within(inside []bool) *panel {
	own := *p
	own.seats = nil
	for _, s := range p.seats {
		if inside[s.member] {
			own.seats = append(own.seats, s)
		}
	}
	return &own
}

// detail adds who they are.
func (a *assessor) detail(ctx context.Context, c Case, o *Outlook) error {
	panels, err := a.register.panels(ctx, a.table, c)
	if err != nil {
		return err
	}
	approve, attend := map[int]bool{}, map[int]bool{}
	for _, p := range panels {
		for i := range p.seats {
			s := &p.seats[i]
			mark(approve, s.member, s.approves)
			mark(attend, s.member, s.attends)
			if !s.asks {
				continue
			}
			lack := p.lackFor(i, nobody)
			n := 0
			for j := range p.seats {
				if p.seats[j].approves && (j != i || !p.spends()) && !(p.spends() && p.below(&p.seats[j], s)) {
					n++
				}
			}
			o.Requesters = append(o.Requesters, Asking{Person: a.register.members[s.member].person.ID, Ready: lack == "", Lack: lack, Approvers: n})
		}
	}
	slices.SortFunc(o.Requesters, func(x, y Asking) int { return strings.Compare(x.Person, y.Person) })
	o.Approvers, o.Witnesses = a.names(approve), a.names(attend)
	return nil
}

func (a *assessor) names(members map[int]bool) []string {
	var out []string
	for m := range members {
		out = append(out, a.register.members[m].person.ID)
	}
	slices.Sort(out)
	return out
}

// cases are what a list of operations comes to: with and without keys of a protected class where keys are touched,
// and for every share set where shares are brought. The second result names the target of each.
func (r *Register) cases(ctx context.Context, t *Table, operations []string, sets []*people.ShareSet) ([]Case, []string, error) {
	var out []Case
	var targets []string
	for _, op := range operations {
		for _, kind := range kindsOf(op) {
			c := Case{Operation: op, TargetType: typeOf(op), Classifications: kind.classes, Threshold: leastHolders, Total: leastHolders + 1}
			attended, err := r.attended(ctx, t, c)
			if err != nil {
				return nil, nil, err
			}
			if !attended {
				c.Threshold, c.Total = 0, 0
				out, targets = append(out, c), append(targets, kind.name)
				continue
			}
			for _, set := range sets {
				if opensBackups(op) != (set.Purpose == people.PurposeBackup) {
					continue
				}
				c.Set, c.Threshold, c.Total = set.ID, set.Threshold, set.Total
				if h, supposed := r.sets[set.ID]; supposed {
					c.Threshold, c.Total = h.Threshold, h.Total
				}
				out, targets = append(out, c), append(targets, kind.name)
			}
		}
	}
	return out, targets, nil
}

// attended says whether shares are brought, whoever asks.
func (r *Register) attended(ctx context.Context, t *Table, c Case) (bool, error) {
	takes, _, err := t.Takes(ctx, c, people.Roles())
	return takes.Class == policies.Attended, err
}

func opensBackups(operation string) bool { return operation == "backup.open" || operation == "restore" }

type targetKind struct {
	name    string
	classes []string
}

// kindsOf are the kinds of targets that policy may tell apart: operations that touch keys are judged with a class
// that is protected and with one that is not.
func kindsOf(operation string) []targetKind {
	switch typeOf(operation) {
	case "key", "grant", "template":
	case "application":
		if operation != "application.enrol" {
			return []targetKind{{}}
		}
	default:
		return []targetKind{{}}
	}
	return []targetKind{{"protected", []string{"cardholder-data"}}, {"unprotected", []string{"internal"}}}
}

func typeOf(operation string) string {
	kind, _, _ := strings.Cut(operation, ".")
	return kind
}
