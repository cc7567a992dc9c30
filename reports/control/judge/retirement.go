package judge

import (
	"context"
	"fmt"
	"time"

	"conclave/custodian"
	"conclave/custodian/amount"
	"conclave/custodian/key"
	"conclave/custodian/people"
	"conclave/reports/control"
)

// How soon each trigger must be answered (ours).
const (
	suspicionWithin  = 24 * time.Hour // from suspension on suspicion to a decision
	compromiseWithin = 24 * time.Hour // from compromise to the replacement of the current version
	departureWithin  = 30 * day       // from a holder's suspension or leaving to a new epoch
	lossWithin       = 5 * day        // from the loss of a share to a new epoch
)

// Retirement judges 3.7.5.
func Retirement(_ context.Context, ev *control.Evidence) control.Result {
	if r, out := outOfScope(ev); out {
		return r
	}
	retired := control.NewTable("Key versions that left the active state",
		control.Column{Name: "key version", Type: control.ID}, control.Column{Name: "state", Type: control.Text},
		control.Column{Name: "since", Type: control.Instant}, control.Column{Name: "reason", Type: control.Text},
		control.Column{Name: "protected while not active", Type: control.Integer}, control.Column{Name: "current version", Type: control.Integer})
	active, copies := 0, ev.Copies()
	for _, s := range versions(ev, true) {
		if spans := control.Inactive(s.version.Value); len(spans) == 0 && s.state != key.Compromised && ev.Events.UseOf(s.version.Value).WhileInactive.Count == 0 {
			active++
			continue
		}
		addRetired(ev, retired, s, copies)
	}
	weakened, held := weakenedSets(ev), holdTable(ev)
	kept := control.NewTable("Key versions that never left the active state", control.Column{Name: "count", Type: control.Integer})
	if active > 0 {
		kept.Note(control.OK, "none of them was suspended, compromised, deactivated or destroyed while active", control.Proof{}, control.Int(active))
	}
	return control.Conclude(control.Finding{
		Tables: []*control.Table{retired, weakened, held, kept},
		Good: fmt.Sprintf("%s left the active state, and nothing was protected with one that was not active. Every trigger was answered in time, or its time has not run out.",
			amount.Of(retired.Total, "version")),
		Bad: fmt.Sprintf("%s not retired as demanded; %s not answered in time; %s not kept.",
			of(retired.Violating, retired.Total, "version"), of(weakened.Violating, weakened.Total, "weakened share"), amount.Of(held.Violating, "legal hold")),
		Holds: true,
		Empty: ev.Scope.Title() + " have no version.",
		Doubt: "Some triggers are not answered yet, though their time has not run out, or registered backups still hold a destroyed version that shares which are about " +
			"open. What is being done about each of them?",
		Unread: ev.Events.UnreadBatches(),
	})
}

// addRetired adds a version. Of a destroyed one it says what is left of it (DESIGN invariant 4): that a backup holds it
// still is for a person to weigh, since retention of backups is what was decided on.
func addRetired(ev *control.Evidence, t *control.Table, s scoped, copies *custodian.CopyRegister) {
	v := s.version.Value
	u := ev.Events.UseOf(v)
	last := lastTransition(v, ev.Now)
	var f control.Faults
	f.Check(u.WhileInactive.Count == 0, fmt.Sprintf("%s while it was not active", amount.Of(u.WhileInactive.Count, "protecting call")))
	f = append(f, answeredLate(ev, s)...)
	state := control.OK
	switch {
	case s.state == key.Suspended && v.Suspected:
		if ev.Now.Sub(last.At) > suspicionWithin {
			f = append(f, "suspended on suspicion of compromise and not decided upon within 24 hours")
		} else {
			state = control.Attention
		}
	case s.state == key.Compromised && s.key.Value.Current == v.Version:
		if ev.Now.Sub(last.At) > compromiseWithin {
			f = append(f, "compromised, and not replaced within 24 hours")
		} else {
			state = control.Attention
		}
	}
	words := string(s.state)
	if s.state == key.Destroyed {
		left := copies.Left(&v)
		words += ", " + left
		if left != custodian.CopiesNoneKnown {
			state = control.Attention
		}
	}
	t.Add(state, f, control.Proves(s.key.Ref, s.version.Ref).And(u.WhileInactive.Seqs...), s.id(), words, control.Time(last.At),
		last.Reason, control.Int(u.WhileInactive.Count), control.Int(s.key.Value.Current))
}

// answeredLate says which triggers of a version were answered within the period, and too late.
func answeredLate(ev *control.Evidence, s scoped) control.Faults {
	var f control.Faults
	v := s.version.Value
	late := func(at, answered time.Time, within time.Duration) bool {
		return !answered.IsZero() && !answered.After(ev.Now) && !answered.Before(ev.From) && answered.Sub(at) > within
	}
	for i, t := range v.History {
		if t.To == key.Suspended && t.Suspected && i+1 < len(v.History) {
			f.Check(!late(t.At, v.History[i+1].At, suspicionWithin), "suspended on suspicion of compromise and decided upon later than 24 hours")
		}
		if t.To == key.Compromised {
			f.Check(!late(t.At, replacedAt(ev, v), compromiseWithin), "compromised, and replaced later than 24 hours")
		}
	}
	return f
}

// replacedAt is when the first later version of the same key became active; zero for never.
func replacedAt(ev *control.Evidence, v key.Version) time.Time {
	var first time.Time
	for _, other := range ev.VersionsOf(v.Key) {
		if other.Value.Version <= v.Version {
			continue
		}
		for _, t := range other.Value.History {
			if t.To == key.Active && (first.IsZero() || t.At.Before(first)) {
				first = t.At
			}
		}
	}
	return first
}

func lastTransition(v key.Version, now time.Time) key.Transition {
	var last key.Transition
	for _, t := range v.History {
		if !t.At.After(now) {
			last = t
		}
	}
	return last
}

// weakenedSets lists the shares of current epochs that are lost, or held by somebody suspended or gone.
func weakenedSets(ev *control.Evidence) *control.Table {
	t := control.NewTable("Shares that are lost, or whose holder is suspended or has left",
		control.Column{Name: "share", Type: control.ID}, control.Column{Name: "holder", Type: control.ID},
		control.Column{Name: "what happened", Type: control.Text}, control.Column{Name: "since", Type: control.Instant},
		control.Column{Name: "new epoch due", Type: control.Instant})
	for _, set := range ev.ShareSets {
		for _, s := range ev.CurrentShares(set.Value) {
			addWeakened(ev, t, s)
		}
	}
	return t
}

func addWeakened(ev *control.Evidence, t *control.Table, s control.Record[people.Share]) {
	proof := control.Proves(s.Ref)
	var what string
	var since, due time.Time
	p := ev.Person(s.Value.Custodian)
	if p != nil && p.Value.Status != people.StatusActive {
		proof.Rows = append(proof.Rows, p.Ref)
		what, since = "holder is "+string(p.Value.Status), s.Value.IssuedAt
		if p.Value.SuspendedAt != nil {
			since = *p.Value.SuspendedAt
		}
		due = since.Add(departureWithin)
	}
	if s.Value.Status == people.ShareLost {
		lost := s.Value.IssuedAt // the earliest it can have been, where no entry says when
		for _, e := range ev.Events.About(s.Ref.ID, "share.report-lost") {
			lost = e.At
			proof = proof.And(e.Seq)
		}
		if d := lost.Add(lossWithin); what == "" || d.Before(due) {
			what, since, due = "share is lost", lost, d
		}
	}
	if what == "" || since.After(ev.Now) {
		return
	}
	var f control.Faults
	f.Check(!ev.Now.After(due), "no new epoch of the set in time")
	t.Add(control.Attention, f, proof, s.Ref.ID, s.Value.Custodian, what, control.Time(since), control.Time(due))
}
