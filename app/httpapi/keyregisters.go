package httpapi

import (
	"errors"
	"net/http"
	"strconv"
	"time"

	"conclave/app/api"
	"conclave/ceremony/operation"
	"conclave/custodian"
	"conclave/custodian/identity"
	"conclave/custodian/key"
	"conclave/custodian/store"
	"conclave/custodian/usage"
	"conclave/policies"
)

// authoriseRegisters judges a read of what is on record about keys: for people and auditors, not applications.
func (x *exchange) authoriseRegisters(targetType, id string) error {
	if x.who.Kind == identity.Application {
		return &custodian.Denied{Code: "caller_kind", Reasons: []policies.Reason{{Rule: "httpapi", Code: "caller_kind",
			Message: "registers are for people and auditors", Remedy: "ask the key's owner"}}}
	}
	return x.authorise(readKeys, targetType, id)
}

func (s *server) listTemplates(x *exchange) error {
	if err := x.authoriseRegisters("template", ""); err != nil {
		return err
	}
	return page(x, custodian.KindTemplate, func(_ *store.View, t *key.Template) (api.Template, bool) {
		var algorithms []string
		for _, s := range t.Algorithms {
			algorithms = append(algorithms, string(s))
		}
		return api.Template{ID: t.ID, Label: t.Label, Algorithms: algorithms, Type: string(t.Type), Classification: string(t.Classification), MaxImpact: string(t.MaxImpact),
			Frameworks: t.Frameworks, Jurisdictions: t.Jurisdictions, Environment: t.Environment, Keystores: t.Keystores, Owners: t.Owners,
			NamePrefix: t.NamePrefix, MaxOUPDays: t.MaxOUPDays, MaxRUPDays: t.MaxRUPDays, MaxRotateDays: t.MaxRotateDays, MaxKeys: t.MaxKeys,
			Made: t.Made, Status: t.Status, ApprovedBy: t.ApprovedBy, GovRevision: t.GovRevision}, true
	})
}

func (s *server) listAssets(x *exchange) error {
	if err := x.authoriseRegisters("asset", ""); err != nil {
		return err
	}
	return page(x, custodian.KindAsset, func(_ *store.View, a *key.Asset) (api.Asset, bool) {
		return assetOf(a), true
	})
}

func assetOf(a *key.Asset) api.Asset {
	out := api.Asset{ID: a.ID, Label: a.Label, Location: a.Location, Key: a.Key, Owner: a.Owner, None: a.None, Status: a.Status,
		Deleted: a.Deleted, At: a.At, Signed: a.Signed, GovRevision: a.GovRevision, Counts: []api.AssetCount{}}
	for _, m := range a.Custody {
		out.Custody = append(out.Custody, string(m))
	}
	for _, c := range a.Counts {
		out.Counts = append(out.Counts, api.AssetCount{Version: c.Version, Records: c.Records, Rewrapped: c.Rewrapped})
	}
	return out
}

func (s *server) listCampaigns(x *exchange) error {
	if err := x.authoriseRegisters("campaign", ""); err != nil {
		return err
	}
	var failed error
	err := page(x, custodian.KindCampaign, func(view *store.View, c *key.Campaign) (api.Campaign, bool) {
		out, err := s.campaignOf(x, view, c)
		failed = errors.Join(failed, err)
		return out, true
	})
	return errors.Join(failed, err)
}

func (s *server) campaignOf(x *exchange, view *store.View, c *key.Campaign) (api.Campaign, error) {
	now := s.clock.Now()
	out := api.Campaign{ID: c.ID, Key: c.Key, Version: c.Version, Cause: c.Cause, DueAt: c.DueAt, Overdue: c.ClosedAt == nil && now.After(c.DueAt),
		OpenedAt: c.OpenedAt, OpenedBy: c.OpenedBy, ClosedAt: c.ClosedAt, ClosedBy: c.ClosedBy, AtStart: []api.CampaignTarget{}, Left: []string{}}
	for _, t := range c.AtStart {
		out.AtStart = append(out.AtStart, api.CampaignTarget{Asset: t.Asset, Records: t.Records})
	}
	if c.ClosedAt == nil {
		left, err := operation.Left(view, c, now)
		if err != nil {
			return out, err
		}
		out.Left = append(out.Left, left...)
	}
	rows, err := s.door.Store().Usage(x.ctx(), c.Key, c.Version, c.OpenedAt)
	if err != nil {
		return out, err
	}
	for _, r := range rows {
		if r.Operation == usage.RewrappedFrom {
			out.Rewrapped += r.Uses
		}
	}
	last, _ := usage.Last(rows)
	out.LastUse = timeOf(last)
	return out, nil
}

// exposure is who used a version since when, and what is under it.
func (s *server) exposure(x *exchange) error {
	q, err := x.query("since")
	if err != nil {
		return err
	}
	var since time.Time
	if text := q.Get("since"); text != "" {
		if since, err = time.Parse(time.RFC3339, text); err != nil {
			return &custodian.InputError{Field: "query.since", Problem: "no time", Allowed: "a time as 2006-01-02T15:04:05Z (RFC 3339)"}
		}
	}
	id := x.c.Param("key")
	n, err := strconv.ParseUint(x.c.Param("version"), 10, 32)
	if err != nil {
		return &custodian.InputError{Field: "version", Problem: "no number", Allowed: "the number of a version"}
	}
	if err := x.authoriseRegisters("key", id); err != nil {
		return err
	}
	view := s.door.View()
	v, _, err := store.Get[key.Version](view, custodian.KindKeyVersion, key.VersionID(id, uint32(n)))
	if err != nil {
		return err
	}
	rows, err := s.door.Store().Usage(x.ctx(), id, v.Version, since)
	if err != nil {
		return err
	}
	through, err := s.door.Store().UsageCursor(x.ctx())
	if err != nil {
		return err
	}
	out := api.Exposure{Key: id, Version: v.Version, State: string(v.State), Since: timeOf(since), Through: through, Uses: []api.Usage{}, Assets: []api.Asset{}}
	out.Behind = view.Head().Size - min(through, view.Head().Size)
	last, done := usage.Last(rows)
	out.LastUse, out.LastDone = timeOf(last), done
	for _, r := range rows {
		out.Uses = append(out.Uses, api.Usage{Actor: r.Actor, Operation: r.Operation, Outcome: r.Outcome, Origin: r.Origin, Uses: r.Uses,
			First: time.UnixMicro(r.FirstAt).UTC(), Last: time.UnixMicro(r.LastAt).UTC(), FirstSeq: r.FirstSeq, LastSeq: r.LastSeq})
	}
	for _, a := range store.All[key.Asset](view, custodian.KindAsset) {
		if a.Key == id {
			out.Assets = append(out.Assets, assetOf(a))
		}
	}
	for _, c := range store.All[key.Campaign](view, custodian.KindCampaign) {
		if c.Key == id && c.Version == v.Version && c.ClosedAt == nil {
			out.Campaign = c.ID
		}
	}
	return x.json(http.StatusOK, out)
}
