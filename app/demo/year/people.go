package year

import (
	"conclave/app/demo/cast"
	"conclave/ceremony/genesis"
	"conclave/custodian/people"
)

// The production keystore and how many of its shares open it at first.
const (
	vault     = "vault-eu"
	vaultSet  = vault + "-shares"
	threshold = 3
)

// People of the story by what they do in it.
const (
	ida  = "demo-ida"  // security officer
	jon  = "demo-jon"  // security officer, payments
	kim  = "demo-kim"  // security officer, health
	lea  = "demo-lea"  // key manager and owner, payments
	max  = "demo-max"  // key manager and owner, health
	nora = "demo-nora" // custodian
	otto = "demo-otto" // custodian who leaves
	wilm = "demo-wilm" // witness
	aud  = "demo-aud"  // auditor
	pia  = "demo-pia"  // custodian who joins
)

// troupe is three teams on three sites, a witness and an auditor.
func troupe() []*cast.Member {
	const custodian, officer, manager, owner = people.RoleCustodian, people.RoleSecurityOfficer, people.RoleKeyManager, people.RoleKeyOwner
	return []*cast.Member{
		{ID: ida, Name: "Ida Demo", Roles: []people.Role{custodian, officer}, Team: "security", Site: "north"},
		{ID: jon, Name: "Jon Demo", Roles: []people.Role{custodian, officer}, Team: "payments", Site: "south"},
		{ID: kim, Name: "Kim Demo", Roles: []people.Role{custodian, officer}, Team: "health", Site: "west"},
		{ID: lea, Name: "Lea Demo", Roles: []people.Role{custodian, manager, owner}, Team: "payments", Site: "south"},
		{ID: max, Name: "Max Demo", Roles: []people.Role{custodian, manager, owner}, Team: "health", Site: "west"},
		{ID: nora, Name: "Nora Demo", Roles: []people.Role{custodian}, Team: "security", Site: "north"},
		{ID: otto, Name: "Otto Demo", Roles: []people.Role{custodian}, Team: "payments", Site: "south"},
		{ID: wilm, Name: "Wilm Demo", Roles: []people.Role{people.RoleWitness}, Team: "audit", Site: "north"},
		{ID: "demo-wanda", Name: "Wanda Demo", Roles: []people.Role{people.RoleWitness}, Team: "audit", Site: "west"},
		{ID: aud, Name: "Aud Demo", Roles: []people.Role{people.RoleAuditor}, Team: "audit", Site: "south"},
	}
}

// holders of the first shares: no site and no team has three of them.
func holders() []string { return []string{ida, jon, kim, nora, otto} }

func stage() cast.Stage {
	return cast.Stage{Name: "Conclave rehearsal (made-up people, no real data)", Attests: ida, Keystores: []genesis.Keystore{
		{ID: vault, Driver: "software", Jurisdiction: "EU", Environment: "production", Location: "demo data centre, rack 1",
			Controller: ida, ShareSet: genesis.ShareSet{ID: vaultSet, Threshold: threshold, Holders: holders()}},
	}}
}
