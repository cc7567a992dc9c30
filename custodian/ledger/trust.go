package ledger

import (
	"crypto"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"golang.org/x/mod/sumdb/note"

	"conclave/custodian/jwk"
)

// ErrTrustFile: a trust file that cannot be relied on.
var ErrTrustFile = errors.New("invalid trust file")

const (
	maxTrustFile = 1 << 20
	maxTrustKeys = 64
	maxTrustNode = 1024
)

// TrustFile is what somebody who trusts nobody pins once, and checks everything else against.
type TrustFile struct {
	Instance string   `json:"instance"` // SHA-256 of the genesis file, lower-case hex
	Origin   string   `json:"origin"`   // see [Origin]
	Mode     string   `json:"mode"`     // "production" or "development"
	LogKeys  []string `json:"log_keys"` // note verifier keys, oldest first; each but the first has its handover
	// Handovers are the checkpoints by which each log key after the first was put in force, oldest first: see [KeyChain].
	Handovers []string  `json:"handovers,omitempty"`
	NodeKeys  []NodeKey `json:"node_keys,omitempty"` // enrolled nodes, whose keys sign collector keys
	// WitnessKeys are note verifier keys (C2SP tlog-cosignature) of machines that the service's owner does not run.
	WitnessKeys []string `json:"witness_keys,omitempty"`
	// TimestampRoots are certificates (DER) from which the certificate of a time-stamp must come.
	TimestampRoots [][]byte  `json:"timestamp_roots,omitempty"`
	Least          string    `json:"checkpoint,omitempty"` // a checkpoint that the log must contain, as its signed note
	CreatedAt      time.Time `json:"created_at"`
}

// NodeKey is a node's public key as a JWK (RFC 7517): ECDSA or ECDH on P-256, or Ed25519 (RFC 8037).
// It has no member for a private part, and none is read.
type NodeKey struct {
	Kty string `json:"kty"`
	Crv string `json:"crv"`
	X   string `json:"x"`
	Y   string `json:"y,omitempty"`
	Kid string `json:"kid"` // node id
	Alg string `json:"alg,omitempty"`
	Use string `json:"use,omitempty"`
}

// NewNodeKey makes the JWK of a node's public key.
func NewNodeKey(node string, public crypto.PublicKey) (NodeKey, error) {
	k, err := jwk.New(public, "", "sig")
	if err != nil {
		return NodeKey{}, fmt.Errorf("node key: %w", err)
	}
	return NodeKey{Kty: k.Kty, Crv: k.Crv, X: k.X, Y: k.Y, Kid: node, Alg: k.SignatureAlg(), Use: k.Use}, nil
}

// Public returns the key itself, after checking it.
func (k NodeKey) Public() (crypto.PublicKey, error) {
	public, err := jwk.Key{Kty: k.Kty, Crv: k.Crv, X: k.X, Y: k.Y, Alg: k.Alg, Use: k.Use}.Public()
	if err != nil {
		return nil, fmt.Errorf("node key %.60q: %w", k.Kid, err)
	}
	return public, nil
}

// ParseTrustFile reads and checks a trust file: strict JSON, everything in it well formed and of one
// instance, the checkpoint signed by one of the keys. Failures wrap [ErrTrustFile].
func ParseTrustFile(data []byte) (*TrustFile, error) {
	if len(data) > maxTrustFile {
		return nil, fmt.Errorf("%w: %d bytes, at most %d allowed", ErrTrustFile, len(data), maxTrustFile)
	}
	t := new(TrustFile)
	if err := json.Unmarshal(data, t, json.RejectUnknownMembers(true)); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrTrustFile, err)
	}
	if err := t.validate(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrTrustFile, err)
	}
	return t, nil
}

// LoadTrustFile reads a trust file from disk; see [ParseTrustFile].
func LoadTrustFile(path string) (*TrustFile, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("opening trust file: %w", err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxTrustFile+1))
	if err != nil {
		return nil, fmt.Errorf("reading trust file: %w", err)
	}
	t, err := ParseTrustFile(data)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", path, err)
	}
	return t, nil
}

// Encode returns the file's bytes.
func (t *TrustFile) Encode() ([]byte, error) {
	if err := t.validate(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrTrustFile, err)
	}
	data, err := json.Marshal(t, jsontext.WithIndent("  "))
	if err != nil {
		return nil, fmt.Errorf("encoding trust file: %w", err)
	}
	return append(data, '\n'), nil
}

// Save writes the file, whole or not at all.
func (t *TrustFile) Save(path string) error {
	data, err := t.Encode()
	if err != nil {
		return err
	}
	return WriteFileAtomic(path, data, 0o644)
}

// Chain is the log keys, each with the sizes for which it is good.
func (t *TrustFile) Chain() (*KeyChain, error) {
	first, err := NewKeyChain(t.Origin, t.LogKeys[0])
	if err != nil {
		return nil, err
	}
	chain, err := first.Follow(t.Handovers...)
	if err != nil {
		return nil, fmt.Errorf("handovers: %w", err)
	}
	if !slices.Equal(chain.Keys(), t.LogKeys) {
		return nil, fmt.Errorf("log_keys: %d keys, the handovers lead from the first to others: allowed: the first, and those that handovers name, in their order", len(t.LogKeys))
	}
	return chain, nil
}

// Verifiers returns the log keys, ready to check signatures.
func (t *TrustFile) Verifiers() ([]note.Verifier, error) {
	chain, err := t.Chain()
	if err != nil {
		return nil, err
	}
	return chain.Verifiers(), nil
}

// Follow is the trust file with the log keys that these handovers, oldest first, show to succeed those that it pins. It
// takes nobody's word: each handover must be signed by the newest key known. Errors: see [KeyChain.Follow].
func (t *TrustFile) Follow(handovers ...string) (*TrustFile, error) {
	chain, err := t.Chain()
	if err == nil {
		chain, err = chain.Follow(handovers...)
	}
	if err != nil {
		return nil, err
	}
	return t.with(chain), nil
}

// Before is the trust file without the log keys that came into force after the log had a size.
func (t *TrustFile) Before(size uint64) (*TrustFile, error) {
	chain, err := t.Chain()
	if err == nil {
		chain, err = chain.Before(size)
	}
	if err != nil {
		return nil, err
	}
	return t.with(chain), nil
}

// with is the trust file with the keys of a chain that begins with the same one.
func (t *TrustFile) with(chain *KeyChain) *TrustFile {
	next := *t
	next.LogKeys, next.Handovers = chain.Keys(), slices.Clone(chain.handovers)
	return &next
}

func parseVerifiers(origin string, keys []string) ([]note.Verifier, error) {
	verifiers := make([]note.Verifier, 0, len(keys))
	for i, key := range keys {
		v, err := note.NewVerifier(key)
		if err != nil {
			return nil, fmt.Errorf("log_keys[%d]: %w", i, err)
		}
		if v.Name() != origin {
			return nil, fmt.Errorf("log_keys[%d]: key of %s, want %s: %w", i, v.Name(), origin, ErrForeign)
		}
		verifiers = append(verifiers, v)
	}
	return verifiers, nil
}

// LeastHead returns what the pinned checkpoint says, and false where none is pinned.
func (t *TrustFile) LeastHead() (Head, bool, error) {
	if t.Least == "" {
		return Head{}, false, nil
	}
	verifiers, err := t.Verifiers()
	if err != nil {
		return Head{}, false, err
	}
	h, err := OpenHead([]byte(t.Least), t.Origin, verifiers...)
	if err != nil {
		return Head{}, false, fmt.Errorf("checkpoint: %w", err)
	}
	return h, true, nil
}

// TimestampPool is whom a time-stamp's certificate must come from; nil where the file names nobody.
func (t *TrustFile) TimestampPool() (*x509.CertPool, error) {
	if n := len(t.TimestampRoots); n == 0 || n > maxTrustKeys {
		if n > 0 {
			return nil, fmt.Errorf("timestamp_roots: %d certificates, at most %d allowed", n, maxTrustKeys)
		}
		return nil, nil
	}
	pool := x509.NewCertPool()
	for i, der := range t.TimestampRoots {
		c, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, fmt.Errorf("timestamp_roots[%d]: %w", i, err)
		}
		pool.AddCert(c)
	}
	return pool, nil
}

func (t *TrustFile) validate() error {
	origin, err := Origin(t.Instance)
	if err != nil {
		return err
	}
	if t.Origin != origin {
		return fmt.Errorf("origin %q: want %q for this instance", t.Origin, origin)
	}
	if t.Mode != "production" && t.Mode != "development" {
		return fmt.Errorf("mode %q: allowed: production, development", t.Mode)
	}
	if n := len(t.LogKeys); n == 0 || n > maxTrustKeys {
		return fmt.Errorf("log_keys: %d keys, allowed: 1 to %d", n, maxTrustKeys)
	}
	if n := len(t.NodeKeys); n > maxTrustNode {
		return fmt.Errorf("node_keys: %d keys, at most %d allowed", n, maxTrustNode)
	}
	for _, k := range t.NodeKeys {
		if k.Kid == "" {
			return errors.New("node_keys: kid is empty: allowed: the node's id")
		}
		if _, err := k.Public(); err != nil {
			return fmt.Errorf("node_keys: %w", err)
		}
	}
	if _, err := t.WitnessKeyList(); err != nil {
		return err
	}
	if _, err := t.TimestampPool(); err != nil {
		return err
	}
	if t.CreatedAt.IsZero() {
		return errors.New("created_at: missing")
	}
	_, _, err = t.LeastHead()
	if err == nil && t.Least == "" {
		_, err = t.Verifiers()
	}
	return err
}
