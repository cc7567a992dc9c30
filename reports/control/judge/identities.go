package judge

import (
	"context"
	"fmt"
	"slices"
	"time"

	"conclave/custodian/amount"
	"conclave/custodian/people"
	"conclave/reports/control"
)

// Bounds on people and their credentials (ours, but for the 90 days of PCI DSS 4.0.1, 8.2.6).
const (
	leaverWithin = 24 * time.Hour // from departure to the last credential's end
	secretLife   = 366 * day      // of an application's token
)

// identities judges whether every actor is one person or one program, and no key belongs to two.
func identities(_ context.Context, ev *control.Evidence) control.Result {
	t := table("People and their approval keys", "person|id", "name", "staff number", "status", "keys in force|integer", "compared how", "added by|id")
	owners := map[string][]string{}
	for _, p := range ev.People {
		for _, c := range p.Value.ApprovalKeys {
			owners[c.ID] = append(owners[c.ID], p.Value.ID)
		}
	}
	for _, p := range ev.People {
		if p.Value.AddedAt.After(ev.Now) {
			continue
		}
		var f control.Faults
		var compared []string
		for _, c := range p.Value.ApprovalKeys {
			f.Check(len(owners[c.ID]) == 1, "shares an approval key with "+list(slices.DeleteFunc(slices.Clone(owners[c.ID]), func(id string) bool { return id == p.Value.ID })))
			switch {
			case c.Attested != nil:
				compared = append(compared, c.Attested.Compared)
			case c.AddedBy == "":
				compared = append(compared, "by everybody, in the genesis file")
			}
		}
		state := control.OK
		if p.Value.Status == people.StatusActive && len(p.Value.Live()) == 0 {
			state = control.Attention
		}
		t.Add(state, f, control.Proves(p.Ref), p.Value.ID, p.Value.Name, p.Value.StaffNumber, string(p.Value.Status), control.Int(len(p.Value.Live())), list(compared), p.Value.AddedBy)
	}
	nameless := table("Entries of the period without an actor", "field", "entries|integer")
	if l := ev.Events.Lacking()["user"]; l != nil {
		nameless.Add(control.OK, control.Faults{"an entry names nobody"}, control.Proof{Ledger: l.Seqs}, "user", control.Int(l.Count))
	}
	return control.Conclude(control.Finding{
		Tables: []*control.Table{nameless, t},
		Good:   fmt.Sprintf("%s, each with an id and keys that are nobody else's and never will be; every entry of the period names its actor.", amount.Of(t.Total, "person")),
		Bad:    "An identity is shared, or an entry names nobody.",
		Empty:  "Nobody is in the register.",
		Doubt:  "Some active people have no key to sign with. Why are they active?",
	})
}

// decidedTogether judges whether every entry of the control's types rests on a decision by those who may.
func decidedTogether(c control.Control) control.Evaluator {
	return func(_ context.Context, ev *control.Evidence) control.Result {
		t := table("What was done in the period, and who decided on it", "at|time", "type", "on|id", "by|id", "ceremony|id", "class", "approved by")
		for _, kind := range c.Evidence.Events {
			for _, e := range ev.Events.Of(kind) {
				if ev.InPeriod(e.At) && e.Outcome == "done" {
					addDecided(ev, t, e)
				}
			}
		}
		return control.Conclude(control.Finding{
			Tables: []*control.Table{t},
			Good:   fmt.Sprintf("%s in the period, each decided by those who may.", amount.Of(t.Total, "act")),
			Bad:    fmt.Sprintf("%s without a decision by those who may.", of(t.Violating, t.Total, "act")),
			Empty:  "Nothing of the kind was done in the period.",
			Unseen: ev.Events.Dropped(c.Evidence.Events...),
		})
	}
}

// addDecided adds one act. What restricts, what somebody does about themselves, and what a node does by a date that was
// decided on take no quorum of their own; genesis was signed by everybody.
func addDecided(ev *control.Evidence, t *control.Table, e control.Event) {
	proof := control.Proof{Ledger: []uint64{e.Seq}}
	var f control.Faults
	cells := []string{control.Time(e.At), e.Type, e.Target, e.Actor, e.Ceremony}
	c := ev.Ceremony(e.Ceremony)
	if c == nil {
		genesis := e.ActorKind == "node" && (e.Ceremony == "" || e.Ceremony == "genesis")
		f.Check(genesis, "no ceremony on record stands behind it")
		t.Add(control.OK, f, proof, append(cells, "", "")...)
		return
	}
	proof.Rows = append(proof.Rows, c.Ref)
	if c.Value.Class == "G" {
		f.Check(len(c.Value.Approvers) >= leastApprovals || ev.Instance.Development(), fmt.Sprintf("approved by %s, %d are demanded", amount.Of(len(c.Value.Approvers), "other"), leastApprovals))
	}
	f.Check(!slices.Contains(c.Value.Approvers, c.Value.Requester.ID), "who asked approved it")
	t.Add(control.OK, f, proof, append(cells, className(c.Value.Class), list(c.Value.Approvers))...)
}

// leavers judges whether nobody who left or was suspended can act, and what they held was taken care of.
func leavers(_ context.Context, ev *control.Evidence) control.Result {
	t := table("People who left or are suspended", "person|id", "name", "status", "since|time", "keys in force|integer", "applications", "open duties|integer")
	for _, p := range ev.People {
		if p.Value.Status == people.StatusActive || p.Value.AddedAt.After(ev.Now) {
			continue
		}
		addLeaver(ev, t, p)
	}
	kept := table("People who are active", "count|integer")
	if n := len(present(ev)); n > 0 {
		kept.Note(control.OK, "", control.Proof{}, control.Int(n))
	}
	return control.Conclude(control.Finding{
		Tables: []*control.Table{t, kept},
		Good:   leftSummary(t.Total, len(present(ev))),
		Bad:    fmt.Sprintf("%s who can still act, or whose duties are late.", of(t.Violating, t.Total, "person")),
		Empty:  "Nobody is in the register.",
	})
}

// leftSummary says what the register shows of people who left.
func leftSummary(left, active int) string {
	if left == 0 {
		return fmt.Sprintf("Nobody in the register has left or is suspended: %s. How soon access ends is not shown at work.", amount.Of(active, "active person"))
	}
	return fmt.Sprintf("%s left or suspended; none of them can act, and what they held is being taken care of in time.", amount.Of(left, "person"))
}

func addLeaver(ev *control.Evidence, t *control.Table, p control.Record[people.Person]) {
	proof := control.Proves(p.Ref)
	var f control.Faults
	var since time.Time
	switch {
	case p.Value.LeftAt != nil:
		since = *p.Value.LeftAt
	case p.Value.SuspendedAt != nil:
		since = *p.Value.SuspendedAt
	}
	if since.After(ev.Now) {
		return
	}
	left := p.Value.Status == people.StatusLeft
	live := len(p.Value.Live())
	f.Check(!left || live == 0 || ev.Now.Sub(since) <= leaverWithin, "an approval key is not revoked")
	for _, e := range ev.Events.Of("ceremony.complete") {
		f.Check(e.Actor != p.Value.ID || !e.At.After(since), "acted after that")
	}
	var owned []string
	for _, a := range ev.Applications {
		if a.Value.Owner == p.Value.ID && a.Value.Status == "active" {
			owned = append(owned, a.Value.ID)
			proof.Rows = append(proof.Rows, a.Ref)
		}
	}
	f.Check(!left || len(owned) == 0 || ev.Now.Sub(since) <= departureWithin, "owns an application")
	open := 0
	for _, d := range ev.Duties {
		if d.Value.Person != p.Value.ID || d.Value.OpenedAt.After(ev.Now) {
			continue
		}
		proof.Rows = append(proof.Rows, d.Ref)
		if d.Value.ClosedAt == nil || d.Value.ClosedAt.After(ev.Now) {
			open++
			f.Check(!ev.Now.After(d.Value.DueAt), "late: "+d.Value.Task)
		}
	}
	t.Add(control.OK, f, proof, p.Value.ID, p.Value.Name, string(p.Value.Status), control.Time(since), control.Int(live), list(owned), control.Int(open))
}

// inactivity judges whether nobody is active who was not seen for 90 days.
func inactivity(_ context.Context, ev *control.Evidence) control.Result {
	t := table("When active people were last seen", "person|id", "name", "added|time", "last signed|time", "days|integer")
	seen := map[string]control.Record[people.Activity]{}
	for _, a := range ev.Activities {
		seen[a.Value.Person] = a
	}
	for _, p := range present(ev) {
		proof, last, shown := control.Proves(p.Ref), p.Value.AddedAt, ""
		if a, ok := seen[p.Value.ID]; ok && a.Value.At.After(last) {
			proof.Rows = append(proof.Rows, a.Ref)
			last, shown = a.Value.At, control.Time(a.Value.At)
		}
		for _, e := range ev.Events.About(p.Value.ID, "custodian.resume", "people.active") {
			if e.At.After(last) && !e.At.After(ev.Now) {
				last = e.At
				proof = proof.And(e.Seq)
			}
		}
		idle := max(ev.Now.Sub(last), 0)
		var f control.Faults
		f.Check(idle <= people.InactiveAfter, "not seen for more than 90 days, and active")
		t.Add(control.OK, f, proof, p.Value.ID, p.Value.Name, control.Time(p.Value.AddedAt), shown, control.Int(int(idle/day)))
	}
	return control.Conclude(control.Finding{
		Tables: []*control.Table{t},
		Good:   fmt.Sprintf("%s, each seen within the last 90 days or added since.", amount.Of(t.Total, "active person")),
		Bad:    fmt.Sprintf("%s not seen for more than 90 days.", of(t.Violating, t.Total, "active person")),
		Empty:  "Nobody is active in the register.",
	})
}

// noPasswords shows that a rule about passwords has nothing to apply to: people sign with keys.
func noPasswords(_ context.Context, ev *control.Evidence) control.Result {
	t := keysInForce(ev)
	if t.Total == 0 {
		return control.Result{Verdict: control.NoEvidence, Summary: "Nobody has a credential, so it is not shown how people prove who they are."}
	}
	r := control.Conclude(control.Finding{Tables: []*control.Table{t}, Bad: "A credential is not a public key."})
	if r.Verdict == control.Satisfied {
		r.Verdict = control.NotApplicable
		r.Summary = fmt.Sprintf("No password lets anybody in. People sign each request with a private key of their own: %s, all of them public keys.", amount.Of(t.Total, "credential"))
	}
	return r
}

func keysInForce(ev *control.Evidence) *control.Table {
	t := table("Credentials in force", "person|id", "credential|id", "algorithm", "since|time", "compared how")
	for _, p := range present(ev) {
		for _, c := range p.Value.Live() {
			var f control.Faults
			f.Check(oneOf(c.Alg, "ES256", "EdDSA"), fmt.Sprintf("algorithm %q is no signature of this service", c.Alg))
			compared := "by everybody, in the genesis file"
			if c.Attested != nil {
				compared = c.Attested.Compared
			}
			t.Add(control.OK, f, control.Proves(p.Ref), p.Value.ID, c.ID, c.Alg, control.Time(c.AddedAt), compared)
		}
	}
	return t
}

// credentials judges how people and programs prove who they are: by a signature over each request. How many factors
// unlock the private key happens on their side, so a person answers for that.
func credentials(_ context.Context, ev *control.Evidence) control.Result {
	t := keysInForce(ev)
	for _, p := range present(ev) {
		for _, c := range p.Value.Live() {
			if c.Attested != nil && c.Attested.Compared == people.NotCompared {
				t.Add(control.OK, control.Faults{"nobody compared it with its holder"}, control.Proves(p.Ref), p.Value.ID, c.ID, c.Alg, control.Time(c.AddedAt), c.Attested.Compared)
			}
		}
	}
	return control.Conclude(control.Finding{
		Tables: []*control.Table{t},
		Good:   "Every request of a person is signed with a key of theirs, over method, path, body, a nonce that is used once, and an expiry, so that none can be replayed.",
		Bad:    "A credential is not what it must be.",
		Empty:  "Nobody has a credential.",
		Question: "A private key lies in a file under a passphrase or in a device of its holder, which this service does not see. For each person listed here: in what is the " +
			"key kept, which second factor unlocks it (a passphrase that is not kept beside it, a PIN, a fingerprint), and how was that checked?",
	})
}

// applicationSecrets judges the tokens of programs: each belongs to one, ends, and is kept by its hash only.
func applicationSecrets(_ context.Context, ev *control.Evidence) control.Result {
	t := table("Tokens in force", "token|id", "kind", "of|id", "made|time", "ends|time", "ceremony|id")
	hashes := map[string]int{}
	for _, k := range ev.Tokens {
		hashes[string(k.Value.SecretHash)]++
	}
	for _, k := range ev.Tokens {
		v := k.Value
		if v.CreatedAt.After(ev.Now) || !v.ExpiresAt.After(ev.Now) || (v.RevokedAt != nil && !v.RevokedAt.After(ev.Now)) {
			continue
		}
		proof := control.Proves(k.Ref)
		var f control.Faults
		f.Check(len(v.SecretHash) == 32, "its secret is not kept as a SHA-256")
		f.Check(hashes[string(v.SecretHash)] == 1, "another token has the same secret")
		f.Check(v.ExpiresAt.Sub(v.CreatedAt) <= secretLife, "it lasts longer than a year")
		if c := ev.Ceremony(v.CreatedBy); c != nil {
			proof.Rows = append(proof.Rows, c.Ref)
		} else {
			f.Check(v.CreatedBy == "genesis", "no ceremony on record made it")
		}
		if v.Kind == "application" {
			app := application(ev, v.Subject)
			f.Check(app != nil && app.Value.Status == "active", "its application is not active")
		} else if p := ev.Person(v.Subject); p == nil || p.Value.Status != people.StatusActive {
			f = append(f, "its holder is not active")
		}
		t.Add(control.OK, f, proof, v.ID, v.Kind, v.Subject, control.Time(v.CreatedAt), control.Time(v.ExpiresAt), v.CreatedBy)
	}
	return control.Conclude(control.Finding{
		Tables: []*control.Table{t},
		Good:   fmt.Sprintf("%s, each of one application or auditor, decided on, with an end within a year, and kept by its hash only.", amount.Of(t.Total, "token")),
		Bad:    fmt.Sprintf("%s not as demanded.", of(t.Violating, t.Total, "token")),
		Empty:  "No token is in force.",
	})
}
