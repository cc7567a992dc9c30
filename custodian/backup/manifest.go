package backup

import (
	"crypto/ecdsa"
	"errors"
	"fmt"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"conclave/custodian/dsse"
	"conclave/custodian/jwk"
	"conclave/custodian/ledger"
	"conclave/custodian/people"
	"conclave/hsm/secret"
)

// Payload types that a node signs about a backup.
const (
	TypeManifest = "application/vnd.conclave.backup-manifest+json"
	TypeTrailer  = "application/vnd.conclave.backup-trailer+json"
	TypeJournal  = "application/vnd.conclave.backup-journal+json"
)

// Version of the file format and of its documents.
const Version = 1

// Reasons why a backup is refused.
var (
	ErrFormat    = errors.New("not a backup of this format")
	ErrVersion   = errors.New("backup is of a format that this program does not read")
	ErrSigned    = errors.New("backup is not signed by a node of the trust file")
	ErrForeign   = errors.New("backup belongs to another instance")
	ErrTruncated = errors.New("backup is cut short")
	ErrAltered   = errors.New("backup is altered")
	ErrKey       = errors.New("this key does not open the backup")
)

// maxManifest bounds a manifest, in bytes: 255 sealed shares of a short secret, and room.
const maxManifest = 4 << 20

// Manifest stands at the front of a backup, readable and signed by the node. With it, the trust file and their key
// files the custodians can open the backup where no instance is left.
type Manifest struct {
	Version    int       `json:"v"`
	ID         string    `json:"id"`
	Schedule   string    `json:"schedule"`
	Instance   string    `json:"instance"`
	Name       string    `json:"name"`
	Mode       string    `json:"mode"`
	Node       string    `json:"node"`
	Program    string    `json:"program"`    // version that wrote it
	Policy     string    `json:"policy"`     // digest of the bundle in force
	Checkpoint string    `json:"checkpoint"` // signed: the ledger in the backup
	ShareSet   string    `json:"share_set"`
	Epoch      uint32    `json:"epoch"`
	Threshold  int       `json:"threshold"`
	Shares     []Share   `json:"shares"`
	KeyID      string    `json:"key_id"`
	Key        jwk.Key   `json:"key"`         // public backup key
	ContentKey string    `json:"content_key"` // JWE: the key of this file, to Key
	Commitment []byte    `json:"commitment"`  // tells the right content key from a wrong one
	CreatedAt  time.Time `json:"created_at"`
	// Handovers show who succeeded the log key that a trust file pins: see [ledger.KeyChain].
	Handovers []string `json:"handovers,omitempty"`
}

// Share is one sealed share of the backup key.
type Share struct {
	Index      int    `json:"index"`
	Custodian  string `json:"custodian"`
	Commitment []byte `json:"commitment"`
	Sealed     string `json:"sealed"`
}

// ShareOf is a share's line of the custody register, as a manifest carries it.
func ShareOf(s *people.Share) Share {
	return Share{Index: s.Index, Custodian: s.Custodian, Commitment: s.Commitment, Sealed: s.Sealed}
}

// Sign makes the signed form.
func (m *Manifest) Sign(signer dsse.Signer) ([]byte, error) {
	return sign(signer, TypeManifest, m, maxManifest)
}

func sign(signer dsse.Signer, payloadType string, document any, most int) ([]byte, error) {
	raw, err := json.Marshal(document)
	if err != nil {
		return nil, fmt.Errorf("encoding %s: %w", payloadType, err)
	}
	payload := jsontext.Value(raw)
	if err := payload.Canonicalize(); err != nil {
		return nil, fmt.Errorf("encoding %s: %w", payloadType, err)
	}
	return dsse.SignUpTo(signer, payloadType, payload, most)
}

// opened checks a node's signature and reads the document strictly.
func opened(envelope []byte, payloadType string, trust *ledger.TrustFile, into any, most int) (node string, err error) {
	e, err := dsse.ParseUpTo(envelope, most)
	if err != nil {
		return "", fmt.Errorf("%w: %w", ErrFormat, err)
	}
	payload, node, err := e.VerifyNode(payloadType, trust.NodeKeys)
	if err != nil {
		return "", fmt.Errorf("%w: %w", ErrSigned, err)
	}
	if err := json.Unmarshal(payload, into, json.RejectUnknownMembers(true)); err != nil {
		return "", fmt.Errorf("%w: %w", ErrFormat, err)
	}
	return node, nil
}

// FileName is the name under which a backup stands in the directory of its schedule.
func (m *Manifest) FileName() string {
	return fmt.Sprintf("%s-%s-%s%s", m.Schedule, m.CreatedAt.UTC().Format("20060102T150405Z"), m.ID, BackupSuffix)
}

// ReadManifest checks a signed manifest against the trust file.
func ReadManifest(envelope []byte, trust *ledger.TrustFile) (*Manifest, error) {
	m := new(Manifest)
	node, err := opened(envelope, TypeManifest, trust, m, maxManifest)
	if err != nil {
		return nil, fmt.Errorf("reading manifest: %w", err)
	}
	switch {
	case m.Version != Version:
		return nil, fmt.Errorf("reading manifest: %w: version %d, this program reads %d", ErrVersion, m.Version, Version)
	case m.Instance != trust.Instance || m.Mode != trust.Mode:
		return nil, fmt.Errorf("reading manifest: %w: %.16s… in %s mode, the trust file pins %.16s… in %s mode", ErrForeign, m.Instance, m.Mode, trust.Instance, trust.Mode)
	case m.Node != node:
		return nil, fmt.Errorf("reading manifest: %w: it names node %q, signed is it by node %q", ErrSigned, m.Node, node)
	case m.Threshold < 2 || len(m.Shares) <= m.Threshold || len(m.Shares) > people.MaxShares:
		return nil, fmt.Errorf("reading manifest: %w: %d shares with threshold %d", ErrFormat, len(m.Shares), m.Threshold)
	}
	if _, err := m.Head(trust); err != nil {
		return nil, fmt.Errorf("reading manifest: %w", err)
	}
	return m, nil
}

// Head is the checkpoint of the ledger in the backup, its signature checked.
func (m *Manifest) Head(trust *ledger.TrustFile) (ledger.Head, error) {
	followed, err := m.Follow(trust)
	if err != nil {
		return ledger.Head{}, err
	}
	chain, err := followed.Chain()
	if err != nil {
		return ledger.Head{}, err
	}
	return chain.Open([]byte(m.Checkpoint))
}

// Follow is the trust file with the log keys that the backup shows to succeed those that it pins.
func (m *Manifest) Follow(trust *ledger.TrustFile) (*ledger.TrustFile, error) {
	return trust.Follow(m.Handovers...)
}

// sealContentKey encrypts a file's key to the backup key: JWE (RFC 7516) as sealed shares are, ECDH-ES+A256KW on P-256
// and A256CBC-HS512.
func sealContentKey(content *secret.Bytes, to jwk.Key) (string, error) {
	public, err := to.ECDSA()
	if err != nil {
		return "", fmt.Errorf("backup key: %w", err)
	}
	encrypter, err := jose.NewEncrypter(jose.A256CBC_HS512, jose.Recipient{Algorithm: jose.ECDH_ES_A256KW, Key: public, KeyID: to.Thumbprint()},
		(&jose.EncrypterOptions{}).WithType("conclave-backup-key"))
	if err != nil {
		return "", fmt.Errorf("sealing the content key: %w", err)
	}
	var object *jose.JSONWebEncryption
	err = content.Use(func(b []byte) error {
		var err error
		object, err = encrypter.Encrypt(b)
		return err
	})
	if err != nil {
		return "", fmt.Errorf("sealing the content key: %w", err)
	}
	return object.CompactSerialize()
}

// OpenContentKey opens the file's key with the private backup key. The error is [ErrKey] for any other key.
func (m *Manifest) OpenContentKey(private *ecdsa.PrivateKey) (*secret.Bytes, error) {
	object, err := jose.ParseEncryptedCompact(m.ContentKey, []jose.KeyAlgorithm{jose.ECDH_ES_A256KW}, []jose.ContentEncryption{jose.A256CBC_HS512})
	if err != nil {
		return nil, fmt.Errorf("%w: content key: %w", ErrFormat, err)
	}
	plain, err := object.Decrypt(private)
	if err != nil || len(plain) != contentKeyBytes {
		secret.Wipe(plain)
		return nil, ErrKey
	}
	return secret.New(plain), nil
}
