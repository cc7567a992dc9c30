package shamir

import (
	"bytes"
	"crypto/ed25519"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/binary"
	"fmt"

	"conclave/hsm/secret"
)

// Labels keep the uses of a share apart from each other and from everything else that is signed.
const (
	commitmentLabel = "conclave share commitment v1"
	challengeLabel  = "conclave share challenge v1"
	moveLabel       = "conclave share move v1"
)

// Bounds of a challenge in bytes.
const (
	minChallenge = 16
	maxChallenge = 64 << 10
)

func integrityTag(b []byte) []byte {
	sum := sha256.Sum256(b)
	return sum[:tagBytes]
}

// binding is the unambiguous encoding of label, set, epoch and index.
func binding(label string, set Set, index int) []byte {
	b := append([]byte(label), 0, byte(len(set.ID)))
	b = append(b, set.ID...)
	b = binary.BigEndian.AppendUint32(b, set.Epoch)
	return append(b, byte(index))
}

// withKey derives the share's Ed25519 key: seed = HKDF-SHA-256 (RFC 5869, NIST SP 800-56C) of the share
// value, no salt, info binding set, epoch and index; so the same bytes under another name are another key.
func (s *Share) withKey(f func(key ed25519.PrivateKey) error) error {
	return s.value.Use(func(value []byte) error {
		seed, err := hkdf.Key(sha256.New, value, nil, string(binding(commitmentLabel, s.set, s.index)), ed25519.SeedSize)
		if err != nil {
			return fmt.Errorf("deriving commitment key: %w", err)
		}
		defer secret.Wipe(seed)
		key := ed25519.NewKeyFromSeed(seed)
		defer secret.Wipe(key)
		return f(key)
	})
}

// Commitment is the public key (32 bytes, Ed25519) that names this share without revealing it.
func (s *Share) Commitment() ([]byte, error) {
	var commitment []byte
	err := s.withKey(func(key ed25519.PrivateKey) error {
		commitment = bytes.Clone(key.Public().(ed25519.PublicKey))
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("commitment of %s: %w", s, err)
	}
	return commitment, nil
}

// Sign proves possession: it signs the challenge, bound to set, epoch and index, with the share's key.
// The share itself goes nowhere.
func (s *Share) Sign(challenge []byte) ([]byte, error) {
	if err := checkChallenge(challenge); err != nil {
		return nil, err
	}
	var signature []byte
	err := s.withKey(func(key ed25519.PrivateKey) error {
		signature = ed25519.Sign(key, challengeMessage(s.set, s.index, challenge))
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("signing with %s: %w", s, err)
	}
	return signature, nil
}

// VerifyChallenge checks what Share.Sign made against the register's commitment. ErrWrongShare says that
// whoever signed does not hold this share.
func VerifyChallenge(commitment []byte, set Set, index int, challenge, signature []byte) error {
	if err := checkChallenge(challenge); err != nil {
		return err
	}
	if err := checkCommitment(commitment); err != nil {
		return err
	}
	if index < 1 || index > MaxTotal {
		return fmt.Errorf("%w: index %d, allowed are 1 to %d", ErrBinding, index, MaxTotal)
	}
	if err := set.check(); err != nil {
		return err
	}
	if len(signature) != ed25519.SignatureSize || !ed25519.Verify(commitment, challengeMessage(set, index, challenge), signature) {
		return fmt.Errorf("%w: signature does not fit the commitment of share %d of %s", ErrWrongShare, index, set)
	}
	return nil
}

// SignMove proves possession over a sealing of this share to other keys: it signs the digest of the new sealed share
// and the id of the key that the register has for its holder until then. So only who has the share can have it sealed
// anew, and a proof is of no use once the key has changed.
func (s *Share) SignMove(fromKeyID, sealed string) ([]byte, error) {
	var signature []byte
	err := s.withKey(func(key ed25519.PrivateKey) error {
		signature = ed25519.Sign(key, moveMessage(s.set, s.index, fromKeyID, sealed))
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("signing a move with %s: %w", s, err)
	}
	return signature, nil
}

// VerifyMove checks what Share.SignMove made against the register's commitment: ErrWrongShare for whoever does not
// hold the share, and for another key or sealing than was signed.
func VerifyMove(commitment []byte, set Set, index int, fromKeyID, sealed string, signature []byte) error {
	if err := checkCommitment(commitment); err != nil {
		return err
	}
	if index < 1 || index > MaxTotal {
		return fmt.Errorf("%w: index %d, allowed are 1 to %d", ErrBinding, index, MaxTotal)
	}
	if err := set.check(); err != nil {
		return err
	}
	if len(signature) != ed25519.SignatureSize || !ed25519.Verify(commitment, moveMessage(set, index, fromKeyID, sealed), signature) {
		return fmt.Errorf("%w: signature does not fit the commitment of share %d of %s", ErrWrongShare, index, set)
	}
	return nil
}

func moveMessage(set Set, index int, fromKeyID, sealed string) []byte {
	digest := sha256.Sum256([]byte(sealed))
	b := binary.BigEndian.AppendUint16(binding(moveLabel, set, index), uint16(len(fromKeyID)))
	return append(append(b, fromKeyID...), digest[:]...)
}

func challengeMessage(set Set, index int, challenge []byte) []byte {
	return append(binding(challengeLabel, set, index), challenge...)
}

func checkChallenge(challenge []byte) error {
	if len(challenge) < minChallenge || len(challenge) > maxChallenge {
		return fmt.Errorf("challenge of %d bytes: allowed are %d to %d", len(challenge), minChallenge, maxChallenge)
	}
	return nil
}

func checkCommitment(commitment []byte) error {
	if len(commitment) != ed25519.PublicKeySize {
		return fmt.Errorf("commitment of %d bytes: must be %d", len(commitment), ed25519.PublicKeySize)
	}
	return nil
}
