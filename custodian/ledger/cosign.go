package ledger

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/note"

	"conclave/hsm/secret"
)

// A witness is somebody else's machine that remembers the highest checkpoint it saw, and signs a checkpoint only if
// it continues that one: C2SP tlog-cosignature, Ed25519.

const (
	// algCosignature is the signature type of a timestamped Ed25519 cosignature.
	algCosignature = 0x04
	// cosignatureBytes: a 64-bit time and an Ed25519 signature.
	cosignatureBytes = 8 + ed25519.SignatureSize
	maxWitnesses     = 64
	maxWitnessName   = 120
)

// ErrWitnessKey: no key of a witness.
var ErrWitnessKey = errors.New("not a witness key")

// WitnessKey checks the cosignatures of one witness.
type WitnessKey struct {
	name   string
	hash   uint32
	public ed25519.PublicKey
}

// ParseWitnessKey reads a note verifier key of type 4: name+hash+base64.
func ParseWitnessKey(text string) (*WitnessKey, error) {
	parts := strings.SplitN(text, "+", 3)
	if len(parts) != 3 || len(text) > 400 {
		return nil, fmt.Errorf("%w: %.60q: allowed: name+hash+base64", ErrWitnessKey, text)
	}
	raw, err := base64.StdEncoding.Strict().DecodeString(parts[2])
	if err != nil || len(raw) != 1+ed25519.PublicKeySize || raw[0] != algCosignature {
		return nil, fmt.Errorf("%w: %.60q is no Ed25519 cosignature key", ErrWitnessKey, parts[0])
	}
	k, err := newWitnessKey(parts[0], raw[1:])
	if err != nil {
		return nil, err
	}
	if k.String() != text {
		return nil, fmt.Errorf("%w: %.60q has another hash than it says", ErrWitnessKey, parts[0])
	}
	return k, nil
}

func newWitnessKey(name string, public ed25519.PublicKey) (*WitnessKey, error) {
	if name == "" || len(name) > maxWitnessName || strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r > '~' || r == '+' }) {
		return nil, fmt.Errorf("%w: name %.60q: allowed: 1 to %d printable ASCII characters without space and +", ErrWitnessKey, name, maxWitnessName)
	}
	h := sha256.Sum256(append([]byte(name+"\n"), append([]byte{algCosignature}, public...)...))
	return &WitnessKey{name: name, hash: binary.BigEndian.Uint32(h[:4]), public: public}, nil
}

// String is the note verifier key.
func (k *WitnessKey) String() string {
	return fmt.Sprintf("%s+%08x+%s", k.name, k.hash, base64.StdEncoding.EncodeToString(append([]byte{algCosignature}, k.public...)))
}

// Name implements [note.Verifier].
func (k *WitnessKey) Name() string { return k.name }

// KeyHash implements [note.Verifier].
func (k *WitnessKey) KeyHash() uint32 { return k.hash }

// Verify implements [note.Verifier].
func (k *WitnessKey) Verify(message, signature []byte) bool {
	if len(signature) != cosignatureBytes || signature[0]&0x80 != 0 {
		return false
	}
	return ed25519.Verify(k.public, cosigned(binary.BigEndian.Uint64(signature), message), signature[8:])
}

// cosigned is what a witness signs.
func cosigned(at uint64, text []byte) []byte {
	return append([]byte("cosignature/v1\ntime "+strconv.FormatUint(at, 10)+"\n"), text...)
}

// Cosignature is one witness's word that it saw a checkpoint, and none that contradicts it.
type Cosignature struct {
	Witness string    `json:"witness"`
	At      time.Time `json:"at"` // by the witness's clock, whole seconds
}

// lastSecond is the last that a time of four digits of a year can name (RFC 3339): 9999-12-31T23:59:59Z.
const lastSecond = 253402300799

// Cosignatures lists those on a checkpoint that verify by one of the keys. Those of unknown witnesses are passed over;
// one of a known witness that does not verify is an error, [ErrSignature].
func Cosignatures(checkpoint []byte, witnesses []*WitnessKey) ([]Cosignature, error) {
	if len(checkpoint) > maxNote {
		return nil, fmt.Errorf("%w: %d bytes", ErrCheckpoint, len(checkpoint))
	}
	verifiers := make([]note.Verifier, len(witnesses))
	for i, w := range witnesses {
		verifiers[i] = w
	}
	n, err := note.Open(checkpoint, note.VerifierList(verifiers...))
	var none *note.UnverifiedNoteError
	if errors.As(err, &none) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrSignature, err)
	}
	var out []Cosignature
	for _, s := range n.Sigs {
		raw, err := base64.StdEncoding.DecodeString(s.Base64)
		if err != nil || len(raw) != 4+cosignatureBytes {
			return nil, fmt.Errorf("%w: malformed cosignature of %.60q", ErrSignature, s.Name)
		}
		seconds := binary.BigEndian.Uint64(raw[4:12])
		if seconds > lastSecond {
			return nil, fmt.Errorf("%w: cosignature of %.60q at a time that is none", ErrSignature, s.Name)
		}
		out = append(out, Cosignature{Witness: s.Name, At: time.Unix(int64(seconds), 0).UTC()})
	}
	return out, nil
}

// AddCosignature adds a witness's signature lines to a checkpoint, those that verify by its key.
func AddCosignature(checkpoint, lines []byte, witness *WitnessKey) ([]byte, error) {
	if len(checkpoint)+len(lines) > maxNote {
		return nil, fmt.Errorf("%w: %d bytes", ErrCheckpoint, len(checkpoint)+len(lines))
	}
	n, err := note.Open(append(bytes.Clone(checkpoint), lines...), note.VerifierList(witness))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrSignature, err)
	}
	out := bytes.Clone(checkpoint)
	for _, s := range n.Sigs {
		out = fmt.Appendf(out, "— %s %s\n", s.Name, s.Base64)
	}
	return out, nil
}

// Witness signs checkpoints. Its key is not the log's.
type Witness struct {
	Key  *WitnessKey
	sign func(message []byte) []byte
}

// String shows the public half only.
func (w *Witness) String() string { return "witness " + w.Key.String() }

// GoString shows the public half only.
func (w *Witness) GoString() string { return w.String() }

// Cosign returns the signature line over a checkpoint's text.
func (w *Witness) Cosign(checkpoint []byte, at time.Time) ([]byte, error) {
	text, _, found := bytes.Cut(checkpoint, []byte("\n\n"))
	if !found || at.Unix() < 0 {
		return nil, fmt.Errorf("cosigning: %w", ErrCheckpoint)
	}
	text = append(bytes.Clone(text), '\n')
	raw := binary.BigEndian.AppendUint32(nil, w.Key.hash)
	raw = binary.BigEndian.AppendUint64(raw, uint64(at.Unix()))
	raw = append(raw, w.sign(cosigned(uint64(at.Unix()), text))...)
	return []byte("— " + w.Key.name + " " + base64.StdEncoding.EncodeToString(raw) + "\n"), nil
}

// GenerateWitness makes a witness's key and writes it to a new file, mode 0600. An existing file is never replaced.
func GenerateWitness(path, name string) (*Witness, error) {
	_, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		return nil, fmt.Errorf("generating witness key: %w", err)
	}
	w, err := newWitness(name, private)
	if err != nil {
		return nil, fmt.Errorf("generating witness key: %w", err)
	}
	raw := append([]byte{algCosignature}, private.Seed()...)
	defer secret.Wipe(raw)
	text := base64.StdEncoding.AppendEncode(fmt.Appendf(nil, "%s%s+%08x+", logKeyPrefix, name, w.Key.hash), raw)
	text = append(text, '\n')
	defer secret.Wipe(text)
	if err := writeNew(path, text, 0o600); err != nil {
		return nil, fmt.Errorf("writing witness key: %w", err)
	}
	return w, nil
}

// LoadWitness reads a witness's key file, which nobody but its owner may read or write.
func LoadWitness(path string) (*Witness, error) {
	text, err := secret.ReadFile(path, maxLogKeyFile)
	if err != nil {
		return nil, fmt.Errorf("loading witness key %s: %w", path, err)
	}
	defer secret.Wipe(text)
	rest, prefixed := bytes.CutPrefix(bytes.TrimSuffix(text, []byte("\n")), []byte(logKeyPrefix))
	parts := bytes.SplitN(rest, []byte("+"), 3)
	if !prefixed || len(parts) != 3 {
		return nil, fmt.Errorf("loading witness key %s: %w", path, ErrWitnessKey)
	}
	raw := make([]byte, base64.StdEncoding.DecodedLen(len(parts[2])))
	defer secret.Wipe(raw)
	n, err := base64.StdEncoding.Strict().Decode(raw, parts[2])
	if err != nil || n != 1+ed25519.SeedSize || raw[0] != algCosignature {
		return nil, fmt.Errorf("loading witness key %s: %w", path, ErrWitnessKey)
	}
	w, err := newWitness(string(parts[0]), ed25519.NewKeyFromSeed(raw[1:n]))
	if err != nil {
		return nil, fmt.Errorf("loading witness key %s: %w", path, err)
	}
	if fmt.Sprintf("%08x", w.Key.hash) != string(parts[1]) {
		return nil, fmt.Errorf("loading witness key %s: %w: key hash does not match the key", path, ErrWitnessKey)
	}
	return w, nil
}

func newWitness(name string, private ed25519.PrivateKey) (*Witness, error) {
	public, ok := private.Public().(ed25519.PublicKey)
	if !ok {
		return nil, errors.New("deriving public key")
	}
	key, err := newWitnessKey(name, public)
	if err != nil {
		return nil, err
	}
	return &Witness{Key: key, sign: func(message []byte) []byte { return ed25519.Sign(private, message) }}, nil
}

// WitnessKeyList is the keys of the witnesses that the trust file names.
func (t *TrustFile) WitnessKeyList() ([]*WitnessKey, error) {
	if len(t.WitnessKeys) > maxWitnesses {
		return nil, fmt.Errorf("witness_keys: %d keys, at most %d allowed", len(t.WitnessKeys), maxWitnesses)
	}
	var out []*WitnessKey
	for i, text := range t.WitnessKeys {
		k, err := ParseWitnessKey(text)
		if err != nil {
			return nil, fmt.Errorf("witness_keys[%d]: %w", i, err)
		}
		out = append(out, k)
	}
	return out, nil
}
