package operation

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"conclave/custodian/people"
)

// ChallengeLife is how long a challenge can be answered.
const ChallengeLife = 5 * time.Minute

const (
	challengeKeySize = 32
	nonceSize        = 16
	challengeSize    = 8 + nonceSize + sha256.Size
)

// ErrChallenge: the challenge is not one that this instance gave to this holder, or its time is over.
var ErrChallenge = errors.New("challenge is not valid")

// Challenger gives and recognises the challenges that prove possession of a share. It keeps no state: a
// challenge carries its time and is authenticated, so that any replica recognises it.
type Challenger struct{ key []byte }

// NewChallenger takes 32 bytes that all replicas of an instance share.
func NewChallenger(key []byte) (*Challenger, error) {
	if len(key) != challengeKeySize {
		return nil, fmt.Errorf("challenge key has %d bytes, allowed is %d", len(key), challengeKeySize)
	}
	return &Challenger{key: append([]byte(nil), key...)}, nil
}

// New makes a challenge for the holder of one share.
func (c *Challenger) New(person, set string, epoch uint32, index int, now time.Time) []byte {
	out := binary.BigEndian.AppendUint64(make([]byte, 0, challengeSize), uint64(now.Add(ChallengeLife).UnixMilli()))
	var nonce [nonceSize]byte
	rand.Read(nonce[:])
	out = append(out, nonce[:]...)
	return append(out, c.mac(out, person, set, epoch, index)...)
}

// Check tells whether a challenge was given to this holder for this share and is still in time.
func (c *Challenger) Check(challenge []byte, person, set string, epoch uint32, index int, now time.Time) error {
	if len(challenge) != challengeSize {
		return fmt.Errorf("%w: %d bytes, allowed are %d", ErrChallenge, len(challenge), challengeSize)
	}
	head, mac := challenge[:8+nonceSize], challenge[8+nonceSize:]
	if !hmac.Equal(mac, c.mac(head, person, set, epoch, index)) {
		return fmt.Errorf("%w: not given for this share and holder", ErrChallenge)
	}
	end := time.UnixMilli(int64(binary.BigEndian.Uint64(head)))
	if !now.Before(end) || end.Sub(now) > ChallengeLife {
		return fmt.Errorf("%w: its time is over; ask for a new one", ErrChallenge)
	}
	return nil
}

func (c *Challenger) mac(head []byte, person, set string, epoch uint32, index int) []byte {
	m := hmac.New(sha256.New, c.key)
	m.Write([]byte("conclave share challenge\x00"))
	m.Write(head)
	fmt.Fprintf(m, "%d:%s %s", len(person), person, people.ShareID(set, epoch, index))
	return m.Sum(nil)
}
