package httpapi

import (
	"conclave/app/api"
	"conclave/custodian"
	"conclave/custodian/identity"
	"conclave/custodian/key"
	"conclave/custodian/store"
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
		return api.Template{ID: t.ID, Label: t.Label, Type: string(t.Type), Classification: string(t.Classification), MaxImpact: string(t.MaxImpact),
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
		out := api.Asset{ID: a.ID, Label: a.Label, Location: a.Location, Key: a.Key, Owner: a.Owner, None: a.None, Status: a.Status,
			Deleted: a.Deleted, At: a.At, Signed: a.Signed, GovRevision: a.GovRevision, Counts: []api.AssetCount{}}
		for _, c := range a.Counts {
			out.Counts = append(out.Counts, api.AssetCount{Version: c.Version, Records: c.Records, Rewrapped: c.Rewrapped})
		}
		return out, true
	})
}
