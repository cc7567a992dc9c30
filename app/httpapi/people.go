package httpapi

import (
	"encoding/json"
	"net/http"

	"conclave/app/api"
	"conclave/app/auth"
	"conclave/ceremony/operation"
	"conclave/custodian"
	"conclave/custodian/jwk"
	"conclave/custodian/key"
	"conclave/custodian/people"
	"conclave/custodian/store"
)

func (s *server) getPerson(x *exchange) error {
	id := x.c.Param("person")
	if err := x.authorise(readPeople, "person", id); err != nil {
		return err
	}
	if err := key.CheckID("person", id); err != nil {
		return &custodian.InputError{Field: "person", Problem: "not an id", Allowed: "the id of a person of the register"}
	}
	view := s.door.View()
	p, _, err := store.Get[people.Person](view, custodian.KindPerson, id)
	if err != nil {
		return err
	}
	out := personOf(view, p)
	out.Credentials = credentialsOf(p)
	return x.json(http.StatusOK, out)
}

func personOf(view *store.View, p *people.Person) api.Person {
	out := api.Person{ID: p.ID, Name: p.Name, StaffNumber: p.StaffNumber, Organisation: p.Organisation, Until: p.Until, Roles: []string{}, Groups: p.Groups, Team: p.Team, Site: p.Site,
		Manager: p.Manager, Backup: p.Backup, Status: string(p.Status), ApprovalKeyIDs: []string{}, ShareKeyID: p.ShareKeyID, BackupShareKeyID: p.BackupShareKeyID,
		AddedAt: p.AddedAt, AddedBy: p.AddedBy, SuspendedAt: p.SuspendedAt, SuspendedReason: p.SuspendedReason, SuspendedBy: p.SuspendedBy,
		LeftAt: p.LeftAt, LeftReason: p.LeftReason}
	for _, r := range p.Roles {
		out.Roles = append(out.Roles, string(r))
	}
	for _, c := range p.Live() {
		out.ApprovalKeyIDs = append(out.ApprovalKeyIDs, c.ID)
	}
	if a := p.Acknowledgement; a != nil {
		out.AcknowledgedAt, out.AckExpiresAt = timeOf(a.SignedAt), timeOf(a.ExpiresAt)
	}
	if a, err := store.Peek[people.Activity](view, custodian.KindActivity, p.ID); err == nil {
		out.LastActiveAt = timeOf(a.At)
	}
	return out
}

func credentialsOf(p *people.Person) []api.Credential {
	out := []api.Credential{}
	for _, c := range p.ApprovalKeys {
		item := api.Credential{ID: c.ID, Alg: c.Alg, Fingerprint: fingerprint(c.Key), AddedAt: c.AddedAt, AddedBy: c.AddedBy,
			RevokedAt: c.RevokedAt, RevokedBy: c.RevokedBy, RevokedReason: c.RevokedReason}
		if c.Attested != nil {
			item.Compared, item.ComparedBy = c.Attested.Compared, c.Attested.By
		}
		out = append(out, item)
	}
	return out
}

// fingerprint is how people read a public key aloud; "" for none.
func fingerprint(raw json.RawMessage) string {
	k, err := jwk.Parse(raw)
	if err != nil {
		return ""
	}
	return k.Fingerprint()
}

func invitationOf(i *people.Invitation) api.KeyInvitation {
	return api.KeyInvitation{ID: i.ID, Person: i.Person, Name: i.Name, Status: string(i.Status), OpenedBy: i.OpenedBy, OpenedAt: i.OpenedAt,
		ExpiresAt: i.ExpiresAt, ApprovalKey: i.ApprovalKey, ShareKey: i.ShareKey, ApprovalFingerprint: fingerprint(i.ApprovalKey),
		ShareFingerprint: fingerprint(i.ShareKey), AnsweredAt: i.AnsweredAt, AnsweredFrom: i.AnsweredFrom, EndedAt: i.EndedAt, EndedBy: i.EndedBy}
}

func (s *server) listInvitations(x *exchange) error {
	if err := x.authorise(readPeople, "invitation", ""); err != nil {
		return err
	}
	return page(x, custodian.KindInvitation, func(_ *store.View, i *people.Invitation) (api.KeyInvitation, bool) { return invitationOf(i), true })
}

// invitation shows the invited what they are invited to.
func (s *server) invitation(x *exchange) error {
	return x.json(http.StatusOK, s.toInvited(x.invited))
}

func (s *server) toInvited(i *people.Invitation) api.KeyInvitation {
	out := invitationOf(i)
	out.Instance = s.door.Instance().ID
	return out
}

// answerInvitation takes the public keys of an invited person.
func (s *server) answerInvitation(x *exchange) error {
	var in api.InvitationAnswer
	if err := x.decode(&in); err != nil {
		return err
	}
	answered, err := s.engine.AnswerInvitation(x.ctx(), x.invited.ID, in.Envelope, auth.Origin(x.c.Request))
	if err != nil {
		return err
	}
	return x.json(http.StatusOK, s.toInvited(answered))
}

func (s *server) listDuties(x *exchange) error {
	q, err := x.query("state")
	if err != nil {
		return err
	}
	state := q.Get("state")
	if state != "" && state != "open" && state != "all" {
		return &custodian.InputError{Field: "query.state", Problem: "unknown", Allowed: "open, all"}
	}
	if err := x.authorise(readPeople, "duty", ""); err != nil {
		return err
	}
	view, now := s.door.View(), s.clock.Now()
	if bad := view.Tampered(custodian.KindDuty); len(bad) > 0 {
		return &store.TamperedError{Kind: custodian.KindDuty, ID: bad[0].ID}
	}
	out := api.Page[api.Duty]{Items: []api.Duty{}}
	for _, d := range operation.Duties(view, state != "all") {
		item := api.Duty{ID: d.ID, Kind: string(d.Kind), Person: d.Person, Cause: d.Cause, Subject: d.Subject, Task: d.Task, Control: d.Control,
			OpenedAt: d.OpenedAt, OpenedBy: d.OpenedBy, DueAt: d.DueAt, Overdue: d.Overdue(now), ClosedAt: d.ClosedAt, ClosedBy: d.ClosedBy, Finding: d.Finding}
		if d.Open() {
			item.Outstanding = operation.Outstanding(view, d)
		}
		if out.Items = append(out.Items, item); len(out.Items) == maxPage {
			break // the most urgent ones first; nobody has so many
		}
	}
	return x.json(http.StatusOK, out)
}

func (s *server) listAlerts(x *exchange) error {
	if err := x.authorise(readPeople, "alert", ""); err != nil {
		return err
	}
	out := api.Page[api.Alert]{Items: []api.Alert{}}
	alerts, err := s.engine.Alerts(x.ctx())
	if err != nil {
		return err
	}
	for _, a := range alerts {
		out.Items = append(out.Items, api.Alert{Kind: string(a.Kind), Key: a.Key, Version: a.Version, Keystore: a.Keystore, Person: a.Person, Duty: a.Duty, Set: a.Set, Days: a.Days, Message: a.Message})
	}
	return x.json(http.StatusOK, out)
}
