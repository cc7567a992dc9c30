// Package card is a share as its holder keeps it on paper: bytes that fit on a card, and the same as text that
// people can type, in which every line carries its own check. A card holds the share as it is, so that only the bag
// protects it, or encrypted under a passphrase of its own. It is made and read on the holder's machine; no server
// takes part. The format is written down in docs/statement-format.md, section 6.
package card

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"conclave/ceremony/keyfile"
	"conclave/ceremony/shamir"
	"conclave/hsm/secret"
)

// Protection of a card under a passphrase. Iterations of PBKDF2-HMAC-SHA-512: OWASP's Password Storage Cheat Sheet
// asks for 210,000 or more; a card can be copied and guessed at for years, so it gets more (ours). A card that asks
// for more than maxIterations is refused before any is spent.
const (
	iterations      = 600_000
	leastIterations = 210_000
	maxIterations   = 4_000_000
	saltBytes       = 16 // NIST SP 800-132 section 5.1: 128 bits or more
	keyBytes        = 32
)

// Errors of cards.
var (
	ErrDamaged    = errors.New("not a whole card")
	ErrPassphrase = errors.New("the card does not open with this passphrase")
)

// Card is a share on paper. Wipe it.
type Card struct {
	set     shamir.Set
	index   int
	sealed  *sealing      // nil: the share as it is
	content *secret.Bytes // all of the card
}

// sealing is what opens a protected card, besides the passphrase.
type sealing struct {
	iterations int
	salt       []byte
	bound      []byte // all before the ciphertext, authenticated with it
	ciphertext []byte // nonce, encrypted share, tag
}

// New puts a share on a card: encrypted under the passphrase, or as it is where there is none. development lifts the
// rule on the passphrase's length.
func New(share *shamir.Share, passphrase *secret.Bytes, development bool) (*Card, error) {
	encoded, err := share.Encode()
	if err != nil {
		return nil, err
	}
	if passphrase == nil {
		return &Card{set: share.Set(), index: share.Index(), content: encoded}, nil
	}
	defer encoded.Wipe()
	if err := keyfile.CheckPassphrase(passphrase, development); err != nil {
		return nil, err
	}
	content, err := protect(share, encoded, passphrase)
	if err != nil {
		return nil, fmt.Errorf("protecting %s: %w", share, err)
	}
	return parse(content)
}

// The encoding of a protected card:
//
//	"cvsp" | version 1 | len(set id) | set id | epoch uint32 | index uint8 | iterations uint32 | salt[16] |
//	len(sealed) uint16 | sealed | tag
//
// sealed is AES-256-GCM (random nonce of 12 bytes first, tag of 16 last) of the encoded share, with all before it as
// additional data. The key is PBKDF2-HMAC-SHA-512 of the passphrase. Integers are big-endian; tag is the first four
// bytes of SHA-256 over all before it, so that a slip of the pen is told from a wrong passphrase. A card without a
// passphrase is the encoded share itself ("cvsh", package shamir).
const (
	magicSealed = "cvsp"
	magicPlain  = "cvsh"
	version     = 1
	tagBytes    = 4
)

func protect(share *shamir.Share, encoded, passphrase *secret.Bytes) (*secret.Bytes, error) {
	salt := make([]byte, saltBytes)
	rand.Read(salt) // never fails: crypto/rand ends the process instead
	set := share.Set()
	b := append([]byte(magicSealed), version, byte(len(set.ID)))
	b = append(b, set.ID...)
	b = binary.BigEndian.AppendUint32(b, set.Epoch)
	b = append(b, byte(share.Index()))
	b = binary.BigEndian.AppendUint32(b, iterations)
	b = append(b, salt...)
	aead, err := derive(passphrase, salt, iterations)
	if err != nil {
		return nil, err
	}
	b = binary.BigEndian.AppendUint16(b, uint16(encoded.Len()+aead.Overhead()))
	err = encoded.Use(func(plain []byte) error {
		b = append(b, aead.Seal(nil, nil, plain, b)...)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return secret.New(append(b, tag(b)...)), nil
}

func derive(passphrase *secret.Bytes, salt []byte, iterations int) (aead cipher.AEAD, err error) {
	err = passphrase.Use(func(phrase []byte) error {
		key, err := pbkdf2.Key(sha512.New, string(phrase), salt, iterations, keyBytes)
		if err != nil {
			return err
		}
		defer secret.Wipe(key)
		block, err := aes.NewCipher(key)
		if err != nil {
			return err
		}
		aead, err = cipher.NewGCMWithRandomNonce(block)
		return err
	})
	return aead, err
}

func tag(b []byte) []byte {
	sum := sha256.Sum256(b)
	return sum[:tagBytes]
}

// size is how many bytes a card has, as far as its beginning tells; 0 while it does not yet.
func size(b []byte) (int, error) {
	if len(b) < 6 {
		return 0, nil
	}
	magic, set := string(b[:4]), int(b[5])
	var at int // where the length of the last member stands
	switch {
	case magic == magicPlain && b[4] == version:
		at = 6 + set + 4 + 1
	case magic == magicSealed && b[4] == version:
		at = 6 + set + 4 + 1 + 4 + saltBytes
	case magic == magicPlain || magic == magicSealed:
		return 0, fmt.Errorf("%w: format version %d, this program reads %d", ErrDamaged, b[4], version)
	default:
		return 0, fmt.Errorf("%w: this is no share card", ErrDamaged)
	}
	if set < 1 || set > shamir.MaxSetID {
		return 0, fmt.Errorf("%w: set id of %d characters", ErrDamaged, set)
	}
	if len(b) < at+2 {
		return 0, nil
	}
	n := at + 2 + int(binary.BigEndian.Uint16(b[at:])) + tagBytes
	if n > maxContent {
		return 0, fmt.Errorf("%w: %d bytes announced, at most %d are allowed", ErrDamaged, n, maxContent)
	}
	return n, nil
}

// maxContent bounds a card: the largest share (1,110 bytes) with its protection takes less.
const maxContent = 1280

// parse takes over the content of a card and reads its outside.
func parse(content *secret.Bytes) (*Card, error) {
	c := &Card{content: content}
	err := content.Use(func(b []byte) error {
		n, err := size(b)
		if err != nil {
			return err
		}
		if n == 0 || n != len(b) {
			return fmt.Errorf("%w: %d bytes", ErrDamaged, len(b))
		}
		if string(tag(b[:n-tagBytes])) != string(b[n-tagBytes:]) {
			return fmt.Errorf("%w: its check does not fit, although that of each line does; were lines of two cards mixed?", ErrDamaged)
		}
		id := int(b[5])
		c.set.ID = string(b[6 : 6+id])
		rest := b[6+id:]
		c.set.Epoch, c.index = binary.BigEndian.Uint32(rest), int(rest[4])
		if string(b[:4]) == magicPlain {
			return nil
		}
		rest = rest[5:]
		c.sealed = &sealing{iterations: int(binary.BigEndian.Uint32(rest)), salt: clone(rest[4 : 4+saltBytes]),
			bound: clone(b[:6+id+5+4+saltBytes+2]), ciphertext: clone(b[6+id+5+4+saltBytes+2 : n-tagBytes])}
		if i := c.sealed.iterations; i < leastIterations || i > maxIterations {
			return fmt.Errorf("%w: %d iterations, allowed are %d to %d", ErrDamaged, i, leastIterations, maxIterations)
		}
		return nil
	})
	if err != nil {
		content.Wipe()
		return nil, err
	}
	return c, nil
}

func clone(b []byte) []byte { return append([]byte(nil), b...) }

// Set and Index are what the card says it belongs to.
func (c *Card) Set() shamir.Set { return c.set }

// Index is the share's number in the register, from 1.
func (c *Card) Index() int { return c.index }

// Protected reports whether the share on it is encrypted under a passphrase.
func (c *Card) Protected() bool { return c.sealed != nil }

// Wipe overwrites the card.
func (c *Card) Wipe() { c.content.Wipe() }

// String names the card and keeps what is on it secret.
func (c *Card) String() string { return fmt.Sprintf("card of share %d of %s", c.index, c.set) }

// Open takes the share off the card. passphrase is used by a protected card only. ErrPassphrase: it is another. The
// share is the caller's to wipe; whether it is the one that the register knows is for shamir.CheckShare.
func (c *Card) Open(passphrase *secret.Bytes) (*shamir.Share, error) {
	if c.sealed == nil {
		return shamir.ParseShare(c.content)
	}
	if passphrase == nil {
		return nil, fmt.Errorf("%w: none was given, and the card has one", ErrPassphrase)
	}
	aead, err := derive(passphrase, c.sealed.salt, c.sealed.iterations)
	if err != nil {
		return nil, fmt.Errorf("opening %s: %w", c, err)
	}
	plain, err := aead.Open(nil, nil, c.sealed.ciphertext, c.sealed.bound)
	if err != nil {
		return nil, ErrPassphrase
	}
	encoded := secret.New(plain)
	defer encoded.Wipe()
	share, err := shamir.ParseShare(encoded)
	if err != nil {
		return nil, err
	}
	if share.Set() != c.set || share.Index() != c.index {
		share.Wipe()
		return nil, fmt.Errorf("%w: outside it says share %d of %s, inside is another", ErrDamaged, c.index, c.set)
	}
	return share, nil
}

// Fingerprint is what a card shows of its share's commitment, to be compared with the register: the first 80 bits of
// its SHA-256, in groups.
func Fingerprint(commitment []byte) string {
	sum := sha256.Sum256(commitment)
	text := hex.EncodeToString(sum[:10])
	var groups []string
	for ; text != ""; text = text[4:] {
		groups = append(groups, text[:4])
	}
	return strings.Join(groups, " ")
}
