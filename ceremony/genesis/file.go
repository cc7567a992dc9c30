// Package genesis begins an instance: one declarative file names the people, their keys and roles, the
// keystores and who holds which shares; everybody named signs its exact bytes; its SHA-256 is the instance's
// id and entry 0 of the ledger.
package genesis

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"time"

	"go.yaml.in/yaml/v3"

	"conclave/custodian"
	"conclave/custodian/jwk"
	"conclave/custodian/people"
	"conclave/hsm"
)

// MaxFile bounds a genesis file, in bytes.
const MaxFile = 256 << 10

// ErrFile: the file cannot be used; the message names the field, what was wrong and what is allowed.
var ErrFile = errors.New("genesis file")

// File is the whole input of an instance's beginning.
type File struct {
	Version      int            `yaml:"version"` // 1
	Name         string         `yaml:"name"`
	Mode         custodian.Mode `yaml:"mode"`
	PolicyDigest string         `yaml:"policy_digest"`
	Attestation  Attestation    `yaml:"attestation"`
	People       []Person       `yaml:"people"`
	Keystores    []Keystore     `yaml:"keystores"`
}

// Attestation records that the keys in the file are those of the people named.
type Attestation struct {
	// FingerprintsCompared is "in-person", "by-voice", or "not-compared" (development only).
	FingerprintsCompared string    `yaml:"fingerprints_compared"`
	By                   string    `yaml:"by"` // person id of who attests
	At                   time.Time `yaml:"at"`
}

// Person is one human of the beginning.
type Person struct {
	ID          string        `yaml:"id"`
	Name        string        `yaml:"name"`
	StaffNumber string        `yaml:"staff_number,omitempty"`
	Roles       []people.Role `yaml:"roles"`
	Groups      []string      `yaml:"groups,omitempty"`
	Team        string        `yaml:"team"`
	Site        string        `yaml:"site"`
	Manager     string        `yaml:"manager,omitempty"`
	ApprovalKey jwk.Key       `yaml:"approval_key"`
	ShareKey    *jwk.Key      `yaml:"share_key,omitempty"` // custodians only
}

// Keystore is one keystore of the beginning.
type Keystore struct {
	ID           string           `yaml:"id"`
	Driver       string           `yaml:"driver"` // "software"
	Make         string           `yaml:"make,omitempty"`
	Model        string           `yaml:"model,omitempty"`
	Jurisdiction string           `yaml:"jurisdiction"`
	Environment  string           `yaml:"environment"` // "production" or "test"
	Location     string           `yaml:"location"`
	Controller   string           `yaml:"controller"` // person id
	Custody      hsm.CustodyModel `yaml:"custody,omitempty"`
	ShareSet     ShareSet         `yaml:"share_set"`
}

// ShareSet says who holds the shares of a keystore's activation secret.
type ShareSet struct {
	ID        string   `yaml:"id"`
	Threshold int      `yaml:"threshold"` // m
	Holders   []string `yaml:"holders"`   // person ids; n is their number
}

// Digest is the instance id that these bytes would give: hex SHA-256.
func Digest(file []byte) string {
	sum := sha256.Sum256(file)
	return hex.EncodeToString(sum[:])
}

// Load parses and validates a genesis file. Unknown and repeated keys, a second document, and anything that
// could not work later are refused with an error that names the field and wraps ErrFile.
func Load(data []byte) (*File, error) {
	if len(data) > MaxFile {
		return nil, fmt.Errorf("%w: %d bytes; allowed: at most %d", ErrFile, len(data), MaxFile)
	}
	dec := yaml.NewDecoder(bytes.NewReader(data))
	dec.KnownFields(true)
	var f File
	if err := dec.Decode(&f); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrFile, err)
	}
	if err := dec.Decode(new(any)); !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%w: more than one document; allowed: one", ErrFile)
	}
	if err := f.Validate(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrFile, err)
	}
	return &f, nil
}

// Encode writes the file as YAML: what a tool that prepares a genesis saves for people to read and sign.
func (f *File) Encode() ([]byte, error) {
	var buf bytes.Buffer
	enc := yaml.NewEncoder(&buf)
	enc.SetIndent(2)
	if err := enc.Encode(f); err != nil {
		return nil, fmt.Errorf("encoding genesis file: %w", err)
	}
	return buf.Bytes(), nil
}
