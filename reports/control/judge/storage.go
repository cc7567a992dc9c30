package judge

import (
	"context"
	"strings"

	"conclave/reports/control"
)

// Storage judges 3.7.3: the stored keys by 3.6.1.2, backups and source code by a person.
func Storage(ctx context.Context, ev *control.Evidence) control.Result {
	if r, out := outOfScope(ev); out {
		return r
	}
	forms := PermittedForms(ctx, ev)
	if forms.Verdict == control.Satisfied {
		forms.Verdict = control.NeedsHuman
		forms.Summary += " What remains are backups, archives and source code, which this service does not see."
	}
	if forms.Verdict == control.NeedsHuman {
		forms.Question = strings.TrimSpace(forms.Question + " Which backups and archives of keystores and of this instance's database exist, and how is it shown that none of them " +
			"holds a key in another form than the rows here say? Which secret scan covers the source code of every release in use that uses these keys, when did it last run on each, and was its result clean?")
	}
	return forms
}
