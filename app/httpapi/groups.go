package httpapi

import (
	"conclave/app/api"
	"conclave/custodian"
	"conclave/custodian/key"
	"conclave/custodian/store"
	"conclave/hsm"
	"conclave/hsm/group"
)

// groupOf fills in the members of a group as they stand here, and returns its record with the facts that count: those of
// the weakest member.
func (s *server) groupOf(view *store.View, k *key.Keystore, out *api.Keystore) *key.Keystore {
	c := s.door.Candidate(view, k)
	own := *k
	own.FIPSStandard, own.FIPSLevel, own.Certificate, own.CertificateStatus = c.FIPSStandard, c.FIPSLevel, c.Certificate, c.CertificateStatus
	own.Tenancy, own.Simulated = c.Tenancy, c.Simulated
	holds, lacks := map[string]int{}, map[string]int{}
	for _, v := range store.All[key.Version](view, custodian.KindKeyVersion) {
		if v.Keystore != k.ID || !v.State.HasMaterial() {
			continue
		}
		for _, copied := range v.Material.Copies {
			holds[copied.Member]++
		}
		missing := k.Lacking(v)
		for _, id := range missing {
			lacks[id]++
		}
		if len(missing) > 0 {
			out.Degraded++
		}
	}
	stats := map[string]group.Stats{}
	if driver, err := s.door.Keystore(k.ID); err == nil {
		if g, ok := driver.(*group.Keystore); ok {
			for _, one := range g.Stats() {
				stats[one.Member] = one
			}
		}
	}
	for _, m := range k.Group.Members {
		active := false
		if driver, err := s.door.Keystore(m.Keystore); err == nil {
			active = driver.Active()
		}
		out.Members = append(out.Members, api.GroupMember{Keystore: m.Keystore, State: m.State, Since: m.Since, Active: active, Breaker: stats[m.Keystore].Open,
			Holds: holds[m.Keystore], Lacks: lacks[m.Keystore]})
	}
	return &own
}

// membersOf are the members of a group that hold a version, and those that should.
func membersOf(view *store.View, v *key.Version) (held []api.MemberCopy, lacking []string) {
	if len(v.Material.Copies) == 0 {
		return nil, nil
	}
	copies := func(c hsm.Copy) api.MemberCopy {
		return api.MemberCopy{Keystore: c.Member, CheckValue: c.CheckValue}
	}
	for _, c := range v.Material.Copies {
		held = append(held, copies(c))
	}
	if k, err := store.Peek[key.Keystore](view, custodian.KindKeystore, v.Keystore); err == nil {
		lacking = k.Lacking(v)
	}
	return held, lacking
}
