package judge

import (
	"context"
	"fmt"

	"conclave/custodian/amount"
	"conclave/reports/control"
)

// Substitution judges 3.7.7. Integrity is not a matter of one classification, so it covers every key.
func Substitution(_ context.Context, ev *control.Evidence) control.Result {
	t := control.NewTable("Each key version against the ledger's record of its making",
		control.Column{Name: "key version", Type: control.ID}, control.Column{Name: "check value", Type: control.Text},
		control.Column{Name: "recorded when made", Type: control.Text}, control.Column{Name: "times recorded", Type: control.Integer})
	for _, s := range versionsOf(ev, ev.Keys, true) {
		addOrigin(ev, t, s)
	}
	damaged := damage(ev)
	starts := control.NewTable("Starts of a node in the period, each with a comparison of all rows",
		control.Column{Name: "at", Type: control.Instant}, control.Column{Name: "node", Type: control.ID})
	for _, e := range ev.Events.Of("node.start") {
		if ev.InPeriod(e.At) {
			starts.Note(control.Info, "", control.Proof{Ledger: []uint64{e.Seq}}, control.Time(e.At), e.Actor)
		}
	}
	return control.Conclude(control.Finding{
		Tables: []*control.Table{damaged, t, starts},
		Good: fmt.Sprintf("%s, each with the check value recorded when it was made. No row contradicts the ledger, and no violation was recorded in the period.",
			amount.Of(t.Total, "key version")),
		Bad: fmt.Sprintf("%s of substitution or of edited rows; %s not the one that was made.",
			amount.Of(damaged.Violating, "sign"), of(t.Violating, t.Total, "key version")),
		Empty:  "There is no key, so there is nothing that could have been swapped.",
		Doubt:  "For some versions the ledger's record of their making names no check value. Which ceremony transcript shows it?",
		Unseen: ev.Events.Dropped("integrity.violation", "key.create", "key.rotate", "key.move", "key.import"),
	})
}

func addOrigin(ev *control.Evidence, t *control.Table, s scoped) {
	v := s.version.Value
	origins := s.origins(ev)
	recorded := ""
	var f control.Faults
	f.Check(len(origins) > 0, "no ledger entry records its making")
	f.Check(len(origins) <= 1, "its making is recorded more than once")
	f.Check(v.Material.CheckValue == "" || v.Material.CheckValue == v.CheckValue, fmt.Sprintf("its stored material has check value %s", v.Material.CheckValue))
	for _, o := range origins {
		if o.CheckValue == "" {
			continue
		}
		recorded = o.CheckValue
		f.Check(o.CheckValue == v.CheckValue, "check value differs from the one recorded when it was made")
	}
	state := control.OK
	if recorded == "" {
		state = control.Attention
	}
	t.Add(state, f, control.Proves(s.version.Ref).And(sequences(origins)...), s.id(), v.CheckValue, recorded, control.Int(len(origins)))
}

// damage lists recorded violations of the period, and rows that contradict the ledger now.
func damage(ev *control.Evidence) *control.Table {
	t := control.NewTable("Signs of substitution",
		control.Column{Name: "at", Type: control.Instant}, control.Column{Name: "what", Type: control.Text},
		control.Column{Name: "kind", Type: control.Text}, control.Column{Name: "id", Type: control.ID})
	for _, e := range ev.Events.Of("integrity.violation") {
		if ev.InPeriod(e.At) {
			t.Add(control.OK, control.Faults{"an integrity violation was recorded"}, control.Proof{Ledger: []uint64{e.Seq}},
				control.Time(e.At), join("violation", e.Reason), e.TargetType, e.Target)
		}
	}
	for _, r := range ev.Damaged {
		t.Add(control.OK, control.Faults{"the row in the database is not the one that the ledger binds"}, control.Proof{},
			control.Time(ev.Now), "row contradicts the ledger", r.Kind, r.ID)
	}
	return t
}
