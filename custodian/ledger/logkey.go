package ledger

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"

	"golang.org/x/mod/sumdb/note"

	"conclave/hsm/secret"
)

// ErrLogKey: a log key file that cannot be used as it is.
var ErrLogKey = errors.New("log key file refused")

const (
	// algEd25519 is the signature type byte of Ed25519 keys in signed notes.
	algEd25519    = 1
	logKeyPrefix  = "PRIVATE+KEY+"
	maxLogKeyFile = 512
)

// LogKey signs checkpoints. An instance has one, kept outside the database and outside any keystore
// that shares activate, so that the record goes on while every keystore is inactive.
type LogKey struct {
	Origin      string // name of the key and origin of the log
	VerifierKey string // public half as a note verifier key, for the trust file
	Signer      note.Signer
	Verifier    note.Verifier
}

// String shows the public half only.
func (k *LogKey) String() string { return "log key " + k.VerifierKey }

// GoString shows the public half only.
func (k *LogKey) GoString() string { return k.String() }

// logSigner is a note.Signer over a private key in ordinary memory: crypto/ed25519 keeps its expanded
// key there anyway for as long as this slice lives, and takes no address outside the Go heap. What
// guards it is that the process cannot be dumped (secret.Harden). The closure keeps it out of %v.
type logSigner struct {
	name string
	hash uint32
	sign func(message []byte) []byte
}

func (s *logSigner) Name() string                        { return s.name }
func (s *logSigner) KeyHash() uint32                     { return s.hash }
func (s *logSigner) Sign(message []byte) ([]byte, error) { return s.sign(message), nil }

func newLogKey(origin string, private ed25519.PrivateKey) (*LogKey, error) {
	if err := validOrigin(origin); err != nil {
		return nil, err
	}
	public, ok := private.Public().(ed25519.PublicKey)
	if !ok {
		return nil, errors.New("deriving public key")
	}
	vkey, err := note.NewEd25519VerifierKey(origin, public)
	if err != nil {
		return nil, fmt.Errorf("encoding verifier key: %w", err)
	}
	verifier, err := note.NewVerifier(vkey)
	if err != nil {
		return nil, fmt.Errorf("reading verifier key: %w", err)
	}
	sign := func(message []byte) []byte { return ed25519.Sign(private, message) }
	return &LogKey{
		Origin: origin, VerifierKey: vkey, Verifier: verifier,
		Signer: &logSigner{name: origin, hash: verifier.KeyHash(), sign: sign},
	}, nil
}

// GenerateLogKey makes an Ed25519 log key and writes it to a new file, mode 0600, as a note signer key.
// An existing file is never replaced.
func GenerateLogKey(path, origin string) (*LogKey, error) {
	_, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		return nil, fmt.Errorf("generating log key: %w", err)
	}
	key, err := newLogKey(origin, private)
	if err != nil {
		return nil, fmt.Errorf("generating log key: %w", err)
	}
	text := encodeLogKey(key, private)
	defer secret.Wipe(text)
	if err := writeNew(path, text, 0o600); err != nil {
		return nil, fmt.Errorf("writing log key: %w", err)
	}
	return key, nil
}

// encodeLogKey writes PRIVATE+KEY+<name>+<hash>+<base64 of type and seed> and a line end, without
// passing the seed through a string.
func encodeLogKey(key *LogKey, private ed25519.PrivateKey) []byte {
	raw := make([]byte, 0, 1+ed25519.SeedSize)
	raw = append(append(raw, algEd25519), private[:ed25519.SeedSize]...)
	defer secret.Wipe(raw)
	text := make([]byte, 0, maxLogKeyFile)
	text = append(text, logKeyPrefix...)
	text = append(text, key.Origin...)
	text = fmt.Appendf(text, "+%08x+", key.Verifier.KeyHash())
	text = base64.StdEncoding.AppendEncode(text, raw)
	return append(text, '\n')
}

// LoadLogKey reads a log key file. It refuses one that anybody but its owner may read or write, one
// that belongs to another user, and anything that is not a regular file: [ErrLogKey].
func LoadLogKey(path string) (*LogKey, error) {
	text, err := secret.ReadFile(path, maxLogKeyFile)
	if errors.Is(err, secret.ErrFile) {
		err = fmt.Errorf("%w: %w", ErrLogKey, err)
	}
	if err != nil {
		return nil, fmt.Errorf("loading log key %s: %w", path, err)
	}
	defer secret.Wipe(text)
	origin, hash, private, err := parseLogKey(text)
	if err != nil {
		return nil, fmt.Errorf("loading log key %s: %w: %w", path, ErrLogKey, err)
	}
	key, err := newLogKey(origin, private)
	if err != nil {
		return nil, fmt.Errorf("loading log key %s: %w: %w", path, ErrLogKey, err)
	}
	if key.Verifier.KeyHash() != hash {
		return nil, fmt.Errorf("loading log key %s: %w: key hash does not match the key", path, ErrLogKey)
	}
	return key, nil
}

func parseLogKey(text []byte) (origin string, hash uint32, private ed25519.PrivateKey, err error) {
	text, ended := bytes.CutSuffix(text, []byte("\n"))
	rest, prefixed := bytes.CutPrefix(text, []byte(logKeyPrefix))
	parts := bytes.SplitN(rest, []byte("+"), 3)
	// The base64 decoder skips line ends, so they are looked for here.
	if !ended || !prefixed || len(parts) != 3 || len(parts[1]) != 8 || bytes.ContainsAny(text, "\r\n") {
		return "", 0, nil, errors.New("not a note signer key on one line")
	}
	h, err := strconv.ParseUint(string(parts[1]), 16, 32)
	if err != nil {
		return "", 0, nil, errors.New("malformed key hash")
	}
	raw := make([]byte, base64.StdEncoding.DecodedLen(len(parts[2])))
	defer secret.Wipe(raw)
	n, err := base64.StdEncoding.Strict().Decode(raw, parts[2])
	if err != nil || n != 1+ed25519.SeedSize || raw[0] != algEd25519 {
		return "", 0, nil, errors.New("not an Ed25519 key in base64")
	}
	return string(parts[0]), uint32(h), ed25519.NewKeyFromSeed(raw[1:n]), nil
}
