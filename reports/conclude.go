package reports

import (
	"fmt"
	"slices"

	"conclave/custodian/oversight"
	"conclave/reports/control"
)

// conclude says a verdict in the framework's words and takes in what people signed about the control. The verdict itself
// stays the program's: whoever reads sees both, and by whom.
func conclude(ev *control.Evidence, c *control.Catalogue, j Judgement) Judgement {
	j.Conclusion = c.Words[string(j.Result.Verdict)]
	t := statements(ev, j.ID)
	if t.Total > 0 {
		j.Result.Tables = append(j.Result.Tables, *t)
	}
	for _, a := range inForce(ev, j.ID) {
		word, counts := c.Words[wordOf(a)], takesEffect(a, j.Result.Verdict)
		if counts && word != "" {
			j.Conclusion, j.Attested = word, true
		}
	}
	return j
}

// inForce lists what people signed about a control that counts now; what weighs most comes last: an answer, then a
// compensating control, then a decision in place of the verdict, and of one kind the newest.
func inForce(ev *control.Evidence, id string) []oversight.Attestation {
	var out []oversight.Attestation
	for _, a := range ev.Attestations {
		if a.Value.Serves(ev.Framework, id) && a.Value.InForce(ev.Now) {
			out = append(out, a.Value)
		}
	}
	weight := func(a oversight.Attestation) int {
		return slices.Index([]oversight.AttestationKind{oversight.AttestAnswer, oversight.AttestCompensating, oversight.AttestOverride}, a.Kind)
	}
	slices.SortStableFunc(out, func(a, b oversight.Attestation) int {
		if by := weight(a) - weight(b); by != 0 {
			return by
		}
		return a.SignedAt.Compare(b.SignedAt)
	})
	return out
}

// takesEffect: one person's answer fills in what no program can judge and never speaks against rows that break the rule;
// a compensating control stands in for a rule that is broken; a quorum's decision stands in for any verdict.
func takesEffect(a oversight.Attestation, v control.Verdict) bool {
	switch a.Kind {
	case oversight.AttestAnswer:
		return v == control.NeedsHuman || v == control.NoEvidence || (a.Outcome == oversight.NotMet && v != control.Violated)
	case oversight.AttestCompensating:
		return v == control.Violated || v == control.NeedsHuman || v == control.NoEvidence
	case oversight.AttestOverride:
		return true
	}
	return false
}

func wordOf(a oversight.Attestation) string {
	switch {
	case a.Kind == oversight.AttestCompensating:
		return control.Compensated
	case a.Outcome == oversight.Met:
		return string(control.Satisfied)
	case a.Outcome == oversight.NotMet:
		return string(control.Violated)
	}
	return string(control.NotApplicable)
}

// statements lists what people signed about a control, in force or not. It decides nothing: the conclusion does.
func statements(ev *control.Evidence, id string) *control.Table {
	t := control.NewTable("What people signed about this control", control.Column{Name: "statement", Type: control.ID}, control.Column{Name: "kind", Type: control.Text},
		control.Column{Name: "outcome", Type: control.Text}, control.Column{Name: "says", Type: control.Text}, control.Column{Name: "rests on", Type: control.Text},
		control.Column{Name: "by", Type: control.ID}, control.Column{Name: "decided with", Type: control.Text}, control.Column{Name: "signed", Type: control.Instant},
		control.Column{Name: "until", Type: control.Instant})
	for _, a := range ev.Attestations {
		v := a.Value
		if !v.Serves(ev.Framework, id) || v.SignedAt.After(ev.Now) {
			continue
		}
		proof, with := control.Proves(a.Ref), ""
		if c := ev.Ceremony(v.Ceremony); c != nil {
			proof.Rows = append(proof.Rows, c.Ref)
			for i, p := range c.Value.Approvers {
				if i > 0 {
					with += ", "
				}
				with += p
			}
		}
		remark := ""
		switch {
		case v.WithdrawnAt != nil && !v.WithdrawnAt.After(ev.Now):
			remark = fmt.Sprintf("withdrawn by %s: it does not count", v.WithdrawnBy)
		case !v.InForce(ev.Now):
			remark = "its time has run out: it does not count"
		}
		t.Note(control.Info, remark, proof, v.ID, string(v.Kind), string(v.Outcome), v.Statement, v.Reference, v.Signer, with, control.Time(v.SignedAt), control.Time(v.ExpiresAt))
	}
	return t
}
