package judge

import (
	"context"
	"fmt"

	"conclave/custodian/amount"
	"conclave/custodian/key"
	"conclave/reports/control"
)

// longestUsageDays is the originator usage period that SP 800-57 Part 1 Rev 5 Table 1 recommends at most for
// symmetric data-encryption and key-wrapping keys: two years.
const longestUsageDays = 731

// Cryptoperiods judges 3.7.4.
func Cryptoperiods(_ context.Context, ev *control.Evidence) control.Result {
	if r, out := outOfScope(ev); out {
		return r
	}
	keys := control.NewTable("Cryptoperiod of each key",
		control.Column{Name: "key", Type: control.ID}, control.Column{Name: "type", Type: control.Text},
		control.Column{Name: "usage period (days)", Type: control.Integer}, control.Column{Name: "rotates after (days)", Type: control.Integer},
		control.Column{Name: "versions", Type: control.Integer}, control.Column{Name: "rotations in the period", Type: control.Integer})
	for _, k := range ev.ScopedKeys() {
		addCryptoperiod(ev, keys, k)
	}
	current := control.NewTable("Versions against their end",
		control.Column{Name: "key version", Type: control.ID}, control.Column{Name: "state", Type: control.Text},
		control.Column{Name: "protects from", Type: control.Instant}, control.Column{Name: "protects until", Type: control.Instant},
		control.Column{Name: "protecting calls in the period", Type: control.Integer}, control.Column{Name: "after the end", Type: control.Integer})
	for _, s := range versions(ev, true) {
		addVersionEnd(ev, current, s)
	}
	return control.Conclude(control.Finding{
		Tables: []*control.Table{keys, current},
		Good: fmt.Sprintf("%s, each with a cryptoperiod. Of %s, none is active or was used for protection past its end.",
			amount.Of(keys.Total, "key"), amount.Of(current.Total, "version")),
		Bad:    fmt.Sprintf("%s without a cryptoperiod; %s past its end.", of(keys.Violating, keys.Total, "key"), of(current.Violating, current.Total, "version")),
		Holds:  true,
		Empty:  "None of the " + ev.Scope.Keys() + " existed at the end of the period.",
		Doubt:  "Some keys have a usage period of more than two years, the most that SP 800-57 Part 1 Table 1 recommends for them. What is the written basis for it?",
		Unread: ev.Events.UnreadBatches(),
	})
}

func addCryptoperiod(ev *control.Evidence, t *control.Table, k control.Record[key.Key]) {
	var f control.Faults
	f.Check(k.Value.OUPDays > 0, "no cryptoperiod is defined")
	state := control.OK
	if k.Value.OUPDays > longestUsageDays {
		state = control.Attention
	}
	rotations := 0
	proof := control.Proves(k.Ref)
	for _, e := range ev.Events.About(k.Value.ID, "key.rotate", "key.move", "key.import") {
		if ev.InPeriod(e.At) {
			rotations++
			proof = proof.And(e.Seq)
		}
	}
	t.Add(state, f, proof, k.Value.ID, string(k.Value.Type), control.Int(k.Value.OUPDays), control.Int(k.Value.RotateDays),
		control.Int(len(ev.VersionsOf(k.Value.ID))), control.Int(rotations))
}

func addVersionEnd(ev *control.Evidence, t *control.Table, s scoped) {
	v := s.version.Value
	u := ev.Events.UseOf(v)
	var f control.Faults
	f.Check(!v.OUPEnd.IsZero(), "no end of the usage period is recorded")
	if s.state == key.Active && !v.OUPEnd.IsZero() {
		f.Check(v.OUPEnd.After(ev.Now), "still active past the end of its usage period")
	}
	f.Check(u.AfterEnd.Count == 0, fmt.Sprintf("%s at or after the end of its usage period", amount.Of(u.AfterEnd.Count, "protecting call")))
	t.Add(control.OK, f, control.Proves(s.version.Ref).And(u.AfterEnd.Seqs...), s.id(), string(s.state), control.Time(v.ActivationAt),
		control.Time(v.OUPEnd), control.Int(u.Protects), control.Int(u.AfterEnd.Count))
}
