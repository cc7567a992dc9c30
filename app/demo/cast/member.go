// Package cast is the made-up people of a demonstration at work through the public API, each with nothing but a key
// file of their own and a pinned trust file. Everything it makes is marked as development data.
package cast

import (
	"crypto/rand"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"conclave/app/api"
	"conclave/app/client/person"
	"conclave/ceremony/genesis"
	"conclave/ceremony/keyfile"
	"conclave/ceremony/recovery"
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

	Team    string `json:"-"`
	Site    string `json:"-"`
	Manager string `json:"-"`
	signer  *keyfile.Signer
}

// Public is the public part of the member's key file.
func (m *Member) Public() keyfile.Public { return m.signer.Public() }

// Join answers an invitation with the member's public keys.
func (m *Member) Join(i api.KeyInvitation) ([]byte, error) { return person.Joining(i, m.signer) }

// Contribute gives the member's share of a backup's key to a restore.
func (m *Member) Contribute(o *recovery.Opened, now time.Time) (*recovery.Contribution, error) {
	return o.Contribute(m.signer, now)
}

// Witness attends a restore.
func (m *Member) Witness(o *recovery.Opened, now time.Time) (*recovery.Contribution, error) {
	return o.Witness(m.signer, now)
}

// MakeKeys makes key files, each protected by a passphrase of its own.
func MakeKeys(dir string, members ...*Member) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("making the folder of key files: %w", err)
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

// OpenKeys opens the key files of an earlier run.
func OpenKeys(members []*Member) error {
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

// Stage is what a genesis file says besides its people's keys.
type Stage struct {
	Name      string
	Attests   string // person id
	Keystores []genesis.Keystore
}

// GenesisFile writes a genesis file in development mode and everybody's signature over it.
func GenesisFile(dir string, stage Stage, members []*Member, now time.Time) (file []byte, signatures [][]byte, err error) {
	policy, err := policies.CarriedDigest()
	if err != nil {
		return nil, nil, err
	}
	f := &genesis.File{Version: 1, Name: stage.Name, Mode: custodian.Development, PolicyDigest: policy, Keystores: stage.Keystores,
		Attestation: genesis.Attestation{FingerprintsCompared: "not-compared", By: stage.Attests, At: now.UTC().Truncate(time.Second)}}
	for _, m := range members {
		public := m.signer.Public()
		p := genesis.Person{ID: m.ID, Name: m.Name, Roles: m.Roles, Team: m.Team, Site: m.Site, Manager: m.Manager, ApprovalKey: public.ApprovalKey}
		if m.Roles[0] == people.RoleCustodian {
			p.ShareKey = &public.ShareKey
		}
		f.People = append(f.People, p)
	}
	if file, err = f.Encode(); err != nil {
		return nil, nil, err
	}
	path := filepath.Join(dir, "genesis.yaml")
	if err := os.WriteFile(path, file, 0o600); err != nil {
		return nil, nil, fmt.Errorf("writing the genesis file: %w", err)
	}
	for _, m := range members {
		envelope, err := genesis.Sign(m.signer, file)
		if err != nil {
			return nil, nil, fmt.Errorf("%s signing the genesis file: %w", m.ID, err)
		}
		if err := os.WriteFile(path+"."+m.ID+".sig", envelope, 0o600); err != nil {
			return nil, nil, fmt.Errorf("writing a genesis signature: %w", err)
		}
		signatures = append(signatures, envelope)
	}
	return file, signatures, nil
}
