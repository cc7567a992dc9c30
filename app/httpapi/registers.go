package httpapi

import (
	"fmt"
	"net/http"
	"strings"

	"conclave/app/api"
	"conclave/custodian"
	"conclave/custodian/access"
	"conclave/custodian/identity"
	"conclave/custodian/key"
	"conclave/custodian/people"
	"conclave/custodian/store"
)

func (s *server) listKeystores(x *exchange) error {
	if err := x.authorise(readKeystores, "keystore", ""); err != nil {
		return err
	}
	return page(x, custodian.KindKeystore, func(view *store.View, k *key.Keystore) (api.Keystore, bool) {
		return s.keystoreOf(view, k), true
	})
}

func (s *server) keystoreOf(view *store.View, k *key.Keystore) api.Keystore {
	out := api.Keystore{
		ID: k.ID, Driver: k.Driver, FIPS: s.fipsClaim(k), Jurisdiction: k.Jurisdiction, Environment: k.Environment,
		Custody: string(k.Custody), Location: k.Location, ShareSet: k.ShareSet, Simulated: k.Simulated,
	}
	out.MemberOf = k.MemberOf
	if k.Group != nil {
		k = s.groupOf(view, k, &out)
		out.FIPS, out.Jurisdiction, out.Simulated = s.fipsClaim(k), k.Jurisdiction, k.Simulated
	}
	s.placementFacts(k, &out)
	if driver, err := s.door.Keystore(k.ID); err == nil {
		out.Active = driver.Active()
	}
	set, _, err := store.Get[people.ShareSet](view, custodian.KindShareSet, k.ShareSet)
	if err != nil {
		return out
	}
	out.Threshold, out.Total = set.Threshold, set.Total
	out.Confirmed = set.Confirmed(sharesOf(view, set.ID))
	return out
}

// fipsClaim words what a keystore claims: "140-3 level 1, certificate 5247 (active)".
func (s *server) fipsClaim(k *key.Keystore) string {
	if k.FIPSStandard == "" || k.FIPSLevel == 0 {
		return "no claim"
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s level %d", k.FIPSStandard, k.FIPSLevel)
	if k.Certificate != "" {
		fmt.Fprintf(&b, ", certificate %s", k.Certificate)
	}
	if status := k.StatusAt(s.clock.Now()); status != "" {
		fmt.Fprintf(&b, " (%s)", status)
	}
	if k.Simulated {
		b.WriteString(", SIMULATED")
	}
	return b.String()
}

func (s *server) listPeople(x *exchange) error {
	if err := x.authorise(readPeople, "person", ""); err != nil {
		return err
	}
	return page(x, custodian.KindPerson, func(view *store.View, p *people.Person) (api.Person, bool) { return personOf(view, p), true })
}

func (s *server) listApplications(x *exchange) error {
	if err := x.authorise(readApplications, "application", ""); err != nil {
		return err
	}
	return page(x, custodian.KindApplication, func(_ *store.View, a *access.Application) (api.Application, bool) {
		return api.Application{ID: a.ID, Name: a.Name, Owner: a.Owner, Environment: a.Environment, Status: a.Status,
			EnrolledAt: a.EnrolledAt, EnrolledBy: a.EnrolledBy, SuspendedAt: a.SuspendedAt}, true
	})
}

func (s *server) listGrants(x *exchange) error {
	if err := x.authorise(readApplications, "grant", ""); err != nil {
		return err
	}
	return page(x, custodian.KindGrant, func(_ *store.View, g *access.Grant) (api.Grant, bool) {
		out := api.Grant{ID: g.ID, Application: g.Application, Key: g.Key, Operations: []string{}, Context: g.Context,
			CreatedAt: g.CreatedAt, ExpiresAt: g.ExpiresAt, CreatedBy: g.CreatedBy, RevokedAt: g.RevokedAt}
		for _, op := range g.Operations {
			out.Operations = append(out.Operations, string(op))
		}
		return out, true
	})
}

func (s *server) listTokens(x *exchange) error {
	if err := x.authorise(readApplications, "token", ""); err != nil {
		return err
	}
	return page(x, custodian.KindToken, func(_ *store.View, t *access.Token) (api.Token, bool) {
		return api.Token{ID: t.ID, Kind: t.Kind, Subject: t.Subject, CreatedAt: t.CreatedAt, ExpiresAt: t.ExpiresAt,
			CreatedBy: t.CreatedBy, RevokedAt: t.RevokedAt}, true
	})
}

func shareOf(view *store.View, sh *people.Share) api.Share {
	out := api.Share{Set: sh.Set, Epoch: sh.Epoch, Index: sh.Index, Custodian: sh.Custodian, Status: string(sh.Status), Commitment: sh.Commitment}
	if set, err := store.Peek[people.ShareSet](view, custodian.KindShareSet, sh.Set); err == nil {
		at, ok := set.At(sh.Epoch)
		out.InUse = ok && sh.Usable(at)
	}
	return out
}

func (s *server) listShares(x *exchange) error {
	if err := x.authorise(readPeople, "share", ""); err != nil {
		return err
	}
	return page(x, custodian.KindShare, func(view *store.View, sh *people.Share) (api.Share, bool) { return shareOf(view, sh), true })
}

// myShares gives a custodian their own shares, sealed, each with a challenge that proves possession.
func (s *server) myShares(x *exchange) error {
	if err := x.authorise(readPeople, "share", x.who.ID); err != nil {
		return err
	}
	view := s.door.View()
	if bad := view.Tampered(custodian.KindShare); len(bad) > 0 {
		return &store.TamperedError{Kind: custodian.KindShare, ID: bad[0].ID}
	}
	out := api.Page[api.Share]{Items: []api.Share{}}
	for _, sh := range store.All[people.Share](view, custodian.KindShare) {
		// Only a signature proves the person; a token stands for them on fewer occasions.
		if x.who.Kind != identity.Human || sh.Custodian != x.who.ID || sh.Status == people.ShareRetired || sh.Status == people.ShareDestroyed {
			continue
		}
		item := shareOf(view, sh)
		item.Sealed = sh.Sealed
		item.Challenge = base64Of(s.engine.Challenge(x.who, sh.Set, sh.Epoch, sh.Index))
		out.Items = append(out.Items, item)
	}
	return x.json(http.StatusOK, out)
}
