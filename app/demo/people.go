package demo

import (
	"conclave/app/demo/cast"
	"conclave/ceremony/genesis"
	"conclave/ceremony/shamir"
	"conclave/custodian/people"
	"conclave/hsm/secret"
)

// Keystores of the demo: one for production data in the EU, one laboratory in the US.
const (
	vault = "vault-eu"
	lab   = "lab-us"
)

// leader holds no share: whoever leads a ceremony by its script may not.
const leader = "demo-gil"

// troupe is the people of the demo: five custodians, an auditor, a witness and an administrator of ceremonies.
func troupe() []*cast.Member {
	custodian := people.RoleCustodian
	return []*cast.Member{
		{ID: "demo-ada", Name: "Ada Demo", Roles: []people.Role{custodian, people.RoleSecurityOfficer, people.RoleKeyOwner}, Team: "security", Site: "north"},
		{ID: "demo-ben", Name: "Ben Demo", Roles: []people.Role{custodian, people.RoleSecurityOfficer}, Team: "payments", Site: "south"},
		{ID: "demo-cleo", Name: "Cleo Demo", Roles: []people.Role{custodian, people.RoleKeyManager, people.RoleKeyOwner}, Team: "platform", Site: "north"},
		{ID: "demo-dan", Name: "Dan Demo", Roles: []people.Role{custodian, people.RoleKeyManager}, Team: "security", Site: "west"},
		{ID: "demo-eve", Name: "Eve Demo", Roles: []people.Role{custodian}, Team: "payments", Site: "west"},
		{ID: "demo-audrey", Name: "Audrey Demo", Roles: []people.Role{people.RoleAuditor}, Team: "audit", Site: "south"},
		{ID: "demo-wim", Name: "Wim Demo", Roles: []people.Role{people.RoleWitness}, Team: "audit", Site: "north"},
		{ID: leader, Name: "Gil Demo", Roles: []people.Role{people.RoleAdministrator}, Team: "operations", Site: "south"},
	}
}

// holders of the shares of the vault, in order; three of five open it.
func holders() []string {
	return []string{"demo-ada", "demo-ben", "demo-cleo", "demo-dan", "demo-eve"}
}

const threshold = 3

func stage() cast.Stage {
	return cast.Stage{Name: "Conclave demo (made-up people, no real data)", Attests: "demo-ada", Keystores: []genesis.Keystore{
		{ID: vault, Driver: "software", Jurisdiction: "EU", Environment: "production", Location: "demo data centre, rack 1",
			Controller: "demo-ada", ShareSet: genesis.ShareSet{ID: vault + "-shares", Threshold: threshold, Holders: holders()}},
		{ID: lab, Driver: "software", Jurisdiction: "US", Environment: "test", Location: "demo laboratory",
			Controller: "demo-ben", ShareSet: genesis.ShareSet{ID: lab + "-shares", Threshold: threshold, Holders: holders()}},
	}}
}

// forge makes a share that looks right from outside, set, epoch and index included, and is not.
func forge(share *shamir.Share) (*shamir.Share, error) {
	other := secret.Random(32)
	defer other.Wipe()
	shares, err := shamir.Split(other, threshold, len(holders()), share.Set())
	if err != nil {
		return nil, err
	}
	var wrong *shamir.Share
	for _, s := range shares {
		if s.Index() == share.Index() {
			wrong = s
			continue
		}
		s.Wipe()
	}
	return wrong, nil
}
