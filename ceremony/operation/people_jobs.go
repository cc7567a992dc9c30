package operation

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"conclave/custodian"
	"conclave/custodian/identity"
	"conclave/custodian/ledger"
	"conclave/custodian/people"
	"conclave/custodian/store"
)

// Jobs about people. What they do takes people out of effect or closes what the facts have closed; nothing that they
// do releases anybody.

// byNode is the acting of a job that rests on an earlier decision.
func (j Jobs) byNode(tx *store.Tx, cites, reason string) acting {
	return acting{principal: identity.Principal{Kind: identity.Node, ID: j.Env.Custodian.Node()}, ceremony: cites, reason: reason,
		policy: j.Env.Policies.Digest(), at: tx.Now()}
}

// DoneDuties finds open duties that the facts have closed: nothing is outstanding, or whoever was about to leave is
// back. At most 100 at a time.
func (j Jobs) DoneDuties(view *store.View) []*people.Duty {
	var out []*people.Duty
	find := register(view)
	for _, d := range store.All[people.Duty](view, custodian.KindDuty) {
		if !d.Open() || len(out) >= maxDue {
			continue
		}
		back := d.Cause == people.CauseLeaving && people.Present(find(d.Person)) == nil
		if back || len(Outstanding(view, d)) == 0 {
			d.Finding = "nothing is outstanding any more"
			if back {
				d.Finding = d.Person + " is back"
			}
			out = append(out, d)
		}
	}
	return out
}

// CloseDuties records what DoneDuties found on the same view.
func (j Jobs) CloseDuties(tx *store.Tx, done []*people.Duty) error {
	for _, d := range done {
		a := j.byNode(tx, d.OpenedBy, d.Finding)
		d.ClosedAt, d.ClosedBy = &a.at, a.principal.String()
		e := a.event("duty.close", ledger.Target{Type: "duty", ID: d.ID}, map[string]any{"kind": d.Kind, "person": d.Person})
		if err := a.put(tx, custodian.KindDuty, d.ID, d, e); err != nil {
			return err
		}
	}
	return nil
}

// Unseen lists people whose activity is to be recorded: those seen since the last record by a day or more, and those
// of whom there is none yet, from now on. At most ledger.MaxRows: more come with the next run.
func Unseen(view *store.View, seen map[string]time.Time, now time.Time) map[string]time.Time {
	out := map[string]time.Time{}
	for _, p := range store.All[people.Person](view, custodian.KindPerson) {
		if len(out) >= ledger.MaxRows {
			break
		}
		last, err := store.Peek[people.Activity](view, custodian.KindActivity, p.ID)
		at, heard := seen[p.ID]
		switch {
		case p.Status == people.StatusLeft, at.After(now):
		case err != nil && len(view.Tampered(custodian.KindActivity)) > 0: // not to be believed: nor to be written over
		case err != nil:
			out[p.ID] = now
		case heard && at.Sub(last.At) >= people.ActivityGrain:
			out[p.ID] = at
		}
	}
	return out
}

// RecordActivity records when people were last active, in one entry. Activity never goes back.
func RecordActivity(env Env, tx *store.Tx, active map[string]time.Time) error {
	n := 0
	for _, id := range sortedKeys(active) {
		last, err := store.Peek[people.Activity](tx.View(), custodian.KindActivity, id)
		if err == nil && !active[id].After(last.At) {
			continue
		}
		if err := tx.Put(custodian.KindActivity, id, people.Activity{Person: id, At: active[id]}); err != nil {
			return err
		}
		n++
	}
	if n == 0 {
		return nil
	}
	return tx.Append(ledger.Entry{Type: "people.active", Actor: identity.Principal{Kind: identity.Node, ID: env.Custodian.Node()}, Outcome: ledger.Done,
		Target: ledger.Target{Type: "node", ID: env.Custodian.Node()}, Detail: custodian.Detail(map[string]any{"people": n})})
}

func sortedKeys(m map[string]time.Time) []string {
	out := make([]string, 0, len(m))
	for k := range m {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}

// Inactive finds who is to be suspended for inactivity (PCI DSS 4.0.1, 8.2.6), longest away first, one at a time, so
// that each is judged after the others. Somebody without whom nobody could be released, or keystores not be opened,
// stays: Alerts says so.
func (j Jobs) Inactive(ctx context.Context, view *store.View, now time.Time) (*people.Person, error) {
	for _, p := range inactive90(view, now) {
		blocked, err := j.staysFor(ctx, view, p, nil, now)
		if err != nil {
			return nil, err
		}
		if !blocked {
			return p, nil
		}
	}
	return nil, nil
}

// InactiveBy lists who Inactive will have found by a day, if nobody signs anything until then and nothing else changes: ids,
// longest away first. Whoever is inactive by then and not among them stays, since too few would be left.
func (j Jobs) InactiveBy(ctx context.Context, view *store.View, on time.Time) ([]string, error) {
	var out []string
	away := map[string]bool{}
	for _, p := range inactive90(view, on) {
		blocked, err := j.staysFor(ctx, view, p, away, on)
		if err != nil {
			return nil, err
		}
		if !blocked {
			away[p.ID] = true
			out = append(out, p.ID)
		}
	}
	return out, nil
}

// staysFor says whether suspending a person, with others who are away by then, would lock somebody out.
func (j Jobs) staysFor(ctx context.Context, view *store.View, p *people.Person, away map[string]bool, now time.Time) (bool, error) {
	in := Input{Now: now, Instance: j.Env.Custodian.Instance(), Requester: identity.Principal{Kind: identity.Node, ID: j.Env.Custodian.Node()}}
	lost, err := lockOut(ctx, j.Env, view, in, after{change: func(q *people.Person) *people.Person {
		if q.ID == p.ID || away[q.ID] {
			q.Status = people.StatusSuspended
		}
		return q
	}})
	if err != nil || len(lost) > 0 {
		return true, err
	}
	lost, err = unreleasable(ctx, j.Env, view, p.ID, away, in)
	return len(lost) > 0, err
}

// inactive90 are the active people whose time is over, longest away first.
func inactive90(view *store.View, now time.Time) []*people.Person {
	type away struct {
		p  *people.Person
		at time.Time
	}
	var all []away
	for _, p := range store.All[people.Person](view, custodian.KindPerson) {
		a, err := store.Peek[people.Activity](view, custodian.KindActivity, p.ID)
		if err == nil && people.Present(p) == nil && !now.Before(people.InactiveOn(a)) {
			all = append(all, away{p, a.At})
		}
	}
	slices.SortFunc(all, func(a, b away) int { return cmp.Or(a.at.Compare(b.at), cmp.Compare(a.p.ID, b.p.ID)) })
	out := make([]*people.Person, len(all))
	for i, a := range all {
		out[i] = a.p
	}
	return out
}

// SuspendInactive records what Inactive found on the same view. It rests on the decision that put the person into the
// register; releasing them takes the quorum of custodian.resume.
func (j Jobs) SuspendInactive(tx *store.Tx, p *people.Person) error {
	a := j.byNode(tx, p.AddedBy, fmt.Sprintf("inactive for %d days", people.InactiveAfter/(24*time.Hour)))
	p.Status, p.SuspendedAt, p.SuspendedReason, p.SuspendedBy = people.StatusSuspended, &a.at, a.reason, a.principal.String()
	e := a.event("custodian.suspend", ledger.Target{Type: "person", ID: p.ID}, map[string]any{"cause": "inactivity"})
	return a.put(tx, custodian.KindPerson, p.ID, p, e)
}

// Kinds of alerts about people.
const (
	AlertAcknowledgement AlertKind = "acknowledgement" // 90, 30, 7 days before it ends; 0 days: it is missing or over
	AlertInactivity      AlertKind = "inactivity"      // 30, 14, 7 days before the person is suspended; 0 days: stays since nobody else could
	AlertDuty            AlertKind = "duty"            // overdue
)

// peopleAlerts lists what should be looked at about people now, in order of person and duty.
func peopleAlerts(view *store.View, now time.Time) []Alert {
	var out []Alert
	for _, p := range store.All[people.Person](view, custodian.KindPerson) {
		if people.Present(p) != nil {
			continue
		}
		if people.MustAcknowledge(p) {
			if err := people.Acknowledged(p, now); err != nil {
				out = append(out, Alert{Kind: AlertAcknowledgement, Person: p.ID, Message: err.Error() + "; until they sign anew (acknowledgement.sign)"})
			} else if d := people.AcknowledgementWarning(p, now); d > 0 {
				out = append(out, Alert{Kind: AlertAcknowledgement, Person: p.ID, Days: d, Message: fmt.Sprintf("the acknowledgement of %s ends %s: within %d days",
					p.ID, people.AcknowledgedUntil(p).Format(time.DateOnly), d)})
			}
		}
		a, err := store.Peek[people.Activity](view, custodian.KindActivity, p.ID)
		if err != nil {
			continue
		}
		if d := people.InactivityWarning(a, now); d > 0 {
			out = append(out, Alert{Kind: AlertInactivity, Person: p.ID, Days: d, Message: fmt.Sprintf("%s has signed nothing since %s and is suspended on %s: within %d days",
				p.ID, a.At.Format(time.DateOnly), people.InactiveOn(a).Format(time.DateOnly), d)})
		} else if !now.Before(people.InactiveOn(a)) {
			out = append(out, Alert{Kind: AlertInactivity, Person: p.ID, Message: fmt.Sprintf("%s has signed nothing since %s and is not suspended only where nobody else could release them", p.ID, a.At.Format(time.DateOnly))})
		}
	}
	for _, d := range Duties(view, true) {
		if d.Overdue(now) {
			out = append(out, Alert{Kind: AlertDuty, Person: d.Person, Duty: d.ID, Message: fmt.Sprintf("overdue since %s: %s", d.DueAt.Format(time.RFC3339), d.Task)})
		}
	}
	return out
}
