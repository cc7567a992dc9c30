package judge

import (
	"context"
	"fmt"

	"conclave/custodian/amount"
	"conclave/custodian/key"
	"conclave/reports/control"
)

// minStrength is the least strength of a key, in bits (ours; SP 800-57 Part 1 Rev 5 section 5.6 accepts 112 for
// protecting until the end of 2030).
const minStrength = 128

// Generation judges 3.7.1.
func Generation(_ context.Context, ev *control.Evidence) control.Result {
	if r, out := outOfScope(ev); out {
		return r
	}
	t := control.NewTable("How each key version was generated",
		control.Column{Name: "key version", Type: control.ID}, control.Column{Name: "generated", Type: control.Instant},
		control.Column{Name: "in the period", Type: control.Text}, control.Column{Name: "strength (bits)", Type: control.Integer},
		control.Column{Name: "generator", Type: control.Text}, control.Column{Name: "module", Type: control.Text},
		control.Column{Name: "module claim", Type: control.Text}, control.Column{Name: "check value", Type: control.Text},
		control.Column{Name: "origin", Type: control.Text})
	made := 0
	for _, s := range versions(ev, true) {
		v := s.version.Value
		if s.state == key.Destroyed && !ev.InPeriod(v.GeneratedAt) {
			continue // what was made in the period is judged even where it is gone by now
		}
		if ev.InPeriod(v.GeneratedAt) {
			made++
		}
		origins := s.origins(ev)
		var f control.Faults
		f.Check(v.RNG != "", "no generator recorded")
		f.Check(v.Module != "", "no module recorded")
		f.Check(v.StrengthBits >= minStrength, fmt.Sprintf("strength of %d bits, at least %d is demanded", v.StrengthBits, minStrength))
		f.Check(len(origins) > 0, "no ledger entry records its making")
		for _, o := range origins {
			f.Check(o.CheckValue == "" || o.CheckValue == v.CheckValue, fmt.Sprintf("the ledger recorded check value %s when it was made", o.CheckValue))
		}
		state, claim := control.OK, v.FIPSClaim
		if claim == "" {
			state, claim = control.Attention, "none"
		}
		if v.Origin() != key.OriginGenerated { // nobody here saw how it was made
			state = control.Attention
		}
		t.Add(state, f, control.Proves(s.key.Ref, s.version.Ref).And(sequences(origins)...), s.id(), control.Time(v.GeneratedAt),
			yes(ev.InPeriod(v.GeneratedAt)), control.Int(v.StrengthBits), v.RNG, v.Module, claim, v.CheckValue, v.Origin())
	}
	return control.Conclude(control.Finding{
		Tables: []*control.Table{t},
		Good: fmt.Sprintf("%s, each with a named generator and at least %d bits of strength; %d of them in the period.",
			amount.Of(t.Total, "key version"), minStrength, made),
		Bad:    fmt.Sprintf("%s not shown to be strong.", of(t.Violating, t.Total, "key version")),
		Holds:  true,
		Empty:  ev.Scope.Title() + " have no version that is not destroyed, and none was made in the period.",
		Doubt:  "Some versions were made by a module without a validation claim, or elsewhere and imported. Was an approved generator used (SP 800-90A), and how is that shown?",
		Unseen: ev.Events.Dropped("key.create", "key.rotate", "key.move", "key.import"),
	})
}
