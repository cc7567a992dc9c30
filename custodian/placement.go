package custodian

import (
	"context"

	"conclave/custodian/key"
	"conclave/custodian/oversight"
	"conclave/custodian/store"
	"conclave/policies"
)

// Place judges a key against every registered keystore at once, by the bundle in force.
func (s *Service) Place(ctx context.Context, view *store.View, k policies.PlacementKey) (policies.PlacementDecision, error) {
	in, err := s.PlacementInput(view, k)
	if err != nil {
		return policies.PlacementDecision{}, err
	}
	return s.PoliciesOf(view).Place(ctx, in)
}

// PlacementInput asks about a key and every registered keystore. A keystore whose row contradicts the ledger is a
// *store.TamperedError: a hidden one is not an absent one.
func (s *Service) PlacementInput(view *store.View, k policies.PlacementKey) (policies.PlacementInput, error) {
	if bad := view.Tampered(KindKeystore); len(bad) > 0 {
		return policies.PlacementInput{}, &store.TamperedError{Kind: KindKeystore, ID: bad[0].ID}
	}
	in := policies.PlacementInput{Now: s.clock.Now(), Mode: policies.Mode(s.instance.Mode), Key: k}
	for row := range view.List(KindKeystore) {
		if r, ok := row.Value.(*key.Keystore); ok {
			in.Keystores = append(in.Keystores, s.Candidate(view, r))
		}
	}
	for row := range view.List(KindException) { // one that contradicts the ledger lifts nothing
		if x, ok := row.Value.(*oversight.Exception); ok && x.InForce(in.Now) {
			in.Exceptions = append(in.Exceptions, policies.ExceptionFacts{ID: x.ID, Rule: x.Rule, Key: x.Key, Keystore: x.Keystore, ExpiresAt: x.ExpiresAt})
		}
	}
	return in, nil
}

// Candidate is a keystore as placement judges it: what its record says, no more of it than its driver proves on this
// node now, and its certificate as it stands today.
func (s *Service) Candidate(view *store.View, record *key.Keystore) policies.PlacementKeystore {
	return s.CandidateWith(view, record)
}

// alone is a keystore by its own record.
func (s *Service) alone(view *store.View, record *key.Keystore) policies.PlacementKeystore {
	r := record
	if driver, err := s.Keystore(record.ID); err == nil {
		r, _ = record.Within(driver)
	}
	return policies.PlacementKeystore{
		ID: r.ID, Status: r.Status, FIPSStandard: r.FIPSStandard, FIPSLevel: r.FIPSLevel, Certificate: r.Certificate,
		CertificateStatus: r.StatusAt(s.clock.Now()), Custody: string(r.Custody), Tenancy: r.Tenants(), Jurisdiction: r.Jurisdiction,
		Environment: r.Environment, KeyStrength: r.Capabilities.KeyStrength, Algorithms: algorithms(r), Simulated: r.Simulated,
		Export: r.Capabilities.Export, MaxKeys: r.MaxKeys, Keys: versionsIn(view, r), Group: r.MemberOf,
	}
}

// versionsIn counts the key versions with material in a keystore that has a bound; 0 for others.
func versionsIn(view *store.View, r *key.Keystore) int {
	n := 0
	if r.MaxKeys > 0 {
		for row := range view.List(KindKeyVersion) {
			if v, ok := row.Value.(*key.Version); ok && v.In(r.ID) && v.State.HasMaterial() {
				n++
			}
		}
	}
	return n
}

// algorithms are those of the keys that can be made in a keystore.
func algorithms(r *key.Keystore) []string {
	var out []string
	for _, spec := range r.Capabilities.Makes() {
		out = append(out, string(spec))
	}
	return out
}
