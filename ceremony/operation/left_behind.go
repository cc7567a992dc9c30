package operation

import (
	"errors"
	"fmt"

	"github.com/go-json-experiment/json"

	"conclave/custodian"
	"conclave/custodian/access"
	"conclave/custodian/identity"
	"conclave/custodian/people"
	"conclave/custodian/store"
)

// leftBehind is what must follow when approval keys of a person are taken back: whatever was made with them alone stays
// good until somebody has looked at it. What others approved too is on the record.
func leftBehind(view *store.View, p *people.Person, credentials []string, in Input) (out []duty) {
	for _, credential := range credentials {
		for _, kind := range []dutyOfKind{
			{people.DutyTokens, people.ClockAccess, "pci-dss-4.0.1:8.6.3", "revoke, or explain, tokens made with approval key %s of %s"},
			{people.DutyInvitations, people.ClockAccess, "pci-dss-4.0.1:8.2.4", "withdraw, or explain, invitations opened with approval key %s of %s"},
			{people.DutyGrants, people.ClockAsked, "pci-dss-4.0.1:7.2.4", "look through grants asked for with approval key %s of %s"},
			{people.DutyEnrolments, people.ClockAsked, "pci-dss-4.0.1:7.2.5", "look through applications enrolled with approval key %s of %s"},
		} {
			d := people.Duty{Kind: kind.kind, Person: p.ID, Cause: people.CauseCredential, Subject: credential, Task: fmt.Sprintf(kind.task, credential, p.ID),
				Control: kind.control, OpenedAt: in.Now, OpenedBy: in.Ceremony, DueAt: in.Now.Add(kind.clock), ID: dutyID(in.Ceremony, kind.kind, p.ID, credential)}
			if len(Outstanding(view, &d)) > 0 {
				out = append(out, duty{d})
			}
		}
	}
	return out
}

// outstandingAccess: what lets somebody in and goes back to a person, or to one key of theirs, is done with when it is
// revoked or over.
func outstandingAccess(view *store.View, d *people.Duty) (out []string) {
	now := view.Time()
	if now.Before(d.OpenedAt) {
		now = d.OpenedAt
	}
	switch d.Kind {
	case people.DutyTokens:
		out = idsOf(view, custodian.KindToken, func(t *access.Token) (string, bool) {
			live := t.RevokedAt == nil && t.Subject != d.Person && (d.Subject != "" || t.CreatedAt.Before(d.OpenedAt)) && now.Before(t.ExpiresAt)
			return t.ID, live && goesBackTo(view, d, t.Asked, t.CreatedBy)
		})
	case people.DutyInvitations:
		out = idsOf(view, custodian.KindInvitation, func(i *people.Invitation) (string, bool) {
			asked := access.Asked{AskedBy: i.OpenedBy, AskedWith: i.OpenedWith}
			return i.ID, i.Pending(now) && goesBackTo(view, d, asked, i.Ceremony)
		})
	case people.DutyGrants:
		out = idsOf(view, custodian.KindGrant, func(g *access.Grant) (string, bool) {
			live := g.RevokedAt == nil && now.Before(g.ExpiresAt)
			return g.ID, live && goesBackTo(view, d, g.Asked, g.CreatedBy)
		})
	case people.DutyEnrolments:
		out = idsOf(view, custodian.KindApplication, func(x *access.Application) (string, bool) {
			return x.ID, x.Active() && goesBackTo(view, d, x.Asked, x.EnrolledBy)
		})
	}
	return out
}

// goesBackTo says whether what a duty is about was asked for by its person: with the key that is its subject, where it
// names one. Rows of before that was recorded are told by their ceremony.
func goesBackTo(view *store.View, d *people.Duty, asked access.Asked, ceremony string) bool {
	if asked.AskedBy == "" || (d.Subject != "" && asked.AskedWith == "") {
		var err error
		if asked, err = requesterOf(view, ceremony); err != nil {
			return true // not to be believed or not readable now: a person looks
		}
	}
	return asked.AskedBy == d.Person && (d.Subject == "" || asked.AskedWith == d.Subject)
}

// requesterOf is the person who asked for a ceremony, and the key that they asked with; empty where no row says so.
func requesterOf(view *store.View, ceremony string) (access.Asked, error) {
	row, err := view.Get(ceremonyKind, ceremony)
	if errors.Is(err, store.ErrNotFound) {
		return access.Asked{}, nil
	}
	if err != nil {
		return access.Asked{}, fmt.Errorf("reading who asked for %q: %w", ceremony, err)
	}
	var c struct {
		Requester struct {
			Kind       identity.Kind `json:"kind"`
			ID         string        `json:"id"`
			Credential string        `json:"credential"`
		} `json:"requester"`
	}
	if err := json.Unmarshal(row.Body, &c); err != nil || c.Requester.Kind != identity.Human {
		return access.Asked{}, nil
	}
	return access.Asked{AskedBy: c.Requester.ID, AskedWith: c.Requester.Credential}, nil
}
