// Package jwk is the one form in which public keys of people, nodes and collectors are written down:
// JSON Web Keys (RFC 7517) on the two curves the service accepts, P-256 and Ed25519 (FIPS 186-5),
// identified by their SHA-256 thumbprint (RFC 7638).
package jwk

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"github.com/go-json-experiment/json"
)

// Algorithm names as registered for JOSE (RFC 7518 section 3.1 and 4.1, RFC 8037 section 3.1).
const (
	ES256     = "ES256"          // ECDSA on P-256 with SHA-256
	EdDSA     = "EdDSA"          // Ed25519
	ECDHA256K = "ECDH-ES+A256KW" // key agreement on P-256, AES-256 key wrap
)

// maxBytes bounds one public key's JSON; a P-256 key with every member takes under 400.
const maxBytes = 2048

// coordinateBytes is the length of every coordinate of both curves.
const coordinateBytes = 32

// ErrKey says that bytes are not a public key the service accepts. Errors of this package wrap it.
var ErrKey = errors.New("not an acceptable public key")

// Key is a public JSON Web Key. Fields are in the order of their names, so that its JSON is canonical.
type Key struct {
	Alg string `json:"alg,omitempty" yaml:"alg,omitempty"`
	Crv string `json:"crv" yaml:"crv"`
	Kid string `json:"kid,omitempty" yaml:"kid,omitempty"`
	Kty string `json:"kty" yaml:"kty"`
	Use string `json:"use,omitempty" yaml:"use,omitempty"`
	X   string `json:"x" yaml:"x"`
	Y   string `json:"y,omitempty" yaml:"y,omitempty"`
}

// Parse reads one public JWK strictly: unknown members (a private "d" among them), duplicate names,
// points off P-256 and Ed25519 points of small order are refused.
func Parse(data []byte) (Key, error) {
	if len(data) > maxBytes {
		return Key{}, fmt.Errorf("%w: %d bytes, at most %d are allowed", ErrKey, len(data), maxBytes)
	}
	var k Key
	if err := json.Unmarshal(data, &k, json.RejectUnknownMembers(true)); err != nil {
		return Key{}, fmt.Errorf("%w: %w", ErrKey, err)
	}
	if _, err := k.Public(); err != nil {
		return Key{}, err
	}
	return k, nil
}

// New describes a public key: *ecdsa.PublicKey on P-256 or ed25519.PublicKey. alg and use are written
// into the key ("" leaves them out); kid is its thumbprint.
func New(public crypto.PublicKey, alg, use string) (Key, error) {
	k := Key{Alg: alg, Use: use}
	switch p := public.(type) {
	case *ecdsa.PublicKey:
		if p.Curve != elliptic.P256() {
			return Key{}, fmt.Errorf("%w: curve %s, allowed is P-256", ErrKey, p.Curve.Params().Name)
		}
		point, err := p.Bytes()
		if err != nil {
			return Key{}, fmt.Errorf("%w: %w", ErrKey, err)
		}
		k.Kty, k.Crv = "EC", "P-256"
		k.X = encode(point[1 : 1+coordinateBytes])
		k.Y = encode(point[1+coordinateBytes:])
	case ed25519.PublicKey:
		if len(p) != ed25519.PublicKeySize {
			return Key{}, fmt.Errorf("%w: ed25519 key of %d bytes", ErrKey, len(p))
		}
		k.Kty, k.Crv, k.X = "OKP", "Ed25519", encode(p)
	default:
		return Key{}, fmt.Errorf("%w: type %T, allowed are ECDSA P-256 and Ed25519", ErrKey, public)
	}
	k.Kid = k.Thumbprint()
	if _, err := k.Public(); err != nil {
		return Key{}, err
	}
	return k, nil
}

// Public returns the key as *ecdsa.PublicKey or ed25519.PublicKey, after checking every member.
func (k Key) Public() (crypto.PublicKey, error) {
	x, err := coordinate("x", k.X)
	if err != nil {
		return nil, err
	}
	var public crypto.PublicKey
	switch {
	case k.Kty == "EC" && k.Crv == "P-256":
		y, err := coordinate("y", k.Y)
		if err != nil {
			return nil, err
		}
		// SEC 1 section 2.3.3: an uncompressed point is 0x04, x, y.
		point := append(append([]byte{4}, x...), y...)
		if public, err = ecdsa.ParseUncompressedPublicKey(elliptic.P256(), point); err != nil {
			return nil, fmt.Errorf("%w: x, y: %w", ErrKey, err)
		}
		if k.Alg != "" && k.Alg != ES256 && k.Alg != ECDHA256K {
			return nil, fmt.Errorf("%w: alg %q does not fit P-256", ErrKey, k.Alg)
		}
	case k.Kty == "OKP" && k.Crv == "Ed25519":
		if k.Y != "" {
			return nil, fmt.Errorf("%w: y: an Ed25519 key has none", ErrKey)
		}
		if k.Alg != "" && k.Alg != EdDSA {
			return nil, fmt.Errorf("%w: alg %q does not fit Ed25519", ErrKey, k.Alg)
		}
		if weakEd25519(x) {
			return nil, fmt.Errorf("%w: x: a point of small order", ErrKey)
		}
		public = ed25519.PublicKey(x)
	default:
		return nil, fmt.Errorf("%w: kty %q with crv %q, allowed are EC with P-256 and OKP with Ed25519", ErrKey, k.Kty, k.Crv)
	}
	if k.Use != "" && k.Use != "sig" && k.Use != "enc" {
		return nil, fmt.Errorf("%w: use %q, allowed are sig and enc", ErrKey, k.Use)
	}
	if k.Kid != "" && k.Kid != k.Thumbprint() {
		return nil, fmt.Errorf("%w: kid %q is not the key's RFC 7638 thumbprint", ErrKey, k.Kid)
	}
	return public, nil
}

// ECDSA returns the key as a P-256 point, refusing other kinds.
func (k Key) ECDSA() (*ecdsa.PublicKey, error) {
	public, err := k.Public()
	if err != nil {
		return nil, err
	}
	p, ok := public.(*ecdsa.PublicKey)
	if !ok {
		return nil, fmt.Errorf("%w: crv %q, P-256 is needed here", ErrKey, k.Crv)
	}
	return p, nil
}

// SignatureAlg is the one signature algorithm that fits the key's curve.
func (k Key) SignatureAlg() string {
	if k.Crv == "Ed25519" {
		return EdDSA
	}
	return ES256
}

// JSON returns the canonical JSON of the key.
func (k Key) JSON() ([]byte, error) {
	b, err := json.Marshal(k)
	if err != nil {
		return nil, fmt.Errorf("encoding public key: %w", err)
	}
	return b, nil
}

// Thumbprint is the base64url SHA-256 thumbprint of RFC 7638 (RFC 8037 appendix A.3 for Ed25519).
func (k Key) Thumbprint() string {
	sum := k.digest()
	return encode(sum[:])
}

// Fingerprint is the same thumbprint as 16 groups of four hexadecimal digits, to be compared by voice.
func (k Key) Fingerprint() string {
	sum := k.digest()
	digits := hex.EncodeToString(sum[:])
	groups := make([]string, 0, len(digits)/4)
	for i := 0; i < len(digits); i += 4 {
		groups = append(groups, digits[i:i+4])
	}
	return strings.Join(groups, " ")
}

// digest hashes the required members in lexicographic order, without white space (RFC 7638 section 3).
func (k Key) digest() [sha256.Size]byte {
	var b strings.Builder
	fmt.Fprintf(&b, `{"crv":%q,"kty":%q,"x":%q`, k.Crv, k.Kty, k.X)
	if k.Y != "" {
		fmt.Fprintf(&b, `,"y":%q`, k.Y)
	}
	b.WriteByte('}')
	return sha256.Sum256([]byte(b.String()))
}

func coordinate(name, text string) ([]byte, error) {
	b, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil {
		return nil, fmt.Errorf("%w: %s: not base64url: %w", ErrKey, name, err)
	}
	// The decoder skips line breaks; one key has one spelling.
	if len(b) != coordinateBytes || encode(b) != text {
		return nil, fmt.Errorf("%w: %s: must be %d bytes of base64url without line breaks", ErrKey, name, coordinateBytes)
	}
	return b, nil
}

func encode(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }
