package httpapi

import (
	"net/http"

	"conclave/app/api"
	"conclave/ceremony/operation"
	"conclave/custodian"
	"conclave/custodian/people"
	"conclave/custodian/store"
)

// listForms gives the physical forms of shares: where each is, in which bag.
func (s *server) listForms(x *exchange) error {
	if err := x.authorise(readPeople, "share_form", ""); err != nil {
		return err
	}
	return page(x, custodian.KindShareForm, func(view *store.View, f *people.ShareForm) (api.ShareForm, bool) {
		out := api.ShareForm{ID: f.ID, Set: f.Set, Epoch: f.Epoch, Index: f.Index, Kind: string(f.Kind), State: string(f.State), Site: f.Site, Container: f.Container,
			Serial: f.Serial, Carrier: f.Carrier, RegisteredAt: f.RegisteredAt, ChangedAt: f.ChangedAt, CheckedAt: f.CheckedAt, Pending: f.Pending}
		if share, err := store.Peek[people.Share](view, custodian.KindShare, f.Share()); err == nil {
			out.Custodian = share.Custodian
		}
		return out, true
	})
}

// listDrills gives the records of drills that were held together.
func (s *server) listDrills(x *exchange) error {
	if err := x.authorise(readPeople, "drill", ""); err != nil {
		return err
	}
	return page(x, custodian.KindDrill, func(_ *store.View, d *people.Drill) (api.Drill, bool) {
		out := api.Drill{ID: d.ID, Set: d.Set, Epoch: d.Epoch, Result: string(d.Result), StartedAt: d.StartedAt, FinishedAt: d.FinishedAt, RTOMinutes: d.RTOMinutes,
			Attendance: d.Attendance, Witnesses: d.Witnesses, SignedBy: d.SignedBy, Steps: d.Steps, Deviations: d.Deviations, Site: d.Site, Evidence: d.Evidence,
			Shares: d.Shares, Keys: d.Keys, Problem: d.Problem, Finding: d.Finding, Ceremony: d.Ceremony}
		for _, k := range d.Kinds {
			out.Kinds = append(out.Kinds, string(k))
		}
		return out, true
	})
}

// drillsDue says when each drill of each share set was held and is due.
func (s *server) drillsDue(x *exchange) error {
	if err := x.authorise(readPeople, "drill", ""); err != nil {
		return err
	}
	out := api.Page[api.DrillDue]{Items: []api.DrillDue{}}
	for _, d := range operation.DrillRegister(s.door.View(), s.clock.Now()) {
		out.Items = append(out.Items, api.DrillDue{Set: d.Set, Kind: string(d.Kind), Person: d.Person, Days: d.Days, Last: d.Last, Due: d.Due, Late: d.Late, What: d.What})
	}
	return x.json(http.StatusOK, out)
}

// listCustody gives the custody log.
func (s *server) listCustody(x *exchange) error {
	if err := x.authorise(readPeople, "custody", ""); err != nil {
		return err
	}
	return page(x, custodian.KindCustody, func(_ *store.View, e *people.CustodyEntry) (api.CustodyEntry, bool) {
		f := &e.Facts
		return api.CustodyEntry{ID: e.ID, Digest: e.Digest, State: string(e.State), Suspicion: f.Suspicion(), Late: e.Late(s.clock.Now()), Recorded: e.Recorded,
			RecordedAt: e.RecordedAt, Signed: e.Signed, SignedAt: e.SignedAt, Remark: e.Remark, Finding: e.Finding,
			Facts: api.CustodyFacts{Form: f.Form, Kind: string(f.Kind), Set: f.Set, Epoch: f.Epoch, Index: f.Index, Action: string(f.Action), Who: f.Who, Witness: f.Witness,
				At: f.At, OutAt: f.OutAt, InAt: f.InAt, Purpose: f.Purpose, Ceremony: f.Ceremony, OldSerial: f.OldSerial, Read: f.Read, NewSerial: f.NewSerial,
				Seal: string(f.Seal), Site: f.Site, Container: f.Container, Carrier: f.Carrier}}, true
	})
}
