package judge

import (
	"fmt"
	"slices"
	"time"

	"conclave/custodian/key"
	"conclave/custodian/oversight"
	"conclave/reports/control"
)

// reviewTable lists what one person did alone, and emergency access, whose review fell due or was given in the
// period. That a review comes within the time that policy gave, at most 24 hours, is ours.
func reviewTable(ev *control.Evidence) *control.Table {
	t := control.NewTable("Reviews of what one person did alone, and of emergency access",
		control.Column{Name: "ceremony", Type: control.ID}, control.Column{Name: "operation", Type: control.Text},
		control.Column{Name: "by", Type: control.ID}, control.Column{Name: "due", Type: control.Instant},
		control.Column{Name: "outcome", Type: control.Text}, control.Column{Name: "reviewer", Type: control.ID}, control.Column{Name: "signed", Type: control.Instant})
	for _, c := range ev.Ceremonies {
		if c.Value.State != "completed" || c.Value.ReviewBy == nil || c.Value.EndedAt == nil || !ev.InPeriod(*c.Value.EndedAt) {
			continue
		}
		addReview(ev, t, c)
	}
	return t
}

func addReview(ev *control.Evidence, t *control.Table, c control.Record[control.Ceremony]) {
	proof := control.Proves(c.Ref).And(span(c)...)
	due := *c.Value.ReviewBy
	i := slices.IndexFunc(ev.Reviews, func(r control.Record[oversight.Review]) bool {
		return r.Value.Ceremony == c.Value.ID && !r.Value.SignedAt.After(ev.Now)
	})
	cells := []string{c.Value.ID, c.Value.Operation, c.Value.Requester.ID, control.Time(due)}
	if i < 0 {
		cells = append(cells, "", "", "")
		if ev.Now.Before(due) {
			t.Note(control.Info, "its time has not run out", proof, cells...)
			return
		}
		t.Add(control.OK, control.Faults{"nobody has reviewed it in time"}, proof, cells...)
		return
	}
	r := ev.Reviews[i]
	proof.Rows = append(proof.Rows, r.Ref)
	var f control.Faults
	f.Check(!r.Value.SignedAt.After(due), "reviewed late")
	f.Check(!tookPart(c.Value, r.Value.Reviewer), r.Value.Reviewer+" reviewed what they had a part in")
	t.Add(control.OK, f, proof, append(cells, string(r.Value.Outcome), r.Value.Reviewer, control.Time(r.Value.SignedAt))...)
}

func tookPart(c control.Ceremony, person string) bool {
	if person == c.Requester.ID || person == c.Requester.CalledBy || slices.Contains(c.Subjects, person) {
		return true
	}
	for _, v := range c.Votes {
		if v.Person == person {
			return true
		}
	}
	return false
}

// exceptionTable lists accepted risks in force about where keys for account data live.
func exceptionTable(ev *control.Evidence) *control.Table {
	t := control.NewTable("Accepted risks about where "+ev.Scope.Keys()+" live",
		control.Column{Name: "exception", Type: control.ID}, control.Column{Name: "rule", Type: control.Text},
		control.Column{Name: "key", Type: control.ID}, control.Column{Name: "keystore", Type: control.ID},
		control.Column{Name: "compensating measures", Type: control.Text}, control.Column{Name: "owner", Type: control.ID},
		control.Column{Name: "ends", Type: control.Instant})
	for _, x := range ev.Exceptions {
		if !inForce(x.Value, ev.Now) || !concerns(ev, x.Value) {
			continue
		}
		proof := control.Proves(x.Ref)
		var f control.Faults
		c := ev.Ceremony(x.Value.Ceremony)
		if c != nil {
			proof.Rows = append(proof.Rows, c.Ref)
		}
		f.Check(c != nil && c.Value.Class == "G" && c.Value.State == "completed" && c.Value.Operation == "exception.grant", "no quorum is on record that accepted it")
		f.Check(x.Value.ExpiresAt.Sub(x.Value.GrantedAt) <= oversight.MaxExceptionDays*key.Day, "it lasts longer than a year")
		t.Add(control.Attention, f, proof, x.Value.ID, x.Value.Rule, x.Value.Key, x.Value.Keystore, x.Value.Compensating, x.Value.Owner, control.Time(x.Value.ExpiresAt))
	}
	return t
}

// inForce as of an instant: what was revoked later counted then.
func inForce(x oversight.Exception, at time.Time) bool {
	if x.RevokedAt != nil && x.RevokedAt.After(at) {
		x.RevokedAt = nil
	}
	return x.InForce(at)
}

func concerns(ev *control.Evidence, x oversight.Exception) bool {
	for _, s := range versions(ev, false) {
		if (x.Key == "" || x.Key == s.key.Value.ID) && (x.Keystore == "" || x.Keystore == s.version.Value.Keystore) {
			return true
		}
	}
	return false
}

// holdTable lists versions of keys for account data that were destroyed while a legal hold was set on them.
func holdTable(ev *control.Evidence) *control.Table {
	t := control.NewTable("Legal holds on "+ev.Scope.Keys()+", and what was destroyed under them",
		control.Column{Name: "hold", Type: control.ID}, control.Column{Name: "on", Type: control.Text},
		control.Column{Name: "matter", Type: control.Text}, control.Column{Name: "set", Type: control.Instant}, control.Column{Name: "lifted", Type: control.Instant})
	for _, h := range ev.Holds {
		if h.Value.SetAt.After(ev.Now) {
			continue
		}
		addHold(ev, t, h)
	}
	return t
}

func addHold(ev *control.Evidence, t *control.Table, h control.Record[oversight.Hold]) {
	proof := control.Proves(h.Ref)
	var f control.Faults
	about := false
	set := h.Value
	set.LiftedAt = nil
	for _, s := range versions(ev, true) {
		if !set.Covers(oversight.Ref{Type: oversight.HoldVersion, ID: s.id()}) && (s.key.Value.Template == "" || !set.Covers(oversight.Ref{Type: oversight.HoldTemplate, ID: s.key.Value.Template})) {
			continue
		}
		about = true
		for _, change := range s.version.Value.History {
			during := !change.At.Before(h.Value.SetAt) && (h.Value.LiftedAt == nil || change.At.Before(*h.Value.LiftedAt))
			if change.To == key.Destroyed && during && !change.At.After(ev.Now) {
				f = append(f, fmt.Sprintf("%s was destroyed under it", s.id()))
				proof.Rows = append(proof.Rows, s.version.Ref)
			}
		}
	}
	if !about {
		return
	}
	lifted := ""
	if h.Value.LiftedAt != nil && !h.Value.LiftedAt.After(ev.Now) {
		lifted = control.Time(*h.Value.LiftedAt)
	}
	t.Add(control.OK, f, proof, h.Value.ID, h.Value.What(), h.Value.Matter, control.Time(h.Value.SetAt), lifted)
}
