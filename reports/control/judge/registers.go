package judge

import (
	"context"
	"fmt"

	"conclave/custodian/amount"
	"conclave/custodian/oversight"
	"conclave/custodian/people"
	"conclave/reports/control"
)

// register lists rows that help whoever answers a question. They decide nothing.
type register func(ev *control.Evidence) *control.Table

func registers() map[string]register {
	return map[string]register{
		"people": CustodianRegister, "access": AccessRegister, "keys": KeyInventory,
		"keystores": KeystoreInventory,
		"assets":    assetRegister, "ciphers": CryptoInventory,
		"backups": func(ev *control.Evidence) *control.Table { return info(backupTable(ev)) }, "documents": documentRegister, "shares": shareRegister,
	}
}

func first(t *control.Table, _ int) *control.Table { return t }

// info makes a table context: what it says is judged elsewhere.
func info(t *control.Table) *control.Table {
	out := control.NewTable(t.Title, t.Columns...).Whole()
	for _, r := range t.Rows {
		r.State, r.Why = control.Info, ""
		out.AddRow(r)
	}
	out.Total = t.Total
	return out
}

// CustodianRegister lists everybody with a part in custody, what they hold and when they accepted it.
func CustodianRegister(ev *control.Evidence) *control.Table {
	t := listing(ev, "Register of people", "person|id", "name", "roles", "team", "site", "status", "accepted the duty until|time", "shares", "stands in", "added|time")
	held := map[string][]string{}
	for _, set := range ev.ShareSets {
		for _, s := range ev.CurrentShares(set.Value) {
			held[s.Value.Custodian] = append(held[s.Value.Custodian], s.Ref.ID)
		}
	}
	for _, p := range ev.People {
		if p.Value.AddedAt.After(ev.Now) {
			continue
		}
		t.Note(control.Info, "", control.Proves(p.Ref), p.Value.ID, p.Value.Name, words(p.Value.Roles), p.Value.Team, p.Value.Site, string(p.Value.Status),
			control.Time(people.AcknowledgedUntil(&p.Value)), list(held[p.Value.ID]), p.Value.Backup, control.Time(p.Value.AddedAt))
	}
	return t
}

// WhoIsWho says who the people and applications are whose ids stand in rows: everybody that the register ever had.
func WhoIsWho(ev *control.Evidence) *control.Table {
	t := table("People and applications", "id|id", "name", "kind", "roles, or who owns it", "team", "status")
	for _, p := range ev.People {
		if !p.Value.AddedAt.After(ev.Now) {
			t.Note(control.Info, "", control.Proves(p.Ref), p.Value.ID, p.Value.Name, "person", words(p.Value.Roles), p.Value.Team, string(p.Value.Status))
		}
	}
	for _, a := range ev.Applications {
		if !a.Value.EnrolledAt.After(ev.Now) {
			t.Note(control.Info, "", control.Proves(a.Ref), a.Value.ID, a.Value.Name, "application", "owned by "+a.Value.Owner, "", a.Value.Status)
		}
	}
	return t
}

// AccessRegister lists all access in force, which a review of access goes over: people by their roles, applications by
// their grants.
func AccessRegister(ev *control.Evidence) *control.Table {
	t := accessTable(ev, "All access in force")
	for _, p := range present(ev) {
		t.Note(control.Info, "", control.Proves(p.Ref), p.Value.ID, p.Value.Name, "person", words(p.Value.Roles), "", control.Time(p.Value.AddedAt), "", "", p.Value.AddedBy)
	}
	addGrants(ev, t)
	return t
}

// ApplicationAccess lists which application may do what with which key.
func ApplicationAccess(ev *control.Evidence) *control.Table {
	t := accessTable(ev, "Applications and the keys that they may use")
	addGrants(ev, t)
	return t
}

func accessTable(ev *control.Evidence, title string) *control.Table {
	return listing(ev, title, "who|id", "name", "kind", "may", "on|id", "since|time", "until|time", "uses in the period|integer", "decided by|id")
}

func addGrants(ev *control.Evidence, t *control.Table) {
	names := map[string]string{}
	for _, a := range ev.Applications {
		names[a.Value.ID] = a.Value.Name
	}
	uses := ev.Events.Doers(control.Uses)
	for _, g := range grantsAt(ev) {
		n := 0
		if tally := uses[control.Doer{Kind: "application", ID: g.Value.Application, What: g.Value.Key}]; tally != nil {
			n = tally.Allowed
		}
		t.Note(control.Info, "", control.Proves(g.Ref), g.Value.Application, names[g.Value.Application], "application", words(g.Value.Operations), g.Value.Key, control.Time(g.Value.CreatedAt),
			control.Time(g.Value.ExpiresAt), control.Int(n), g.Value.CreatedBy)
	}
}

// KeyInventory is the live list of key versions of PCI DSS 4.0.1, 3.6.1.1.
func KeyInventory(ev *control.Evidence) *control.Table { return info(first(keyInventory(ev))) }

// KeystoreInventory is the list of modules and devices of 3.6.1.1.
func KeystoreInventory(ev *control.Evidence) *control.Table { return info(keystoreInventory(ev)) }

// CryptoInventory is the list of algorithms and protocols of 12.3.3.
func CryptoInventory(ev *control.Evidence) *control.Table { return info(cryptoInventory(ev)) }

func assetRegister(ev *control.Evidence) *control.Table {
	t := table("Data under keys, as owners registered it", "asset|id", "label", "location", "key|id", "owner|id", "status", "stated|time")
	for _, a := range ev.Assets {
		if a.Value.At.After(ev.Now) || (a.Value.Key != "" && ev.Key(a.Value.Key) != nil && !ev.Scope.Covers(ev.Key(a.Value.Key).Value)) {
			continue
		}
		t.Note(control.Info, "", control.Proves(a.Ref), a.Value.ID, a.Value.Label, a.Value.Location, a.Value.Key, a.Value.Owner, a.Value.Status, control.Time(a.Value.At))
	}
	return t
}

func shareRegister(ev *control.Evidence) *control.Table {
	t := listing(ev, "Shares of epochs in force", "share|id", "custodian|id", "status", "issued|time", "confirmed|time")
	for _, set := range ev.ShareSets {
		for _, s := range ev.CurrentShares(set.Value) {
			confirmed := ""
			if s.Value.ConfirmedAt != nil {
				confirmed = control.Time(*s.Value.ConfirmedAt)
			}
			t.Note(control.Info, "", control.Proves(s.Ref), s.Ref.ID, s.Value.Custodian, string(s.Value.Status), control.Time(s.Value.IssuedAt), confirmed)
		}
	}
	return t
}

func documentRegister(ev *control.Evidence) *control.Table {
	t := table("Documents that people signed to be in force", "statement|id", "document", "SHA-256|id", "signed by|id", "signed|time", "until|time", "says")
	for _, a := range ev.Attestations {
		if a.Value.Kind == oversight.AttestDocument && a.Value.InForce(ev.Now) {
			t.Note(control.Info, "", control.Proves(a.Ref), a.Value.ID, a.Value.Reference, a.Value.SHA256, a.Value.Signer, control.Time(a.Value.SignedAt), control.Time(a.Value.ExpiresAt), a.Value.Statement)
		}
	}
	return t
}

// Declared lists what people registered that this service can not prove.
func Declared(ev *control.Evidence) *control.Table {
	t := listing(ev, "Declared, not proven", "statement|id", "kind", "what", "where", "SHA-256|id", "declared by|id", "declared|time", "until|time")
	for _, a := range ev.Attestations {
		if a.Value.Kind.Declared() && a.Value.InForce(ev.Now) {
			t.Note(control.Info, "", control.Proves(a.Ref), a.Value.ID, string(a.Value.Kind), a.Value.Statement, a.Value.Reference, a.Value.SHA256, a.Value.Signer,
				control.Time(a.Value.SignedAt), control.Time(a.Value.ExpiresAt))
		}
	}
	return t
}

// documents judges whether somebody signed that the document which a control demands is in force. The program sees its
// digest, not whether it is good: a person is asked that.
func documents(c control.Control) control.Evaluator {
	return func(_ context.Context, ev *control.Evidence) control.Result {
		t := table("Documents about this control", "statement|id", "document", "SHA-256|id", "signed by|id", "signed|time", "until|time", "says")
		for _, a := range ev.Attestations {
			v := a.Value
			if v.Kind != oversight.AttestDocument || !v.Serves(ev.Framework, c.ID) || v.SignedAt.After(ev.Now) || withdrawn(v, ev.Now) {
				continue
			}
			cells := []string{v.ID, v.Reference, v.SHA256, v.Signer, control.Time(v.SignedAt), control.Time(v.ExpiresAt), v.Statement}
			if v.InForce(ev.Now) {
				t.Note(control.Attention, "", control.Proves(a.Ref), cells...)
			} else {
				t.Note(control.Info, "its time has run out", control.Proves(a.Ref), cells...)
			}
		}
		r := control.Conclude(control.Finding{Tables: []*control.Table{t}, Good: fmt.Sprintf("%s on record as in force. Whether it says what is demanded, a person reads.", amount.Of(t.Total, "document")),
			Doubt: "Does the document say what this control demands, and is it followed?"})
		if r.Verdict == control.NoEvidence {
			r.Verdict, r.Summary = control.NeedsHuman, "No document about this is on record; conclave audit attest --kind document puts one there."
			r.Question = "Which document is it, in which version, who approved it and when?"
		}
		return r
	}
}

// Shares lists the shares of epochs in force.
func Shares(ev *control.Evidence) *control.Table { return shareRegister(ev) }

// PhysicalForms lists what of a share one can hold.
func PhysicalForms(ev *control.Evidence) *control.Table {
	t := listing(ev, "Physical forms of shares", "form|id", "of share", "kind", "state", "site", "container", "bag")
	for _, x := range ev.ShareForms {
		if v := x.Value; !v.RegisteredAt.After(ev.Now) {
			t.Note(control.Info, "", control.Proves(x.Ref), v.ID, people.ShareID(v.Set, v.Epoch, v.Index), string(v.Kind), string(v.State), v.Site, v.Container, v.Serial)
		}
	}
	return t
}

// TokenRegister lists the tokens in force.
func TokenRegister(ev *control.Evidence) *control.Table {
	t := listing(ev, "Tokens in force", "token|id", "kind", "of|id", "made|time", "until|time", "decided by|id")
	for _, k := range ev.Tokens {
		if v := k.Value; !v.CreatedAt.After(ev.Now) && v.ExpiresAt.After(ev.Now) && (v.RevokedAt == nil || v.RevokedAt.After(ev.Now)) {
			t.Note(control.Info, "", control.Proves(k.Ref), v.ID, v.Kind, v.Subject, control.Time(v.CreatedAt), control.Time(v.ExpiresAt), v.CreatedBy)
		}
	}
	return t
}
