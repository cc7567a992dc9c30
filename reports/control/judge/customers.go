package judge

import (
	"context"
	"fmt"

	"conclave/custodian/amount"
	"conclave/reports/control"
)

// CustomerGuidance prepares 3.7.9 for the person who must answer it.
func CustomerGuidance(_ context.Context, ev *control.Evidence) control.Result {
	if r, out := outOfScope(ev); out {
		return r
	}
	t := control.NewTable("Applications that may use "+ev.Scope.Keys(),
		control.Column{Name: "application", Type: control.ID}, control.Column{Name: "name", Type: control.Text},
		control.Column{Name: "owner", Type: control.ID}, control.Column{Name: "key", Type: control.ID},
		control.Column{Name: "operations", Type: control.Text}, control.Column{Name: "until", Type: control.Instant})
	for _, g := range ev.Grants {
		k := ev.Key(g.Value.Key)
		if k == nil || !ev.Scope.Covers(k.Value) || g.Value.CreatedAt.After(ev.Now) ||
			!g.Value.ExpiresAt.After(ev.Now) || (g.Value.RevokedAt != nil && !g.Value.RevokedAt.After(ev.Now)) {
			continue
		}
		name, owner := "", ""
		proof := control.Proves(g.Ref)
		for _, a := range ev.Applications {
			if a.Value.ID == g.Value.Application {
				name, owner = a.Value.Name, a.Value.Owner
				proof.Rows = append(proof.Rows, a.Ref)
			}
		}
		operations := make([]string, len(g.Value.Operations))
		for i, o := range g.Value.Operations {
			operations[i] = string(o)
		}
		t.Note(control.Attention, "", proof, g.Value.Application, name, owner, g.Value.Key, list(operations), control.Time(g.Value.ExpiresAt))
	}
	r := control.Result{
		Verdict: control.NeedsHuman,
		Summary: fmt.Sprintf("The service cannot tell which application belongs to a customer. %s may use %s.", amount.Of(t.Total, "grant"), ev.Scope.Keys()),
		Question: "Do you provide services to others, and does any customer of yours hold or share such a key? If so: which guidance on moving, keeping and renewing " +
			"the keys does each of them have, in which version, and when did they receive it?",
	}
	if t.Total > 0 {
		r.Tables = append(r.Tables, *t)
	}
	return r
}
