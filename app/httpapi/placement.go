package httpapi

import (
	"cmp"
	"errors"
	"net/http"
	"slices"
	"time"

	"conclave/app/api"
	"conclave/ceremony/operation"
	"conclave/ceremony/placement"
	"conclave/custodian"
	"conclave/custodian/key"
	"conclave/custodian/store"
	"conclave/hsm"
	"conclave/policies"
)

// Bounds of answers (ours).
const (
	maxWhatIf     = 200 // groups of keys
	maxWhatIfKeys = 100 // named of each
)

// place says where a key could live: one that is there, or one that might be.
func (s *server) place(x *exchange) error {
	var in api.PlaceRequest
	if err := x.decode(&in); err != nil {
		return err
	}
	if err := x.authorise(readPolicy, "placement", in.Key); err != nil {
		return err
	}
	view := s.door.View()
	asks, home, err := s.asked(view, &in)
	if err != nil {
		return err
	}
	decision, err := s.door.Place(x.ctx(), view, asks)
	if err != nil {
		return err
	}
	out := api.PlaceResponse{Candidates: []api.PlaceCandidate{}, BestFirst: policies.BestFirst, LeastLevel: decision.LeastLevel, Validated: decision.Validated,
		PolicyDigest: decision.PolicyDigest, Models: custodyModels()}
	for _, v := range decision.Keystores {
		record, err := store.Peek[key.Keystore](view, custodian.KindKeystore, v.Keystore)
		if err != nil {
			return err
		}
		k := s.keystoreOf(view, record)
		out.Candidates = append(out.Candidates, api.PlaceCandidate{Keystore: v.Keystore, Allowed: v.Allow, Home: v.Keystore == home, EffectiveLevel: v.EffectiveLevel,
			FIPS: k.FIPS, Custody: k.Custody, Tenancy: k.Tenancy, Active: k.Active, ReadAtRest: k.ReadAtRest, ReadInUse: k.ReadInUse,
			Reasons: reasons(v.Reasons), Exceptions: v.Exceptions})
	}
	return x.json(http.StatusOK, out)
}

// asked is the key that a request is about, and the keystore in which new versions of it are made.
func (s *server) asked(view *store.View, in *api.PlaceRequest) (policies.PlacementKey, string, error) {
	if in.Key != "" {
		if in.Classification != "" || in.Impact != "" || in.Jurisdiction != "" || in.Environment != "" || in.Custody != "" || in.Algorithm != "" || in.Frameworks != nil {
			return policies.PlacementKey{}, "", &custodian.InputError{Field: "key", Problem: "given with facts of another", Allowed: "a key that is there, or facts of one that might be"}
		}
		k, _, err := store.Get[key.Key](view, custodian.KindKey, in.Key)
		if errors.Is(err, store.ErrNotFound) {
			return policies.PlacementKey{}, "", &custodian.InputError{Field: "key", Problem: "not known", Allowed: "the id of a key"}
		}
		if err != nil {
			return policies.PlacementKey{}, "", err
		}
		demands, err := placement.DemandsOf(view)
		return demands.KeyOf(k), k.Keystore, err
	}
	spec := cmp.Or(hsm.Spec(in.Algorithm), hsm.AES256)
	err := key.First([]error{key.CheckOneOf("algorithm", spec, hsm.Specs()...), key.CheckText("classification", in.Classification, 64, false),
		key.CheckText("impact", in.Impact, 64, false), key.CheckText("jurisdiction", in.Jurisdiction, 64, false), key.CheckText("environment", in.Environment, 64, false)})
	k := policies.PlacementKey{Type: string(key.TypeFor(spec)), Algorithm: string(spec), Classification: in.Classification, Impact: in.Impact, Frameworks: in.Frameworks,
		Jurisdiction: in.Jurisdiction, Environment: in.Environment, StrengthBits: spec.StrengthBits()}
	if in.Custody != "" {
		k.Custody = []string{in.Custody}
	}
	return k, "", err
}

func custodyModels() []api.CustodyModel {
	var out []api.CustodyModel
	for _, m := range hsm.CustodyModels() {
		for _, stores := range []bool{true, false} {
			r := m.Readers(stores)
			out = append(out, api.CustodyModel{Model: string(m), StoresKeys: stores, ReadAtRest: r.AtRest, ReadInUse: r.InUse})
		}
	}
	return out
}

// whatIf says which keys would stand otherwise after a change that is only supposed.
func (s *server) whatIf(x *exchange) error {
	var in api.WhatIfRequest
	if err := x.decode(&in); err != nil {
		return err
	}
	if err := x.authorise(readPolicy, "placement", "what-if"); err != nil {
		return err
	}
	var changes []placement.Change
	var err error
	switch {
	case in.Bundle != "" && (len(in.Keystore) > 0 || len(in.Key) > 0):
		err = &custodian.InputError{Field: "bundle", Problem: "not exactly one change", Allowed: "one of keystore, key and bundle"}
	case in.Bundle != "":
		changes, err = s.cfg.Bundles.Strands(x.ctx(), in.Bundle)
	default:
		changes, err = s.engine.WhatIf(x.ctx(), x.who, operation.Supposition{Keystore: in.Keystore, Key: in.Key})
	}
	if err != nil {
		return err
	}
	return x.json(http.StatusOK, whatIfOf(changes))
}

func whatIfOf(changes []placement.Change) api.WhatIf {
	out := api.WhatIf{Changes: []api.WhatIfChange{}}
	slices.SortStableFunc(changes, func(a, b placement.Change) int { return cmp.Compare(b.After.State.Rank(), a.After.State.Rank()) })
	for i, c := range changes {
		switch {
		case !c.Worse():
		case c.After.State == placement.Stranded:
			out.Stranded += len(c.After.Keys)
		default:
			out.NoNew += len(c.After.Keys)
		}
		if i >= maxWhatIf {
			out.More++
			continue
		}
		out.Changes = append(out.Changes, api.WhatIfChange{Facts: c.Facts(), Keystore: c.After.Keystore, Count: len(c.After.Keys), Keys: c.After.Keys[:min(len(c.After.Keys), maxWhatIfKeys)],
			Before: c.Before.Words(), After: c.After.Words(), State: string(c.After.State), Worse: c.Worse(), MayLive: append([]string{}, c.After.MayLive...), Reasons: reasons(c.After.Reasons)})
	}
	return out
}

// placementFacts are the governed facts of a keystore, and what its driver on this node offers.
func (s *server) placementFacts(k *key.Keystore, out *api.Keystore) {
	day := func(t time.Time) string {
		if t.IsZero() {
			return ""
		}
		return t.Format(time.DateOnly)
	}
	out.Status, out.Controller, out.FIPSStandard, out.FIPSLevel, out.Certificate = k.Status, k.Controller, k.FIPSStandard, k.FIPSLevel, k.Certificate
	out.CertificateStatus, out.CertificateFrom, out.CertificateUntil = k.StatusAt(s.clock.Now()), day(k.CertificateFrom), day(k.CertificateUntil)
	out.Tenancy, out.MaxKeys, out.GovRevision = k.Tenants(), k.MaxKeys, k.GovRevision
	for _, spec := range k.Capabilities.Makes() {
		out.Makes = append(out.Makes, string(spec))
	}
	for _, i := range k.Capabilities.Imports {
		if out.Takes == nil {
			out.Takes = map[string][]string{}
		}
		for _, spec := range i.Specs {
			out.Takes[string(i.Form)] = append(out.Takes[string(i.Form)], string(spec))
		}
	}
	if t := k.Token; t != nil {
		out.Token = &api.Device{Module: t.Module, Label: t.Device.Label, Serial: t.Device.Serial, Manufacturer: t.Device.Manufacturer, Model: t.Device.Model,
			Firmware: t.Device.Firmware, InitialisedAt: t.InitialisedAt, InitialisedBy: t.InitialisedBy}
	}
	readers := k.Custody.Readers(k.Capabilities.StoresKeys)
	out.ReadAtRest, out.ReadInUse = readers.AtRest, readers.InUse
	if driver, err := s.door.Keystore(k.ID); err == nil {
		for _, spec := range driver.Capabilities().Makes() {
			out.Offers = append(out.Offers, string(spec))
		}
		_, out.Beyond = k.Within(driver)
	}
}
