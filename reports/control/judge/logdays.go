package judge

import (
	"fmt"
	"slices"
	"time"

	"conclave/custodian/oversight"
	"conclave/reports/control"
)

// daily says whether a control is about reviewing the log itself, so that the summaries of its days are its evidence.
func daily(id string) bool {
	return slices.Contains([]string{"10.4.1", "164.308(a)(1)(ii)(D)", "AU-6"}, id)
}

// logDays judges the review of each day's log that ended in the period: there, by somebody in the register, and in time. A
// day that a signed statement about the control covers counts as reviewed by it. A day that was not summed up is judged as
// well: what is missing is no proof that there was nothing.
func logDays(ev *control.Evidence, id string) *control.Table {
	t := table("Log of each day, as summed up and reviewed", "day", "entries", "count|integer", "refused|integer", "failed|integer", "to be looked at|integer",
		"reviewed by|id", "at|time", "outcome", "note")
	summed := map[string]control.Record[oversight.LogDay]{}
	for _, d := range ev.LogDays {
		summed[d.Value.Day] = d
	}
	begin := ev.From
	if first := oldest(ev); first.After(begin) {
		begin = first
	}
	for start := begin.UTC().Truncate(day); !start.Add(day).After(ev.Now); start = start.Add(day) {
		if !start.Add(day).After(ev.From) {
			continue
		}
		name := start.Format(time.DateOnly)
		d, known := summed[name]
		if !known {
			d.Value.Day = name
		}
		logDay(ev, t, id, d, known)
	}
	return t
}

// logDay judges one day.
func logDay(ev *control.Evidence, t *control.Table, id string, d control.Record[oversight.LogDay], known bool) {
	v := d.Value
	var f control.Faults
	var proof control.Proof
	open := false // to be reviewed still
	row := []string{v.Day, "", "", "", "", ""}
	if known {
		proof = control.Proves(d.Ref)
		row = []string{v.Day, fmt.Sprintf("%d to %d", v.From, max(v.From+1, v.To)-1), control.Int(int(v.To - v.From)), control.Int(v.Refused), control.Int(v.Failed),
			control.Int(len(v.Notable) + v.More)}
	}
	r := v.Reviewed
	if r != nil && r.At.After(ev.Now) {
		r = nil
	}
	switch other := covering(ev, id, v); {
	case r != nil:
		f.Check(!r.At.After(v.DueAt()), "reviewed late")
		if p := ev.Person(r.By); p != nil {
			proof.Rows = append(proof.Rows, p.Ref)
		} else {
			f.Check(false, "its reviewer is not in the register")
		}
		row = append(row, r.By, control.Time(r.At), string(r.Outcome), r.Note)
	case other != nil:
		proof.Rows = append(proof.Rows, other.Ref)
		row = append(row, other.Value.Signer, control.Time(other.Value.SignedAt), "stated", other.Value.Statement)
	case known:
		f.Check(!ev.Now.After(v.DueAt()), "nobody reviewed it in time")
		row, open = append(row, "", "", "", ""), true
	default:
		f.Check(!ev.Now.After(v.DueAt()), "it was neither summed up nor reviewed")
		row, open = append(row, "", "", "", ""), true
	}
	if open && len(f) == 0 { // nothing is shown by it yet
		t.Note(control.Info, "its time has not run out", proof, row...)
		return
	}
	t.Add(control.OK, f, proof, row...)
}

// covering finds the signed review about the control that covers a whole day.
func covering(ev *control.Evidence, id string, d oversight.LogDay) *control.Record[oversight.Attestation] {
	begin, end := d.Start(), d.Start().Add(day)
	if first := oldest(ev); first.After(begin) {
		begin = first // on its first day the instance was not there before
	}
	for i, a := range ev.Attestations {
		v := a.Value
		if v.Kind == oversight.AttestReview && v.Serves(ev.Framework, id) && v.CoversFrom != nil && !v.SignedAt.After(ev.Now) && !withdrawn(v, ev.Now) &&
			!v.CoversFrom.After(begin) && !v.CoversTo.Before(end) {
			return &ev.Attestations[i]
		}
	}
	return nil
}

// statementsOnly shows the signed reviews about a control, and judges none: its days are judged one by one.
func statementsOnly(ev *control.Evidence, id string) *control.Table {
	return reviewsOf(ev, id, 366*day, "reviews of the log", time.Time{})
}
