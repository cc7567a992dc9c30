package bundle

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"

	"github.com/go-json-experiment/json"
	"go.yaml.in/yaml/v3"

	"conclave/custodian"
	"conclave/custodian/amount"
	"conclave/custodian/dsse"
	"conclave/custodian/jwk"
	"conclave/custodian/people"
)

const typeGenesis = "application/vnd.conclave.genesis+json"

// maxGenesis bounds a genesis file that is read, in bytes: that of package ceremony/genesis, a sibling.
const maxGenesis = 256 << 10

// genesisFile is what of a genesis file people's keys are held to. Other members are passed over: the instance was begun by
// them, under the same digest.
type genesisFile struct {
	Mode   string `yaml:"mode"`
	People []struct {
		ID          string  `yaml:"id"`
		ApprovalKey jwk.Key `yaml:"approval_key"`
	} `yaml:"people"`
}

// founder is the approval key that the genesis file gives to a person.
type founder struct {
	person string
	key    people.Credential
}

// genesisKeys reads the genesis file: whose key is which, by the key's thumbprint.
func genesisKeys(file []byte, mode string) (map[string]founder, error) {
	if len(file) > maxGenesis {
		return nil, fmt.Errorf("a genesis file of %d bytes, at most %d", len(file), maxGenesis)
	}
	var f genesisFile
	if err := yaml.Unmarshal(file, &f); err != nil {
		return nil, fmt.Errorf("reading the genesis file: %w", err)
	}
	if f.Mode != mode {
		return nil, fmt.Errorf("the genesis file is of %s mode", clip(f.Mode))
	}
	keys, ids := map[string]founder{}, map[string]bool{}
	for _, p := range f.People {
		raw, err := p.ApprovalKey.JSON()
		if err == nil {
			_, err = jwk.Parse(raw)
		}
		if err != nil {
			return nil, fmt.Errorf("the genesis file: approval key of %s: %w", clip(p.ID), err)
		}
		id := p.ApprovalKey.Thumbprint()
		if _, taken := keys[id]; taken || ids[p.ID] || p.ID == "" {
			return nil, fmt.Errorf("the genesis file names %s or their key twice", clip(p.ID))
		}
		keys[id], ids[p.ID] = founder{p.ID, people.Credential{ID: id, Key: raw, Alg: p.ApprovalKey.SignatureAlg()}}, true
	}
	if len(keys) == 0 {
		return nil, errors.New("the genesis file names nobody")
	}
	return keys, nil
}

// genesis checks that the instance row holds the file that the instance is named by, and who signed it.
func (v *verifier) genesis(ctx context.Context) error {
	err := v.bodies(ctx, string(custodian.KindInstance), ErrForeignInstance, func(row RowFile, body []byte) error {
		var instance custodian.Instance
		if err := read(row, body, &instance); err != nil {
			return err
		}
		if sum := sha256.Sum256(instance.Genesis); hex.EncodeToString(sum[:]) != v.manifest.Instance {
			return errors.New("the SHA-256 of its genesis file is not the instance's id")
		}
		if row.Seq != 0 {
			return fmt.Errorf("it was written again by entry %d; what genesis fixed stays as it is", row.Seq)
		}
		v.say("The genesis file in the bundle has the SHA-256 that names the instance.")
		var err error
		if v.founders, err = genesisKeys(instance.Genesis, v.manifest.Mode); err != nil {
			return err
		}
		if err := v.begun(instance.GenesisSignatures); err != nil {
			return fault(row.File, fmt.Errorf("%w: %w", ErrProvenance, err))
		}
		return nil
	})
	if err == nil && v.founders == nil {
		err = faultf(fileRows, ErrMissing, "no row of the instance")
	}
	return err
}

// begun checks the signatures over the genesis file by the keys that the file itself lists.
func (v *verifier) begun(envelopes [][]byte) error {
	if len(envelopes) == 0 {
		v.say("The bundle holds no signatures over the genesis file, only their digests: the instance is older than that they are kept. That everybody named in the file signed it is NOT shown.")
		return nil
	}
	var first struct {
		Signatures []string `json:"signature_sha256"`
	}
	if err := json.Unmarshal(v.entries[0].Detail, &first); err != nil {
		return fmt.Errorf("entry 0: %w", err)
	}
	signed := map[string]bool{}
	for i, envelope := range envelopes {
		if sum := sha256.Sum256(envelope); !slices.Contains(first.Signatures, hex.EncodeToString(sum[:])) {
			return fmt.Errorf("signature %d over the genesis file is none of those that entry 0 names", i+1)
		}
		person, err := v.foundedBy(envelope)
		if err != nil {
			return fmt.Errorf("signature %d over the genesis file: %w", i+1, err)
		}
		signed[person] = true
	}
	if n := len(v.founders) - len(signed); n > 0 {
		return fmt.Errorf("%d of %d people whom the genesis file names have not signed it", n, len(v.founders))
	}
	v.say("%s whom the genesis file names has signed it, with the key that it gives them.", amount.Each(len(signed), "person"))
	return nil
}

// foundedBy returns who signed an envelope over this genesis file.
func (v *verifier) foundedBy(envelope []byte) (string, error) {
	e, err := dsse.Parse(envelope)
	if err != nil {
		return "", err
	}
	of, known := v.founders[e.KeyID()]
	if !known {
		return "", fmt.Errorf("key %s is nobody's in the file", clip(e.KeyID()))
	}
	payload, err := e.Verify(typeGenesis, of.key)
	if err != nil {
		return "", fmt.Errorf("of %s: %w", clip(of.person), err)
	}
	want, err := canonical(map[string]string{"instance": v.manifest.Instance, "mode": v.manifest.Mode, "person": of.person})
	if err != nil {
		return "", err
	}
	if string(payload) != string(want) {
		return "", fmt.Errorf("of %s: it is over something else", clip(of.person))
	}
	return of.person, nil
}
