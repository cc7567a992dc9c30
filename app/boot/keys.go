package boot

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"os"

	"github.com/go-jose/go-jose/v4"

	"conclave/app/config"
	"conclave/custodian"
	"conclave/custodian/dsse"
	"conclave/custodian/jwk"
	"conclave/custodian/ledger"
	"conclave/hsm/secret"
)

// ErrKeyFile: a key file of the node that cannot be used as it is.
var ErrKeyFile = errors.New("key file refused")

const (
	maxKeyFile = 4 << 10
	// symmetricBytes is the length of the audit and the challenge key: HMAC-SHA-256 at full strength.
	symmetricBytes = 32
)

// nodeKey is this node's signing key, ECDSA on P-256. It stays in ordinary memory, where crypto/ecdsa works;
// what guards it there is that the process cannot be dumped.
type nodeKey struct {
	signer dsse.Signer
	jwk    []byte         // public, canonical, as the node's row keeps it
	pinned ledger.NodeKey // public, as trust files pin it
}

// nodeKeys are the keys that a node keeps in files.
type nodeKeys struct {
	log       *ledger.LogKey
	node      *nodeKey
	audit     []byte
	challenge []byte
}

// wipe forgets the symmetric keys; their users hold copies of their own.
func (k *nodeKeys) wipe() {
	secret.Wipe(k.audit)
	secret.Wipe(k.challenge)
}

// generateKeys makes all key files below cfg.DataDir, which is new.
func generateKeys(cfg *config.Config, origin string) (*nodeKeys, error) {
	if err := mkKeyDir(cfg); err != nil {
		return nil, err
	}
	logKey, err := ledger.GenerateLogKey(cfg.LogKeyFile(), origin)
	if err != nil {
		return nil, err
	}
	node, err := generateNodeKey(cfg.NodeKeyFile(), cfg.Node.ID)
	if err != nil {
		return nil, fmt.Errorf("making the node key: %w", err)
	}
	k := &nodeKeys{log: logKey, node: node}
	if k.audit, err = generateSymmetric(cfg.AuditKeyFile()); err != nil {
		return nil, fmt.Errorf("making the audit key: %w", err)
	}
	if k.challenge, err = generateSymmetric(cfg.ChallengeKeyFile()); err != nil {
		return nil, fmt.Errorf("making the challenge key: %w", err)
	}
	return k, nil
}

func mkKeyDir(cfg *config.Config) error {
	if err := os.Mkdir(cfg.KeyDir(), 0o700); err != nil {
		return fmt.Errorf("making the key directory: %w", err)
	}
	return nil
}

// loadKeys reads them again. Files that others may read are refused.
func loadKeys(cfg *config.Config) (*nodeKeys, error) {
	logKey, err := ledger.LoadLogKey(cfg.LogKeyFile())
	if err != nil {
		return nil, err
	}
	node, err := loadNodeKey(cfg.NodeKeyFile(), cfg.Node.ID)
	if err != nil {
		return nil, fmt.Errorf("loading the node key: %w", err)
	}
	k := &nodeKeys{log: logKey, node: node}
	if k.audit, err = loadSymmetric(cfg.AuditKeyFile()); err != nil {
		return nil, fmt.Errorf("loading the audit key: %w", err)
	}
	if k.challenge, err = loadSymmetric(cfg.ChallengeKeyFile()); err != nil {
		return nil, fmt.Errorf("loading the challenge key: %w", err)
	}
	return k, nil
}

func generateNodeKey(path, id string) (*nodeKey, error) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("generating: %w", err)
	}
	k, err := newNodeKey(private, id)
	if err != nil {
		return nil, err
	}
	text, err := jose.JSONWebKey{Key: private, KeyID: k.signer.KeyID(), Algorithm: jwk.ES256, Use: "sig"}.MarshalJSON()
	if err != nil {
		return nil, fmt.Errorf("encoding: %w", err)
	}
	defer secret.Wipe(text)
	return k, ledger.WriteFileAtomic(path, text, 0o600)
}

func loadNodeKey(path, id string) (*nodeKey, error) {
	text, err := readPrivate(path)
	if err != nil {
		return nil, err
	}
	defer secret.Wipe(text)
	var key jose.JSONWebKey
	if err := key.UnmarshalJSON(text); err != nil {
		return nil, fmt.Errorf("%s: %w: not a JSON Web Key", path, ErrKeyFile)
	}
	private, ok := key.Key.(*ecdsa.PrivateKey)
	if !ok || private.Curve != elliptic.P256() {
		return nil, fmt.Errorf("%s: %w: not an ECDSA P-256 private key", path, ErrKeyFile)
	}
	return newNodeKey(private, id)
}

func newNodeKey(private *ecdsa.PrivateKey, id string) (*nodeKey, error) {
	signer, err := dsse.NewSigner(private)
	if err != nil {
		return nil, err
	}
	public, err := jwk.New(private.Public(), jwk.ES256, "sig")
	if err != nil {
		return nil, err
	}
	k := &nodeKey{signer: signer}
	if k.jwk, err = public.JSON(); err != nil {
		return nil, err
	}
	if k.pinned, err = ledger.NewNodeKey(id, private.Public()); err != nil {
		return nil, err
	}
	return k, nil
}

// row is the node's authority row.
func (k *nodeKey) row(id string) custodian.Node { return custodian.Node{ID: id, PublicKey: k.jwk} }

// generateSymmetric writes a random key as one line of base64.
func generateSymmetric(path string) ([]byte, error) {
	key := make([]byte, symmetricBytes)
	rand.Read(key)
	text := append(base64.StdEncoding.AppendEncode(nil, key), '\n')
	defer secret.Wipe(text)
	return key, ledger.WriteFileAtomic(path, text, 0o600)
}

func loadSymmetric(path string) ([]byte, error) {
	text, err := readPrivate(path)
	if err != nil {
		return nil, err
	}
	defer secret.Wipe(text)
	key := make([]byte, base64.StdEncoding.DecodedLen(len(text)))
	n, err := base64.StdEncoding.Strict().Decode(key, text)
	if err != nil || n != symmetricBytes {
		secret.Wipe(key)
		return nil, fmt.Errorf("%s: %w: not %d bytes in base64", path, ErrKeyFile, symmetricBytes)
	}
	return key[:n], nil
}

// readPrivate reads a key file of the node. A file that is not private is an ErrKeyFile.
func readPrivate(path string) ([]byte, error) {
	data, err := secret.ReadFile(path, maxKeyFile)
	if errors.Is(err, secret.ErrFile) {
		return nil, fmt.Errorf("%s: %w: %w", path, ErrKeyFile, err)
	}
	return data, err
}
