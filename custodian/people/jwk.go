package people

import (
	"crypto"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/sha256"
	"encoding/base64"
	"fmt"

	"github.com/go-json-experiment/json"

	"conclave/custodian/key"
)

// Signature algorithms of approval keys (RFC 7518 section 3.1, RFC 8037).
const (
	AlgES256 = "ES256"
	AlgEdDSA = "EdDSA"
)

// maxJWK bounds a public JWK in bytes; a P-256 key with every member takes about 300.
const maxJWK = 1024

// jwk is a public key as RFC 7517 spells it. Unknown members are refused, and with them every private one.
type jwk struct {
	Kty    string   `json:"kty"`
	Crv    string   `json:"crv"`
	X      string   `json:"x"`
	Y      string   `json:"y,omitempty"`
	Use    string   `json:"use,omitempty"`
	Alg    string   `json:"alg,omitempty"`
	Kid    string   `json:"kid,omitempty"`
	KeyOps []string `json:"key_ops,omitempty"`
}

// PublicKey is what a JWK says, checked.
type PublicKey struct {
	Key        crypto.PublicKey // *ecdsa.PublicKey (P-256) or ed25519.PublicKey
	Alg        string           // signature algorithm that fits the key
	Use        string           // "sig", "enc" or "" as declared
	Thumbprint string           // RFC 7638, SHA-256, base64url
}

// ParseJWK reads a public JWK (RFC 7517): an EC key on P-256 or an OKP key on Ed25519, nothing private,
// nothing unknown, no duplicate names, the point on its curve. The error says what is wrong with it.
func ParseJWK(raw []byte) (PublicKey, error) {
	if len(raw) > maxJWK {
		return PublicKey{}, fmt.Errorf("%d bytes, at most %d", len(raw), maxJWK)
	}
	var j jwk
	if err := json.Unmarshal(raw, &j, json.RejectUnknownMembers(true)); err != nil {
		return PublicKey{}, fmt.Errorf("reading public JWK: %w", err)
	}
	var p PublicKey
	var err error
	switch {
	case j.Kty == "EC" && j.Crv == "P-256":
		p, err = j.ec()
	case j.Kty == "OKP" && j.Crv == "Ed25519" && j.Y == "":
		p, err = j.okp()
	default:
		err = fmt.Errorf("kty %.16q with crv %.16q: only EC P-256 and OKP Ed25519", j.Kty, j.Crv)
	}
	if err != nil {
		return PublicKey{}, fmt.Errorf("reading public JWK: %w", err)
	}
	if j.Kid != "" && j.Kid != p.Thumbprint {
		return PublicKey{}, fmt.Errorf("reading public JWK: kid %.64q is not its thumbprint %s", j.Kid, p.Thumbprint)
	}
	p.Use = j.Use
	return p, nil
}

func (j jwk) ec() (PublicKey, error) {
	x, errX := coordinate(j.X)
	y, errY := coordinate(j.Y)
	if errX != nil || errY != nil {
		return PublicKey{}, fmt.Errorf("x and y are 32 bytes each in base64url without padding")
	}
	point := append(append([]byte{4}, x...), y...)
	if _, err := ecdh.P256().NewPublicKey(point); err != nil { // refuses points off the curve and infinity
		return PublicKey{}, fmt.Errorf("point: %w", err)
	}
	pub, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), point)
	if err != nil {
		return PublicKey{}, fmt.Errorf("point: %w", err)
	}
	return PublicKey{Key: pub, Alg: AlgES256,
		Thumbprint: thumbprint(`{"crv":"P-256","kty":"EC","x":"` + j.X + `","y":"` + j.Y + `"}`)}, nil
}

func (j jwk) okp() (PublicKey, error) {
	x, err := coordinate(j.X)
	if err != nil {
		return PublicKey{}, fmt.Errorf("x is 32 bytes in base64url without padding")
	}
	return PublicKey{Key: ed25519.PublicKey(x), Alg: AlgEdDSA,
		Thumbprint: thumbprint(`{"crv":"Ed25519","kty":"OKP","x":"` + j.X + `"}`)}, nil
}

func coordinate(s string) ([]byte, error) {
	b, err := base64.RawURLEncoding.Strict().DecodeString(s)
	if err != nil || len(b) != 32 || base64.RawURLEncoding.EncodeToString(b) != s {
		return nil, fmt.Errorf("not 32 bytes of base64url")
	}
	return b, nil
}

// thumbprint hashes the required members in lexical order (RFC 7638 section 3).
func thumbprint(required string) string {
	sum := sha256.Sum256([]byte(required))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// checkCredential checks one approval key of a record.
func checkCredential(field string, c *Credential) error {
	p, err := ParseJWK(c.Key)
	switch {
	case err != nil:
		return &key.FieldError{Field: field + ".key", Problem: err.Error(), Allowed: "a public JWK: EC P-256 or OKP Ed25519"}
	case p.Use != "" && p.Use != "sig":
		return &key.FieldError{Field: field + ".key", Problem: fmt.Sprintf("use %.16q", p.Use), Allowed: `use "sig" or none`}
	case c.Alg != p.Alg:
		return &key.FieldError{Field: field + ".alg", Problem: fmt.Sprintf("%.16q does not fit the key", c.Alg), Allowed: p.Alg}
	case c.ID != p.Thumbprint:
		return &key.FieldError{Field: field + ".id", Problem: "not the key's thumbprint", Allowed: p.Thumbprint}
	}
	return nil
}

// checkShareKey checks the key that opens sealed shares.
func checkShareKey(p *Person) error {
	if len(p.ShareKey) == 0 {
		return &key.FieldError{Field: "share_key", Problem: "missing", Allowed: "a public JWK on P-256: custodians receive sealed shares"}
	}
	k, err := ParseJWK(p.ShareKey)
	switch {
	case err != nil:
		return &key.FieldError{Field: "share_key", Problem: err.Error(), Allowed: "a public JWK on P-256"}
	case k.Alg != AlgES256 || k.Use != "" && k.Use != "enc":
		return &key.FieldError{Field: "share_key", Problem: "not an encryption key on P-256", Allowed: `kty "EC", crv "P-256", use "enc" or none`}
	case p.ShareKeyID != k.Thumbprint:
		return &key.FieldError{Field: "share_key_id", Problem: "not the key's thumbprint", Allowed: k.Thumbprint}
	}
	for i := range p.ApprovalKeys {
		if p.ApprovalKeys[i].ID == k.Thumbprint {
			return &key.FieldError{Field: "share_key", Problem: "also an approval key", Allowed: "a key of its own: one key, one use (SP 800-57 Part 1, 5.2)"}
		}
	}
	return nil
}
