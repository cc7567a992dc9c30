// Package shamir splits an activation secret into shares and puts it together again. The scheme is
// Shamir's over GF(2^8) (ISO/IEC 19592-2), computed by github.com/hashicorp/vault/shamir with
// polynomials from the approved DRBG (crypto/rand). That library authenticates nothing; here every share
// is bound to its set, epoch and index by a commitment, a public key derived from the share, so that a
// wrong share is named at once and a drill proves possession without any share travelling.
//
// Formats are written down in docs/statement-format.md.
package shamir

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"

	"conclave/hsm/secret"
)

// Bounds. A secret under 128 bits could be guessed from the public commitments (NIST SP 800-57 part 1,
// section 5.6.1: 112 bits is the least acceptable strength); wrap short ones, such as a PIN, under a
// random key and split that.
const (
	MinSecret = 16   // bytes
	MaxSecret = 1024 // bytes
	MaxSetID  = 64   // bytes
	MaxTotal  = 255  // shares: the field has 255 non-zero points
)

// Scheme and Module are what the custody register states about how shares are made.
const (
	Scheme = "ISO/IEC 19592-2 Shamir GF(256)"
	Module = "github.com/hashicorp/vault/shamir v1.14.8"
)

// Reasons why a share is refused. Each costs the ceremony nothing: bring the right share.
var (
	ErrWrongShare = errors.New("wrong share")                     // bytes do not fit the commitment
	ErrForeignSet = errors.New("share of another set")            //
	ErrStaleEpoch = errors.New("share of an earlier epoch")       // retired by a re-issue
	ErrNotIssued  = errors.New("share that was never issued")     // unknown index or a later epoch
	ErrRepeated   = errors.New("share already given")             //
	ErrDamaged    = errors.New("damaged share")                   // not decodable
	ErrTooFew     = errors.New("too few shares")                  //
	ErrSize       = errors.New("secret length not allowed")       //
	ErrThreshold  = errors.New("threshold or total not allowed")  //
	ErrBinding    = errors.New("set, epoch or index not allowed") //
)

// Set is what a share is bound to.
type Set struct {
	ID    string // share set: 1 to 64 of [a-z0-9._-], beginning with a letter or digit
	Epoch uint32 // from 1
}

func (s Set) String() string { return fmt.Sprintf("%s epoch %d", s.ID, s.Epoch) }

func (s Set) check() error {
	bad := func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < '0' || r > '9') && !strings.ContainsRune("._-", r)
	}
	if s.ID == "" || len(s.ID) > MaxSetID || strings.ContainsFunc(s.ID, bad) || strings.ContainsRune("._-", rune(s.ID[0])) {
		return fmt.Errorf("%w: set id: allowed are 1 to %d of a-z 0-9 . _ - beginning with a letter or digit", ErrBinding, MaxSetID)
	}
	if s.Epoch == 0 {
		return fmt.Errorf("%w: epoch: 0, epochs begin at 1", ErrBinding)
	}
	return nil
}

// Share is one share in the clear, for the moments in which it is made, given or used.
type Share struct {
	set   Set
	index int
	value *secret.Bytes // y coordinates, then the x coordinate: one byte more than the secret
}

// Set is what the share says it belongs to; CheckShare tells whether that is true.
func (s *Share) Set() Set { return s.set }

// Index is the share's number in the register, from 1.
func (s *Share) Index() int { return s.index }

// Wipe overwrites the share.
func (s *Share) Wipe() { s.value.Wipe() }

// String names the share and keeps it secret.
func (s *Share) String() string { return fmt.Sprintf("share %d of %s", s.index, s.set) }

// The encoding of a share:
//
//	"cvsh" | version 1 | len(set id) | set id | epoch uint32 | index uint8 | len(value) uint16 | value | tag
//
// Integers are big-endian; the tag is the first four bytes of SHA-256 over all before it and finds damage
// by accident, as of a copy; damage on purpose is found by the commitment.
const (
	magic         = "cvsh"
	formatVersion = 1
	tagBytes      = 4
	fixedBytes    = len(magic) + 1 + 1 + 4 + 1 + 2 + tagBytes
)

// maxEncoded bounds an encoded share.
const maxEncoded = fixedBytes + MaxSetID + MaxSecret + 1

// Encode returns the share's bytes, ready to be sealed.
func (s *Share) Encode() (*secret.Bytes, error) {
	buf := make([]byte, 0, fixedBytes+len(s.set.ID)+s.value.Len())
	buf = append(buf, magic...)
	buf = append(buf, formatVersion, byte(len(s.set.ID)))
	buf = append(buf, s.set.ID...)
	buf = binary.BigEndian.AppendUint32(buf, s.set.Epoch)
	buf = append(buf, byte(s.index))
	buf = binary.BigEndian.AppendUint16(buf, uint16(s.value.Len()))
	err := s.value.Use(func(value []byte) error {
		buf = append(buf, value...)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("encoding %s: %w", s, err)
	}
	return secret.New(append(buf, integrityTag(buf)...)), nil
}

// ParseShare reads an encoded share. The encoded bytes stay the caller's to wipe.
func ParseShare(encoded *secret.Bytes) (*Share, error) {
	var share *Share
	err := encoded.Use(func(b []byte) error {
		var err error
		share, err = parse(b)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("reading share: %w", err)
	}
	return share, nil
}

func parse(b []byte) (*Share, error) {
	if len(b) > maxEncoded || len(b) < fixedBytes+1+MinSecret+1 {
		return nil, fmt.Errorf("%w: %d bytes", ErrDamaged, len(b))
	}
	if string(b[:len(magic)]) != magic {
		return nil, fmt.Errorf("%w: not a share", ErrDamaged)
	}
	body, tag := b[:len(b)-tagBytes], b[len(b)-tagBytes:]
	if string(integrityTag(body)) != string(tag) {
		return nil, fmt.Errorf("%w: integrity tag does not match", ErrDamaged)
	}
	body = body[len(magic):]
	if body[0] != formatVersion {
		return nil, fmt.Errorf("%w: format version %d, this build reads %d", ErrDamaged, body[0], formatVersion)
	}
	idLen := int(body[1])
	body = body[2:]
	if len(body) < idLen+7 {
		return nil, fmt.Errorf("%w: set id longer than the share", ErrDamaged)
	}
	s := &Share{set: Set{ID: string(body[:idLen])}}
	body = body[idLen:]
	s.set.Epoch = binary.BigEndian.Uint32(body)
	s.index = int(body[4])
	valueLen := int(binary.BigEndian.Uint16(body[5:]))
	body = body[7:]
	if valueLen != len(body) || valueLen < MinSecret+1 || valueLen > MaxSecret+1 {
		return nil, fmt.Errorf("%w: value of %d bytes announced, %d present", ErrDamaged, valueLen, len(body))
	}
	if err := s.set.check(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	if s.index == 0 || body[valueLen-1] == 0 {
		return nil, fmt.Errorf("%w: index or coordinate is 0", ErrDamaged)
	}
	s.value = secret.New(append([]byte(nil), body...))
	return s, nil
}
