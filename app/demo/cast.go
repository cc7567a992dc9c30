package demo

import (
	"context"
	"crypto/rand"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"conclave/ceremony/genesis"
	"conclave/ceremony/keyfile"
	"conclave/custodian"
	"conclave/custodian/people"
	"conclave/hsm/secret"
	"conclave/policies"
)

// Member is one demo person: made up, and labelled as such everywhere.
type Member struct {
	ID         string        `json:"id"`
	Name       string        `json:"name"`
	Roles      []people.Role `json:"roles"`
	KeyFile    string        `json:"key_file"`
	Passphrase string        `json:"passphrase"`

	team, site string
	signer     *keyfile.Signer
}

// Keystores of the demo: one for production data in the EU, one laboratory in the US.
const (
	vault = "vault-eu"
	lab   = "lab-us"
)

// cast is the people of the demo: five custodians, an auditor and a witness.
func cast() []*Member {
	custodian := people.RoleCustodian
	return []*Member{
		{ID: "demo-ada", Name: "Ada Demo", Roles: []people.Role{custodian, people.RoleSecurityOfficer, people.RoleKeyOwner}, team: "security", site: "north"},
		{ID: "demo-ben", Name: "Ben Demo", Roles: []people.Role{custodian, people.RoleSecurityOfficer}, team: "payments", site: "south"},
		{ID: "demo-cleo", Name: "Cleo Demo", Roles: []people.Role{custodian, people.RoleKeyManager, people.RoleKeyOwner}, team: "platform", site: "north"},
		{ID: "demo-dan", Name: "Dan Demo", Roles: []people.Role{custodian, people.RoleKeyManager}, team: "security", site: "west"},
		{ID: "demo-eve", Name: "Eve Demo", Roles: []people.Role{custodian}, team: "payments", site: "west"},
		{ID: "demo-audrey", Name: "Audrey Demo", Roles: []people.Role{people.RoleAuditor}, team: "audit", site: "south"},
		{ID: "demo-wim", Name: "Wim Demo", Roles: []people.Role{people.RoleWitness}, team: "audit", site: "north"},
	}
}

// holders of the shares of the vault, in order; three of five open it.
func holders() []string {
	return []string{"demo-ada", "demo-ben", "demo-cleo", "demo-dan", "demo-eve"}
}

const threshold = 3

// makeKeys makes everybody's key file, protected by a passphrase of their own.
func makeKeys(dir string, members []*Member) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("making the demo's key folder: %w", err)
	}
	for i, m := range members {
		signer, err := keyfile.Generate(m.ID, []string{"ES256", "EdDSA"}[i%2])
		if err != nil {
			return fmt.Errorf("making the keys of %s: %w", m.ID, err)
		}
		m.Passphrase = "demo " + rand.Text()[:16]
		m.KeyFile = filepath.Join(dir, m.ID+".key")
		passphrase := secret.New([]byte(m.Passphrase))
		err = signer.Save(m.KeyFile, passphrase, keyfile.SaveOptions{Development: true})
		passphrase.Wipe()
		if err != nil {
			return fmt.Errorf("saving the keys of %s: %w", m.ID, err)
		}
		m.signer = signer
	}
	return nil
}

// openKeys opens the key files of an earlier run.
func openKeys(members []*Member) error {
	for _, m := range members {
		passphrase := secret.New([]byte(m.Passphrase))
		signer, err := keyfile.Open(m.KeyFile, passphrase)
		passphrase.Wipe()
		if err != nil {
			return fmt.Errorf("opening the keys of %s: %w", m.ID, err)
		}
		m.signer = signer
	}
	return nil
}

// genesisFile writes the demo's genesis file and everybody's signature over it.
func genesisFile(ctx context.Context, dir string, members []*Member, now time.Time) (path string, err error) {
	engine, err := policies.New(ctx, policies.Options{})
	if err != nil {
		return "", err
	}
	f := &genesis.File{Version: 1, Name: "Conclave demo (made-up people, no real data)", Mode: custodian.Development,
		PolicyDigest: engine.Digest(),
		Attestation:  genesis.Attestation{FingerprintsCompared: "not-compared", By: "demo-ada", At: now.UTC().Truncate(time.Second)}}
	for _, m := range members {
		public := m.signer.Public()
		p := genesis.Person{ID: m.ID, Name: m.Name, Roles: m.Roles, Team: m.team, Site: m.site, ApprovalKey: public.ApprovalKey}
		if m.Roles[0] == people.RoleCustodian {
			p.ShareKey = &public.ShareKey
		}
		f.People = append(f.People, p)
	}
	f.Keystores = []genesis.Keystore{
		{ID: vault, Driver: "software", Jurisdiction: "EU", Environment: "production", Location: "demo data centre, rack 1",
			Controller: "demo-ada", ShareSet: genesis.ShareSet{ID: vault + "-shares", Threshold: threshold, Holders: holders()}},
		{ID: lab, Driver: "software", Jurisdiction: "US", Environment: "test", Location: "demo laboratory",
			Controller: "demo-ben", ShareSet: genesis.ShareSet{ID: lab + "-shares", Threshold: threshold, Holders: holders()}},
	}
	data, err := f.Encode()
	if err != nil {
		return "", err
	}
	path = filepath.Join(dir, "genesis.yaml")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		return "", fmt.Errorf("writing the genesis file: %w", err)
	}
	for _, m := range members {
		envelope, err := genesis.Sign(m.signer, data)
		if err != nil {
			return "", fmt.Errorf("%s signing the genesis file: %w", m.ID, err)
		}
		if err := os.WriteFile(path+"."+m.ID+".sig", envelope, 0o600); err != nil {
			return "", fmt.Errorf("writing a genesis signature: %w", err)
		}
	}
	return path, nil
}
