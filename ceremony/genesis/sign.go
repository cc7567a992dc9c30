package genesis

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json"

	"conclave/ceremony/statement"
	"conclave/custodian"
	"conclave/custodian/dsse"
	"conclave/custodian/people"
)

// ErrUnsigned: somebody named in the file has not signed these exact bytes.
var ErrUnsigned = errors.New("genesis file is not signed by everyone named in it")

// approval is what each person signs. Fields are in the order of their names, so that it is canonical.
type approval struct {
	Instance string         `json:"instance"` // SHA-256 of the file
	Mode     custodian.Mode `json:"mode"`
	Person   string         `json:"person"`
}

// Signer is a person's approval key, as package keyfile opens it.
type Signer interface {
	dsse.Signer
	ID() string
}

// Sign signs the exact bytes of a valid genesis file as the person whom signer belongs to.
func Sign(signer Signer, file []byte) ([]byte, error) {
	f, err := Load(file)
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(f.People, func(p Person) bool { return p.ID == signer.ID() })
	if i < 0 {
		return nil, fmt.Errorf("%w: %q is not named in it", ErrFile, signer.ID())
	}
	if f.People[i].ApprovalKey.Thumbprint() != signer.KeyID() {
		return nil, fmt.Errorf("%w: people[%d].approval_key is not the key of this key file", ErrFile, i)
	}
	payload, err := json.Marshal(approval{Digest(file), f.Mode, signer.ID()})
	if err != nil {
		return nil, fmt.Errorf("encoding genesis approval: %w", err)
	}
	return dsse.Sign(signer, statement.TypeGenesis, payload)
}

// Check loads the file and verifies that everybody named in it signed these bytes with the key listed. The
// error names who is missing or whose signature is wrong. envelopes may come in any order; one that belongs
// to nobody named is refused too, since it means that something was mixed up.
func Check(file []byte, envelopes [][]byte) (*File, error) {
	f, err := Load(file)
	if err != nil {
		return nil, err
	}
	register, err := f.register(time.Time{})
	if err != nil {
		return nil, err
	}
	signed := map[string]bool{}
	for i, envelope := range envelopes {
		person, err := f.verify(register, file, envelope)
		if err != nil {
			return nil, fmt.Errorf("%w: signature %d: %w", ErrUnsigned, i+1, err)
		}
		signed[person] = true
	}
	var missing []string
	for _, p := range register {
		if !signed[p.ID] {
			missing = append(missing, p.ID)
		}
	}
	if len(missing) > 0 {
		return nil, fmt.Errorf("%w: missing: %s", ErrUnsigned, strings.Join(missing, ", "))
	}
	return f, nil
}

// verify returns who signed an envelope over this file.
func (f *File) verify(register []*people.Person, file, envelope []byte) (string, error) {
	e, err := dsse.Parse(envelope)
	if err != nil {
		return "", err
	}
	for _, p := range register {
		credential := p.ApprovalKeys[0]
		if credential.ID != e.KeyID() {
			continue
		}
		payload, err := e.Verify(statement.TypeGenesis, credential)
		if err != nil {
			return "", fmt.Errorf("of %s: %w", p.ID, err)
		}
		var a approval
		if err := json.Unmarshal(payload, &a, json.RejectUnknownMembers(true)); err != nil {
			return "", fmt.Errorf("of %s: %w", p.ID, err)
		}
		if want := (approval{Digest(file), f.Mode, p.ID}); a != want {
			return "", fmt.Errorf("of %s: signs instance %.16s… as %q, wanted is %.16s… as %q", p.ID, a.Instance, a.Person, want.Instance, want.Person)
		}
		return p.ID, nil
	}
	return "", fmt.Errorf("key %s is nobody's in the file", e.KeyID())
}
