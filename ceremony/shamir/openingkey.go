package shamir

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strings"

	"conclave/custodian/jwk"
	"conclave/hsm/secret"

	"github.com/go-jose/go-jose/v4"
)

// OpeningKey is the private P-256 key that opens sealed shares: a custodian's share key, or the collector
// key a node makes at start. The scalar is kept as a secret and leaves it only while a share is opened.
type OpeningKey struct {
	public jwk.Key
	scalar *secret.Bytes
}

// NewOpeningKey makes a key.
func NewOpeningKey() (*OpeningKey, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("making a share-opening key: %w", err)
	}
	scalar, err := key.Bytes()
	if err != nil {
		return nil, fmt.Errorf("making a share-opening key: %w", err)
	}
	return ImportOpeningKey(secret.New(scalar))
}

// ImportOpeningKey takes over a stored scalar (32 bytes, big-endian, SEC 1 section 2.3.6).
func ImportOpeningKey(scalar *secret.Bytes) (*OpeningKey, error) {
	k := &OpeningKey{scalar: scalar}
	err := k.use(func(key *ecdsa.PrivateKey) error {
		var err error
		k.public, err = jwk.New(&key.PublicKey, jwk.ECDHA256K, "enc")
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("reading share-opening key: %w", err)
	}
	return k, nil
}

func (k *OpeningKey) use(f func(key *ecdsa.PrivateKey) error) error {
	return k.scalar.Use(func(b []byte) error {
		key, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), b)
		if err != nil {
			return err
		}
		return f(key)
	})
}

// KeyID is the RFC 7638 thumbprint of the public key.
func (k *OpeningKey) KeyID() string { return k.public.Kid }

// Public is the public key as a JWK.
func (k *OpeningKey) Public() jwk.Key { return k.public }

// Scalar is the private key for whoever stores it, sealed. It stays the OpeningKey's.
func (k *OpeningKey) Scalar() *secret.Bytes { return k.scalar }

// Recipient is the key as somebody to seal a share to.
func (k *OpeningKey) Recipient() (Recipient, error) {
	raw, err := k.public.JSON()
	if err != nil {
		return Recipient{}, err
	}
	return Recipient{KeyID: k.public.Kid, Key: raw}, nil
}

// Wipe overwrites the key.
func (k *OpeningKey) Wipe() { k.scalar.Wipe() }

// Open decrypts a share sealed to this key, alone or among two, and checks that it is the share its
// outside says. Whether it is the share the register knows is for CheckShare.
func (k *OpeningKey) Open(sealed string) (*Share, error) {
	outside, err := Inspect(sealed)
	if err != nil {
		return nil, err
	}
	if !slices.Contains(outside.KeyIDs, k.KeyID()) {
		return nil, fmt.Errorf("%w: this is %s, the share is for %s", ErrNotFor, k.KeyID(), strings.Join(outside.KeyIDs, ", "))
	}
	object, err := parseSealed(sealed)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrSealed, err)
	}
	encoded, err := k.Decrypt(object)
	if errors.Is(err, secret.ErrWiped) {
		return nil, fmt.Errorf("opening sealed share: %w", err)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: share %d of %s", ErrUnseal, outside.Index, outside.Set)
	}
	defer encoded.Wipe()
	share, err := ParseShare(encoded)
	if err != nil {
		return nil, err
	}
	if share.set != outside.Set || share.index != outside.Index {
		share.Wipe()
		return nil, fmt.Errorf("%w: outside says share %d of %s, inside is %s", ErrSealed, outside.Index, outside.Set, share)
	}
	return share, nil
}

// Decrypt opens what is sealed to this key, alone or among others. The error tells nothing but that it does not open.
func (k *OpeningKey) Decrypt(object *jose.JSONWebEncryption) (*secret.Bytes, error) {
	var plain []byte
	err := k.use(func(key *ecdsa.PrivateKey) error {
		var err error
		_, _, plain, err = object.DecryptMulti(key)
		return err
	})
	if err != nil {
		return nil, err
	}
	return secret.New(plain), nil
}

func parseSealed(sealed string) (*jose.JSONWebEncryption, error) {
	algorithms := []jose.KeyAlgorithm{jose.ECDH_ES_A256KW}
	encryptions := []jose.ContentEncryption{jose.A256CBC_HS512}
	if strings.HasPrefix(sealed, "{") {
		return jose.ParseEncryptedJSON(sealed, algorithms, encryptions)
	}
	return jose.ParseEncryptedCompact(sealed, algorithms, encryptions)
}
