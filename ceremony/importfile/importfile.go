// Package importfile is the two files by which a wrapped key travels: the public half of a wrapping key, stated by the
// node that holds it, and the wrapped key itself. The machine that makes the second knows nothing of the service but its
// trust file. Formats: docs/wire-formats.md.
package importfile

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/go-json-experiment/json"

	"conclave/ceremony/statement"
	"conclave/custodian/dsse"
	"conclave/custodian/ledger"
	"conclave/custodian/strictjson"
	"conclave/hsm"
	"conclave/hsm/checkvalue"
	"conclave/hsm/keypair"
	"conclave/hsm/keywrap"
	"conclave/hsm/secret"
)

// Reasons why a file is not used.
var (
	ErrFile      = errors.New("not a file of this kind, or damaged")
	ErrUntrusted = errors.New("not signed by a node that the trust file pins")
	ErrExpired   = errors.New("wrapping key expired")
)

// maxFile bounds both files, in bytes.
const maxFile = 16 << 10

// WrappingKey is the public half of a wrapping key, as the node that signs it states it.
type WrappingKey struct {
	Instance    string    `json:"instance"`
	Node        string    `json:"node"`
	WrappingKey string    `json:"wrapping_key"`
	Keystore    string    `json:"keystore"`
	Algorithm   hsm.Spec  `json:"algorithm"` // of the pair
	Public      []byte    `json:"public"`    // SubjectPublicKeyInfo, DER
	CheckValue  string    `json:"check_value"`
	ExpiresAt   time.Time `json:"expires_at"`
	V           int       `json:"v"` // 1
}

// Fingerprint is the hexadecimal SHA-256 of the public half.
func (w *WrappingKey) Fingerprint() string {
	sum := sha256.Sum256(w.Public)
	return hex.EncodeToString(sum[:])
}

// Sign states a wrapping key under a node's key (DSSE).
func Sign(signer dsse.Signer, w WrappingKey) ([]byte, error) {
	w.V = 1
	w.ExpiresAt = w.ExpiresAt.UTC().Truncate(time.Second)
	raw, err := json.Marshal(w)
	if err != nil {
		return nil, fmt.Errorf("encoding wrapping key %s: %w", w.WrappingKey, err)
	}
	payload, err := strictjson.Canonical(raw)
	if err != nil {
		return nil, fmt.Errorf("encoding wrapping key %s: %w", w.WrappingKey, err)
	}
	return dsse.Sign(signer, statement.TypeWrappingKey, payload)
}

// Open reads a wrapping key that a pinned node of the pinned instance signed and that has not expired.
func Open(envelope []byte, trust *ledger.TrustFile, now time.Time) (*WrappingKey, error) {
	fail := func(err error) (*WrappingKey, error) { return nil, fmt.Errorf("wrapping key refused: %w", err) }
	if len(envelope) > maxFile {
		return fail(fmt.Errorf("%w: %d bytes, at most %d are allowed", ErrFile, len(envelope), maxFile))
	}
	parsed, err := dsse.Parse(envelope)
	if err != nil {
		return fail(fmt.Errorf("%w: %w", ErrFile, err))
	}
	payload, node, err := parsed.VerifyNode(statement.TypeWrappingKey, trust.NodeKeys)
	if err != nil {
		return fail(fmt.Errorf("%w: %w", ErrUntrusted, err))
	}
	var w WrappingKey
	if err := json.Unmarshal(payload, &w, json.RejectUnknownMembers(true)); err != nil || w.V != 1 {
		return fail(ErrFile)
	}
	switch {
	case w.Instance != trust.Instance:
		return fail(fmt.Errorf("%w: it is one of instance %.64q", ErrUntrusted, w.Instance))
	case w.Node != node:
		return fail(fmt.Errorf("%w: it names node %.64q, its signature is by node %.64q", ErrUntrusted, w.Node, node))
	case !now.Before(w.ExpiresAt):
		return fail(fmt.Errorf("%s: %w at %s", w.WrappingKey, ErrExpired, w.ExpiresAt.UTC().Format(time.RFC3339)))
	}
	if _, err := keypair.ParsePublic(w.Algorithm, w.Public); err != nil || keypair.CheckValue(w.Public) != w.CheckValue {
		return fail(fmt.Errorf("%w: its public half is none of %.32q", ErrFile, string(w.Algorithm)))
	}
	return &w, nil
}

// Format names the file of a wrapped key.
const Format = "conclave wrapped key v1"

// Blob is a wrapped key with what it was made for. Nothing in it is secret.
type Blob struct {
	Format            string   `json:"format"`
	Instance          string   `json:"instance"`
	Keystore          string   `json:"keystore"`
	WrappingKey       string   `json:"wrapping_key"`
	WrappingKeySHA256 string   `json:"wrapping_key_sha256"`
	Algorithm         hsm.Spec `json:"algorithm"` // of the wrapped key
	CheckValue        string   `json:"check_value"`
	Wrapped           []byte   `json:"wrapped"` // see hsm.ImportWrapped
}

// Prepare wraps a key for a wrapping key. What is no key of the specification is hsm.ErrKeyForm. key stays the
// caller's to wipe.
func Prepare(w *WrappingKey, spec hsm.Spec, key *secret.Bytes) (*Blob, error) {
	own, _, err := keywrap.Take(spec, key)
	if err != nil {
		return nil, err
	}
	defer own.Wipe()
	check, err := checkvalue.Of(spec, own)
	if err != nil {
		return nil, err
	}
	wrapped, err := keywrap.Wrap(w.Algorithm, w.Public, own)
	if err != nil {
		return nil, err
	}
	return &Blob{Format: Format, Instance: w.Instance, Keystore: w.Keystore, WrappingKey: w.WrappingKey, WrappingKeySHA256: w.Fingerprint(),
		Algorithm: spec, CheckValue: check, Wrapped: wrapped}, nil
}

// Encode is the file.
func (b *Blob) Encode() ([]byte, error) {
	raw, err := json.Marshal(b)
	if err != nil {
		return nil, fmt.Errorf("encoding a wrapped key: %w", err)
	}
	canonical, err := strictjson.Canonical(raw)
	if err != nil {
		return nil, fmt.Errorf("encoding a wrapped key: %w", err)
	}
	return append(canonical, '\n'), nil
}

// ParseBlob reads the file of a wrapped key. Whether it opens is for the keystore to say.
func ParseBlob(raw []byte) (*Blob, error) {
	if err := strictjson.Check(raw, maxFile); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrFile, err)
	}
	var b Blob
	if err := json.Unmarshal(raw, &b, json.RejectUnknownMembers(true)); err != nil || b.Format != Format {
		return nil, fmt.Errorf("%w: not a %s", ErrFile, Format)
	}
	return &b, nil
}
