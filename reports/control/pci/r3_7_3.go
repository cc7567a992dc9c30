package pci

import (
	"context"

	"conclave/reports/control"
)

// Storage judges 3.7.3: the stored keys by 3.6.1.2, the source code by a person.
func Storage(ctx context.Context, ev *control.Evidence) control.Result {
	if r, out := outOfScope(ev); out {
		return r
	}
	forms := PermittedForms(ctx, ev)
	if forms.Verdict == control.Satisfied {
		forms.Verdict = control.NeedsHuman
		forms.Summary += " What remains is the source code, which this service does not see."
	}
	if forms.Verdict == control.NeedsHuman {
		forms.Question = "Which secret scan covers the source code of every release in use that handles account data, when did it last run on each, and was its result clean?"
	}
	return forms
}
