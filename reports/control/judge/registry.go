package judge

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"conclave/reports/control"
)

// evaluator makes the evaluator of a control: most judge alike whichever control asks.
type evaluator func(c control.Control) control.Evaluator

func plain(e control.Evaluator) evaluator {
	return func(control.Control) control.Evaluator { return e }
}

// evaluators are all of them, by the name that the catalogues use.
func evaluators() map[string]evaluator {
	return map[string]evaluator{
		"procedures": plain(Procedures), "architecture": plain(Architecture), "permitted-forms": plain(PermittedForms),
		"fewest-custodians": plain(FewestCustodians), "fewest-places": plain(FewestPlaces), "generation": plain(Generation),
		"distribution": plain(Distribution), "storage": plain(Storage), "cryptoperiods": plain(Cryptoperiods), "retirement": plain(Retirement),
		"dual-control": plain(DualControl), "substitution": plain(Substitution), "acknowledgement": plain(Acknowledgement),
		"customer-guidance": plain(CustomerGuidance),

		"separation": plain(separation), "grants": plain(grants), "approved-access": plain(approvedAccess), "access-review": accessReview,
		"applications": plain(applications), "policy-in-force": plain(policyInForce), "identities": plain(identities),
		"decided-together": decidedTogether, "leavers": plain(leavers), "inactivity": plain(inactivity), "no-passwords": plain(noPasswords),
		"credentials": plain(credentials), "application-secrets": plain(applicationSecrets),

		"recorded": recorded, "refusals": plain(refusals), "record-fields": plain(recordFields), "readers": plain(readers), "log-integrity": plain(logIntegrity),
		"backups": plain(backups), "reviewed": reviewed, "findings": plain(findings), "retention": plain(retention), "clock": plain(clock),
		"failures": plain(failures), "monitored": plain(monitored), "sign-in-failures": plain(signInFailures),

		"restore-tests": plain(restoreTests), "drills": plain(drills), "emergency-access": plain(emergencyAccess), "incidents": plain(incidents),
		"custody": plain(custody), "safe-harbour": plain(safeHarbour),

		"strength": plain(strength), "mac-keys": plain(macKeys), "inventory-review": inventoryReview, "modules": plain(modules),
		"criticality": plain(criticality), "transitions": plain(transitions), "pairs": plain(pairs), "destroyed": plain(destroyed), "documents": documents,
		"question": plain(question),
	}
}

// Names lists the evaluators.
func Names() []string { return slices.Sorted(maps.Keys(evaluators())) }

// For makes the evaluator of a control, with what the catalogue adds to it: a question that no program answers, and
// registers that help whoever does.
func For(c control.Control) (control.Evaluator, error) {
	of, ok := evaluators()[c.Evaluator]
	if !ok {
		return nil, fmt.Errorf("control %s: there is no evaluator %q", c.ID, c.Evaluator)
	}
	show := registers()
	for _, name := range c.Shows {
		if show[name] == nil {
			return nil, fmt.Errorf("control %s: shows: there is no register %q", c.ID, name)
		}
	}
	judge := of(c)
	return func(ctx context.Context, ev *control.Evidence) control.Result {
		if len(ev.Keys) == 0 && len(ev.People) == 0 {
			return control.Result{Verdict: control.NoEvidence, Summary: "There is neither a key nor a person in this instance, so there is nothing to judge."}
		}
		r := judge(ctx, ev)
		if r.Verdict == control.NotApplicable || r.Verdict == control.NoEvidence {
			return r
		}
		r = ask(r, c.Question)
		for _, name := range c.Shows {
			if t := show[name](ev); t.Total > 0 {
				r.Tables = append(r.Tables, *t)
			}
		}
		return r
	}, nil
}

// ask puts a question to a person: what is not answered is not satisfied.
func ask(r control.Result, question string) control.Result {
	if question == "" {
		return r
	}
	r.Question = strings.TrimSpace(r.Question + " " + question)
	if r.Verdict == control.Satisfied {
		r.Verdict = control.NeedsHuman
	}
	return r
}

// question is judged by no program at all: the control's question is what there is, and the rows that help.
func question(context.Context, *control.Evidence) control.Result {
	return control.Result{Verdict: control.NeedsHuman, Summary: "No program can judge this: it is about what people wrote, decided or did outside this service."}
}
