package judge

import (
	"context"
	"fmt"
	"slices"

	"conclave/custodian/access"
	"conclave/custodian/amount"
	"conclave/custodian/people"
	"conclave/reports/control"
)

// leastApprovals is the floor of two distinct people beside the requester that holds below any policy outside
// development mode.
const leastApprovals = 2

// DualControl judges 3.7.6 on every governed and every attended ceremony completed in the period.
func DualControl(_ context.Context, ev *control.Evidence) control.Result {
	governed := control.NewTable("Governed operations completed in the period: dual control",
		control.Column{Name: "ceremony", Type: control.ID}, control.Column{Name: "operation", Type: control.Text},
		control.Column{Name: "target", Type: control.ID}, control.Column{Name: "requester", Type: control.ID},
		control.Column{Name: "demanded", Type: control.Integer}, control.Column{Name: "approved by", Type: control.Text},
		control.Column{Name: "completed", Type: control.Instant})
	attended := control.NewTable("Attended operations completed in the period: split knowledge",
		control.Column{Name: "ceremony", Type: control.ID}, control.Column{Name: "operation", Type: control.Text},
		control.Column{Name: "share set", Type: control.ID}, control.Column{Name: "threshold", Type: control.Integer},
		control.Column{Name: "shares brought by", Type: control.Text}, control.Column{Name: "completed", Type: control.Instant})
	single := control.NewTable("Operations without approvals by others, and operations whose outcome is not known",
		control.Column{Name: "ceremony", Type: control.ID}, control.Column{Name: "operation", Type: control.Text},
		control.Column{Name: "class", Type: control.Text}, control.Column{Name: "target", Type: control.ID},
		control.Column{Name: "by", Type: control.ID}, control.Column{Name: "completed", Type: control.Instant})
	for _, c := range ev.Ceremonies {
		if c.Value.State == "indeterminate" && !c.Value.ProposedAt.After(ev.Now) {
			single.Note(control.Attention, "its outcome is not known", control.Proves(c.Ref), c.Value.ID, c.Value.Operation, className(c.Value.Class),
				c.Value.Target.ID, c.Value.Requester.ID, "")
		}
		if c.Value.State != "completed" || c.Value.EndedAt == nil || !ev.InPeriod(*c.Value.EndedAt) {
			continue
		}
		switch c.Value.Class {
		case "G":
			addGoverned(ev, governed, c)
		case "S":
			addAttended(ev, attended, c)
		default:
			addSingle(ev, single, c)
		}
	}
	alone, reviews := unceremonious(ev), reviewTable(ev)
	return control.Conclude(control.Finding{
		Tables: []*control.Table{governed, attended, alone, reviews, single},
		Good: fmt.Sprintf("%s and %s completed in the period, each by as many different people as demanded; no key operation lacks its ceremony, whatever one person did alone was reviewed by another in time or still has time, and apart from protective restrictions nothing about the keys in scope was decided by one person alone.",
			amount.Of(governed.Total, "governed operation"), amount.Of(attended.Total, "attended operation")),
		Bad: fmt.Sprintf("%s by too few people; %s by too few holders; %s without a ceremony; %s on keys in scope by one person; %s not as demanded.", of(governed.Violating, governed.Total, "governed operation"),
			of(attended.Violating, attended.Total, "attended operation"), amount.Of(alone.Violating, "key operation"),
			amount.Of(single.Violating, "operation"), amount.Of(reviews.Violating, "review")),
		Holds: true,
		Empty: "No governed or attended operation was completed in the period, so dual control is not shown at work.",
		Doubt: "Some operations rest on development mode's lowered floor, or have an outcome that is not known. Who vouches for each of them, what came of it, " +
			"and why is an instance in development mode, if it is one, shown as evidence?",
		Unseen: ev.Events.Dropped(manualOperations...),
	})
}

func addGoverned(ev *control.Evidence, t *control.Table, c control.Record[control.Ceremony]) {
	var f control.Faults
	var approvers []string
	proof := control.Proves(c.Ref).And(span(c)...)
	for _, v := range c.Value.Votes {
		if v.Decision != "approve" || slices.Contains(approvers, v.Person) {
			continue // two credentials of one person are one voice
		}
		p := ev.Person(v.Person)
		switch {
		case !slices.Contains(c.Value.Approvers, v.Person):
			continue // did not count when it ran: suspended, not acknowledged or of another role by then
		case p == nil:
			f = append(f, v.Person+" is not in the register")
		case v.Person == c.Value.Requester.ID && c.Value.Requester.Kind == "human":
			f = append(f, v.Person+" approved their own request")
		case v.Person == c.Value.Requester.CalledBy:
			f = append(f, v.Person+" approved what they had called for")
		case slices.Contains(c.Value.Subjects, v.Person):
			f = append(f, v.Person+" approved a change about themselves")
		case !owns(p.Value, v.Credential):
			f = append(f, v.Person+" approved with a credential that is not theirs")
		default:
			approvers = append(approvers, v.Person)
			proof.Rows = append(proof.Rows, p.Ref)
		}
	}
	demanded := c.Value.Takes.Approvals
	f.Check(demanded >= 1, "no number of approvals was demanded")
	state := control.OK
	if demanded < leastApprovals && ev.Instance.Development() {
		state = control.Attention
	} else {
		f.Check(demanded >= leastApprovals, fmt.Sprintf("only %s %s demanded, the floor is %d", amount.Of(demanded, "approval"), amount.Verb(demanded, "was", "were"), leastApprovals))
	}
	f.Check(len(approvers) >= demanded, fmt.Sprintf("%s approved, %d were demanded", amount.Of(len(approvers), "person"), demanded))
	t.Add(state, f, proof, c.Value.ID, c.Value.Operation, c.Value.Target.ID, c.Value.Requester.ID, control.Int(demanded),
		list(approvers), control.Time(*c.Value.EndedAt))
}

func addAttended(ev *control.Evidence, t *control.Table, c control.Record[control.Ceremony]) {
	var f control.Faults
	var holders []string
	proof := control.Proves(c.Ref).And(span(c)...)
	for _, s := range c.Value.Shares {
		if slices.Contains(holders, s.Person) {
			f = append(f, s.Person+" brought more than one share")
			continue
		}
		p := ev.Person(s.Person)
		if p == nil {
			f = append(f, s.Person+" is not in the register")
			continue
		}
		proof.Rows = append(proof.Rows, p.Ref)
		f.Check(!has(p.Value, people.RoleAdministrator), s.Person+" is an administrator and brought a share")
		holders = append(holders, s.Person)
	}
	f.Check(c.Value.Threshold >= 2, fmt.Sprintf("a threshold of %d is no split knowledge", c.Value.Threshold))
	f.Check(len(holders) >= c.Value.Threshold, fmt.Sprintf("%s brought shares, %d were demanded", amount.Of(len(holders), "person"), c.Value.Threshold))
	t.Add(control.OK, f, proof, c.Value.ID, c.Value.Operation, c.Value.ShareSet, control.Int(c.Value.Threshold), list(holders), control.Time(*c.Value.EndedAt))
}

// addSingle lists what one person did by themselves, or what rests on an earlier decision. It decides nothing,
// unless it releases something of a key for account data: for those, policy demands others.
func addSingle(ev *control.Evidence, t *control.Table, c control.Record[control.Ceremony]) {
	class := className(c.Value.Class)
	var f control.Faults
	f.Check(class != "", fmt.Sprintf("class %q is unknown", c.Value.Class))
	f.Check(c.Value.Class != "D" || !aboutScope(ev, c.Value), "done by one person on one of the "+ev.Scope.Keys())
	f.Check(c.Value.Class != "A" || c.Value.Cites != "", "no earlier decision is cited")
	t.Add(control.Info, f, control.Proves(c.Ref).And(span(c)...), c.Value.ID, c.Value.Operation, class, c.Value.Target.ID, c.Value.Requester.ID,
		control.Time(*c.Value.EndedAt))
}

// aboutScope says whether a ceremony's target is a key for account data, or a grant on one, or whether it
// made such a grant.
func aboutScope(ev *control.Evidence, c control.Ceremony) bool {
	of := func(id string) bool {
		k := ev.Key(id)
		return k != nil && ev.Scope.Covers(k.Value)
	}
	return (c.Target.Type == "key" && of(c.Target.ID)) || slices.ContainsFunc(ev.Grants, func(g control.Record[access.Grant]) bool {
		mine := g.Value.CreatedBy == c.ID || (c.Target.Type == "grant" && g.Value.ID == c.Target.ID)
		return mine && of(g.Value.Key)
	})
}

// span is the first and the last ledger entry of a ceremony, as its row names them. A row cannot name entries
// that are later than the one that wrote it.
func span(c control.Record[control.Ceremony]) []uint64 {
	first, last := c.Value.FirstSeq, c.Value.LastSeq
	if first == 0 || last < first || last > c.Ref.Seq {
		return nil
	}
	return []uint64{first, last}
}

func owns(p people.Person, credential string) bool {
	return slices.ContainsFunc(p.ApprovalKeys, func(c people.Credential) bool { return c.ID == credential })
}

// manualOperations change keys or who may use them; done by a person they rest on a ceremony.
var manualOperations = []string{"key.create", "key.rotate", "key.activate", "key.resume", "key.compromise", "key.deactivate", "key.destroy",
	"key.import", "key.export", "key.move", "keystore.register", "keystore.activate", "grant.create", "application.enrol"}

// ofNodes are operations that a node also does by itself: by date, by schedule, or at genesis.
var ofNodes = []string{"key.rotate", "key.activate", "key.deactivate", "keystore.register", "keystore.activate"}

// unceremonious lists key operations of the period that no ceremony stands behind. What this node did by
// itself, by date or at genesis, is not meant; what only people decide is, whoever is named as the actor.
func unceremonious(ev *control.Evidence) *control.Table {
	t := control.NewTable("Key operations that cite no ceremony, or none that exists",
		control.Column{Name: "at", Type: control.Instant}, control.Column{Name: "operation", Type: control.Text},
		control.Column{Name: "target", Type: control.ID}, control.Column{Name: "by", Type: control.ID})
	for _, kind := range manualOperations {
		for _, e := range ev.Events.Of(kind) {
			if e.Outcome != "done" || !ev.InPeriod(e.At) || (e.ActorKind == "node" && slices.Contains(ofNodes, kind)) {
				continue
			}
			var f control.Faults
			f.Check(e.Ceremony != "", "no ceremony is cited")
			f.Check(e.Ceremony == "" || ev.Ceremony(e.Ceremony) != nil, fmt.Sprintf("there is no ceremony %s", e.Ceremony))
			if len(f) > 0 {
				t.Add(control.OK, f, control.Proof{Ledger: []uint64{e.Seq}}, control.Time(e.At), e.Type, e.Target, e.Actor)
			}
		}
	}
	return t
}
