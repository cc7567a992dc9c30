// Package control judges controls: the catalogue of requirements as data, the evidence that evaluators look
// at, and the results they give. It reads no clock and no database: the same evidence gives the same result.
package control

// Verdict is what can be said of one control from the evidence at hand.
type Verdict string

// The verdicts. None of them is a hopeful pass: what was not looked at is never satisfied.
const (
	// Satisfied: every row that was looked at meets the rule, and there was at least one.
	Satisfied Verdict = "satisfied"
	// Violated: at least one row breaks the rule.
	Violated Verdict = "violated"
	// NotApplicable: there is evidence that what the control is about does not occur here.
	NotApplicable Verdict = "not applicable"
	// NoEvidence: nothing to look at, so nothing is shown.
	NoEvidence Verdict = "no evidence"
	// NeedsHuman: no program can judge it, or not all of it; the result carries the question.
	NeedsHuman Verdict = "needs a human"
)

// Verdicts lists all verdicts in the order in which reports count them.
func Verdicts() []Verdict {
	return []Verdict{Satisfied, Violated, NeedsHuman, NoEvidence, NotApplicable}
}

// State is what was found of one row.
type State string

const (
	OK        State = "ok"        // meets the rule
	Violating State = "violating" // breaks the rule; Row.Why says how
	Attention State = "attention" // cannot be judged here; the result's question is about it
	Info      State = "info"      // context; decides nothing
)

// severity orders rows for reading: what matters first.
func (s State) severity() int {
	switch s {
	case Violating:
		return 0
	case Attention:
		return 1
	case OK:
		return 2
	}
	return 3
}
