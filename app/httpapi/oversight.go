package httpapi

import (
	"cmp"
	"errors"
	"net/http"

	"conclave/app/api"
	"conclave/ceremony"
	"conclave/custodian"
	"conclave/custodian/key"
	"conclave/custodian/oversight"
	"conclave/custodian/store"
	catalogues "conclave/reports/control"
)

func (s *server) listHolds(x *exchange) error {
	if err := x.authorise(readOversight, "hold", ""); err != nil {
		return err
	}
	return page(x, custodian.KindHold, func(_ *store.View, h *oversight.Hold) (api.Hold, bool) {
		return api.Hold{ID: h.ID, On: api.Ref(h.On), From: h.From, To: h.To, What: h.What(), Matter: h.Matter, SetAt: h.SetAt, SetBy: h.SetBy,
			Ceremony: h.Ceremony, LiftedAt: h.LiftedAt, LiftedBy: h.LiftedBy}, true
	})
}

// listRetention shows every class, those that no ceremony has changed too.
func (s *server) listRetention(x *exchange) error {
	if err := x.authorise(readOversight, "retention", ""); err != nil {
		return err
	}
	if _, err := x.query(); err != nil {
		return err
	}
	view := s.door.View()
	for _, kind := range []store.Kind{custodian.KindKey, custodian.KindRetention} {
		if bad := view.Tampered(kind); len(bad) > 0 {
			return &store.TamperedError{Kind: kind, ID: bad[0].ID}
		}
	}
	hipaa := false
	for row := range view.List(custodian.KindKey) {
		k, ok := row.Value.(*key.Key)
		hipaa = hipaa || ok && oversight.HIPAA(k)
	}
	out := api.Page[api.Retention]{Items: []api.Retention{}}
	for _, class := range oversight.Classes() {
		item := api.Retention{Class: string(class), LeastDays: oversight.Least(hipaa)}
		governed := oversight.DefaultRetention(class)
		r, _, err := store.Get[oversight.Retention](view, custodian.KindRetention, string(class))
		switch {
		case err == nil:
			governed = *r
			item.ChangedAt, item.ChangedBy = timeOf(r.ChangedAt), r.ChangedBy
		case !errors.Is(err, store.ErrNotFound):
			return err
		}
		now := governed.Effective(hipaa)
		item.Days, item.ImmediateDays, item.GovernedDays = now.Days, now.ImmediateDays, governed.Days
		out.Items = append(out.Items, item)
	}
	return x.json(http.StatusOK, out)
}

func (s *server) listReviews(x *exchange) error {
	if err := x.authorise(readOversight, "review", ""); err != nil {
		return err
	}
	if bad := s.door.View().Tampered(custodian.KindReview); len(bad) > 0 {
		return &store.TamperedError{Kind: custodian.KindReview, ID: bad[0].ID}
	}
	q, err := x.query("limit", "cursor")
	if err != nil {
		return err
	}
	limit, err := limitOf(q)
	if err != nil {
		return err
	}
	after, err := cursorOf(q)
	if err != nil {
		return err
	}
	view := s.door.View()
	if bad := view.Tampered(ceremony.Kind); len(bad) > 0 {
		return &store.TamperedError{Kind: ceremony.Kind, ID: bad[0].ID}
	}
	out := api.Page[api.Review]{Items: []api.Review{}}
	err = view.Walk(x.ctx(), ceremony.Kind, after, func(due uint64) bool { return due > 0 }, func(row store.Row) error {
		c, ok := row.Value.(*ceremony.Ceremony)
		if !ok {
			return nil
		}
		item, ok := s.reviewOf(view, c)
		if ok && len(out.Items) == limit {
			out.Next = cursorFor(out.Items[limit-1].Ceremony)
			return errPageFull
		}
		if ok {
			out.Items = append(out.Items, item)
		}
		return nil
	})
	if err != nil && !errors.Is(err, errPageFull) {
		return err
	}
	return x.json(http.StatusOK, out)
}

// reviewOf is the review that a ceremony got, or is to get; false where there is nothing to review.
func (s *server) reviewOf(view *store.View, c *ceremony.Ceremony) (api.Review, bool) {
	if c.ReviewBy == nil || c.State != ceremony.Completed {
		return api.Review{}, false
	}
	out := api.Review{Ceremony: c.ID, Operation: c.Operation, Title: c.Title, By: cmp.Or(c.Requester.CalledBy, c.Requester.ID), EndedAt: c.EndedAt,
		DueAt: *c.ReviewBy}
	r := ceremony.Review(view, c.ID)
	if r == nil {
		out.Overdue = !s.clock.Now().Before(*c.ReviewBy)
		return out, true
	}
	out.Overdue = r.Late()
	out.Outcome, out.Note, out.Reviewer, out.SignedAt = string(r.Outcome), r.Note, r.Reviewer, timeOf(r.SignedAt)
	out.Recorded, out.Finding = r.Recorded, r.Finding
	return out, true
}

func (s *server) listFindings(x *exchange) error {
	if err := x.authorise(readOversight, "finding", ""); err != nil {
		return err
	}
	return page(x, custodian.KindFinding, func(_ *store.View, f *oversight.Finding) (api.Finding, bool) {
		return api.Finding{ID: f.ID, Title: f.Title, Source: string(f.Source), About: api.Ref(f.About), Owner: f.Owner, OpenedAt: f.OpenedAt,
			OpenedBy: f.OpenedBy, DueAt: f.DueAt, Overdue: f.Overdue(s.clock.Now()), Ceremony: f.Ceremony, ClosedAt: f.ClosedAt, ClosedBy: f.ClosedBy,
			Evidence: f.Evidence}, true
	})
}

func (s *server) listExceptions(x *exchange) error {
	if err := x.authorise(readOversight, "exception", ""); err != nil {
		return err
	}
	return page(x, custodian.KindException, func(_ *store.View, e *oversight.Exception) (api.Exception, bool) {
		return api.Exception{ID: e.ID, Rule: e.Rule, Key: e.Key, Keystore: e.Keystore, Control: e.Control, Risk: e.Risk, Compensating: e.Compensating,
			Owner: e.Owner, GrantedAt: e.GrantedAt, ExpiresAt: e.ExpiresAt, Ceremony: e.Ceremony, RevokedAt: e.RevokedAt, RevokedBy: e.RevokedBy,
			InForce: e.InForce(s.clock.Now())}, true
	})
}

func (s *server) listAttestations(x *exchange) error {
	if err := x.authorise(readOversight, "attestation", ""); err != nil {
		return err
	}
	return page(x, custodian.KindAttestation, func(_ *store.View, a *oversight.Attestation) (api.Attestation, bool) {
		return api.Attestation{ID: a.ID, Kind: string(a.Kind), Controls: a.Controls, Outcome: string(a.Outcome), Statement: a.Statement, Reference: a.Reference,
			SHA256: a.SHA256, CoversFrom: a.CoversFrom, CoversTo: a.CoversTo, Signer: a.Signer, SignedAt: a.SignedAt, ExpiresAt: a.ExpiresAt, Ceremony: a.Ceremony,
			WithdrawnAt: a.WithdrawnAt, WithdrawnBy: a.WithdrawnBy, InForce: a.InForce(s.clock.Now())}, true
	})
}

// listControls lists the controls that reports judge and that people sign statements about; with a name, that one, or the
// nearest where there is none.
func (s *server) listControls(x *exchange) error {
	q, err := x.query("name")
	if err != nil {
		return err
	}
	if err := x.authorise(readOversight, "attestation", ""); err != nil {
		return err
	}
	out := api.Page[api.Control]{Items: []api.Control{}}
	if name := q.Get("name"); name != "" {
		c, err := catalogues.Find(name)
		if err != nil {
			return &custodian.InputError{Field: "query.name", Problem: err.Error(), Allowed: "a control of a catalogue of this service"}
		}
		out.Items = append(out.Items, api.Control{Name: name, Title: c.Title})
		return x.json(http.StatusOK, out)
	}
	frameworks, err := catalogues.Frameworks()
	if err != nil {
		return err
	}
	for _, f := range frameworks {
		catalogue, err := catalogues.Load(f)
		if err != nil {
			return err
		}
		for _, c := range catalogue.Controls {
			out.Items = append(out.Items, api.Control{Name: f + ":" + c.ID, Title: c.Title})
		}
	}
	return x.json(http.StatusOK, out)
}

func (s *server) listBreakGlass(x *exchange) error {
	if err := x.authorise(readOversight, "breakglass", ""); err != nil {
		return err
	}
	return page(x, custodian.KindBreakGlass, func(_ *store.View, b *oversight.BreakGlass) (api.BreakGlass, bool) {
		out := api.BreakGlass{ID: b.ID, Kind: string(b.Kind), Principal: b.Principal, Keys: b.Keys, Operations: []string{}, Context: b.Context, Reason: b.Reason,
			OpenedAt: b.OpenedAt, ExpiresAt: b.ExpiresAt, Ceremony: b.Ceremony, ClosedAt: b.ClosedAt, ClosedBy: b.ClosedBy, Open: b.Open(s.clock.Now())}
		for _, op := range b.Operations {
			out.Operations = append(out.Operations, string(op))
		}
		return out, true
	})
}
