package custodian

import (
	"slices"

	"conclave/custodian/key"
	"conclave/custodian/store"
	"conclave/hsm"
	"conclave/hsm/group"
	"conclave/policies"
)

// Group makes the driver of a keystore group, which follows its record: members come, go and are drained while it serves.
// A record that contradicts the ledger has no members: nothing is asked of any.
func (s *Service) Group(id string) (hsm.Keystore, error) {
	return group.New(group.Config{ID: id, Members: func() []group.Member { return s.members(id) }, Logger: s.log})
}

// members are those of a group by the newest record, with the drivers of this node.
func (s *Service) members(id string) []group.Member {
	view := s.store.View()
	record, err := store.Peek[key.Keystore](view, KindKeystore, id)
	if err != nil || record.Group == nil {
		return nil
	}
	out := make([]group.Member, 0, len(record.Group.Members))
	for _, m := range record.Group.Members {
		one := group.Member{ID: m.Keystore, Serving: m.State == key.MemberServing, Transport: m.Transport}
		if own, err := store.Peek[key.Keystore](view, KindKeystore, m.Keystore); err == nil && own.MemberOf == id {
			if d, err := s.Keystore(m.Keystore); err == nil {
				one.Driver, _ = d.(hsm.Member)
			}
		}
		out = append(out, one)
	}
	return out
}

// CandidateWith is Candidate as it would be once other records are as given.
func (s *Service) CandidateWith(view *store.View, record *key.Keystore, changed ...*key.Keystore) policies.PlacementKeystore {
	out := s.alone(view, record)
	if record.Group == nil {
		return out
	}
	out.Members = record.Group.IDs()
	for n, id := range out.Members {
		own, err := store.Peek[key.Keystore](view, KindKeystore, id)
		if i := slices.IndexFunc(changed, func(c *key.Keystore) bool { return c.ID == id }); i >= 0 {
			own, err = changed[i], nil
		}
		if err != nil { // judged as a candidate of its own, which it is not: refused
			out.Status = key.KeystoreRetired
			continue
		}
		weaken(&out, s.alone(view, own), n == 0)
	}
	return out
}

// weaken makes the facts of several keystores together those of the weakest.
func weaken(out *policies.PlacementKeystore, m policies.PlacementKeystore, first bool) {
	if first || m.FIPSLevel < out.FIPSLevel || m.FIPSLevel == out.FIPSLevel && worse(m.CertificateStatus, out.CertificateStatus) {
		out.FIPSStandard, out.FIPSLevel, out.Certificate, out.CertificateStatus = m.FIPSStandard, m.FIPSLevel, m.Certificate, m.CertificateStatus
	}
	if first {
		out.Tenancy, out.KeyStrength, out.Jurisdiction = m.Tenancy, m.KeyStrength, m.Jurisdiction
	}
	if m.Tenancy == key.MultiTenant {
		out.Tenancy = m.Tenancy
	}
	if m.Status != key.KeystoreRegistered {
		out.Status = m.Status
	}
	out.KeyStrength = min(out.KeyStrength, m.KeyStrength)
	out.Simulated = out.Simulated || m.Simulated
	out.Export = false
}

// worse orders the status of certificates: none and revoked before historical before active.
func worse(a, b string) bool {
	rank := []string{"", key.CertRevoked, key.CertHistorical, key.CertActive}
	return slices.Index(rank, a) < slices.Index(rank, b)
}

// Degraded counts the versions with material of each group that not every serving member holds.
func Degraded(view *store.View) map[string]int {
	groups := map[string]*key.Keystore{}
	for row := range view.List(KindKeystore) {
		if r, ok := row.Value.(*key.Keystore); ok && r.Group != nil {
			groups[r.ID] = r
		}
	}
	out := map[string]int{}
	if len(groups) == 0 {
		return out
	}
	for id := range groups {
		out[id] = 0
	}
	for row := range view.List(KindKeyVersion) {
		if v, ok := row.Value.(*key.Version); ok {
			if g := groups[v.Keystore]; g != nil && len(g.Lacking(v)) > 0 {
				out[g.ID]++
			}
		}
	}
	return out
}
