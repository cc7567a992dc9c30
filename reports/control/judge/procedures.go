package judge

import (
	"context"
	"fmt"

	"conclave/reports/control"
)

// Procedures judges 3.6.1: the working part by the requirements below it, the written part by a person.
func Procedures(ctx context.Context, ev *control.Evidence) control.Result {
	if r, out := outOfScope(ev); out {
		return r
	}
	t := control.NewTable("Requirements of PCI DSS that show the procedures at work",
		control.Column{Name: "requirement", Type: control.ID}, control.Column{Name: "verdict", Type: control.Text},
		control.Column{Name: "why", Type: control.Text})
	parts := []struct {
		id       string
		evaluate control.Evaluator
	}{{"3.6.1.2", PermittedForms}, {"3.6.1.3", FewestCustodians}, {"3.6.1.4", FewestPlaces}}
	for _, p := range parts {
		r := p.evaluate(ctx, ev)
		var f control.Faults
		f.Check(r.Verdict != control.Violated, "violated, see "+p.id)
		state := control.OK
		if r.Verdict != control.Satisfied {
			state = control.Attention
		}
		t.Add(state, f, control.Proof{}, p.id, string(r.Verdict), r.Summary)
	}
	return control.Conclude(control.Finding{
		Tables: []*control.Table{t},
		Good:   "No program can read the written procedures. The requirements that show them at work are not violated.",
		Holds:  true,
		Bad:    fmt.Sprintf("The procedures do not work as demanded: %s violated.", of(t.Violating, t.Total, "requirement")),
		Question: "Which document holds the procedures that guard keys against disclosure and misuse, which version of it is in force, " +
			"who approved it and when, and does it provide for the fewest custodians, strong and separate key-encrypting keys, and the fewest places and forms?",
	})
}
