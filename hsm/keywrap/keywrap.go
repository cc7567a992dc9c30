// Package keywrap is how a key travels into a keystore: CKM_RSA_AES_KEY_WRAP, see hsm.ImportWrapped. It is the same on
// the machine that prepares a key, which knows no keystore, and in the software keystore.
package keywrap

import (
	"fmt"

	"github.com/tink-crypto/tink-go/v2/kwp/subtle"

	"conclave/hsm"
	"conclave/hsm/keypair"
	"conclave/hsm/secret"
)

const (
	// ephemeralBytes is the length of the AES key between the pair and the key.
	ephemeralBytes = 32
	// overhead of AES-KWP: the integrity block; the key is padded to whole blocks of blockBytes.
	overhead, blockBytes = 8, 8
	// leastKey and mostKey bound what is wrapped, in bytes: AES-128, and more than an encoded RSA-4096 private half.
	leastKey, mostKey = subtle.MinWrapSize, 4096
)

// Pairs are the specifications of wrapping pairs, the preferred one first: 4,096 bits give 152 bits of strength
// (SP 800-56B), 3,072 give 128.
func Pairs() []hsm.Spec { return []hsm.Spec{hsm.RSAOAEP4096, hsm.RSAOAEP3072} }

// Length is how long a key of so many bytes is when it is wrapped for a pair.
func Length(pair hsm.Spec, key int) int {
	return pair.ModulusBits()/8 + overhead + (key+blockBytes-1)/blockBytes*blockBytes
}

// CheckLength refuses what can not be a key wrapped for a pair, by its length alone: hsm.ErrUnwrap.
func CheckLength(pair hsm.Spec, wrapped []byte) error {
	n := len(wrapped) - pair.ModulusBits()/8 - overhead
	if n < leastKey || n > mostKey || n%blockBytes != 0 {
		return fmt.Errorf("%d bytes, not the %d of the wrapped AES key and %d or more, in blocks of %d, of the key: %w",
			len(wrapped), pair.ModulusBits()/8, leastKey+overhead, blockBytes, hsm.ErrUnwrap)
	}
	return nil
}

// Wrap wraps a key (the bytes of a symmetric one, or PKCS #8) for the public half of a wrapping pair.
func Wrap(pair hsm.Spec, public []byte, key *secret.Bytes) ([]byte, error) {
	if n := key.Len(); n < leastKey || n > mostKey {
		return nil, fmt.Errorf("key: %d bytes, allowed are %d to %d: %w", n, leastKey, mostKey, hsm.ErrInvalid)
	}
	to, err := keypair.ParsePublic(pair, public)
	if err != nil {
		return nil, fmt.Errorf("wrapping a key: %w", err)
	}
	ephemeral := secret.Random(ephemeralBytes)
	defer ephemeral.Wipe()
	var out []byte
	err = ephemeral.Use(func(e []byte) error {
		if out, err = to.Encrypt(e, nil); err != nil {
			return err
		}
		return key.Use(func(k []byte) error {
			wrapped, err := pad(e, k)
			out = append(out, wrapped...)
			return err
		})
	})
	if err != nil {
		return nil, fmt.Errorf("wrapping a key: %w", err)
	}
	return out, nil
}

func pad(ephemeral, key []byte) ([]byte, error) {
	cipher, err := subtle.NewKWP(ephemeral)
	if err != nil {
		return nil, err
	}
	return cipher.Wrap(key)
}

// Unwrap opens a wrapped key with the private half. Whatever is wrong with it is hsm.ErrUnwrap, always the same:
// which of the two layers it was is told to nobody.
func Unwrap(pair hsm.Spec, private *keypair.Private, wrapped []byte) (*secret.Bytes, error) {
	if err := CheckLength(pair, wrapped); err != nil {
		return nil, err
	}
	modulus := pair.ModulusBits() / 8
	ephemeral, err := private.Decrypt(nil, wrapped[:modulus], nil)
	if err != nil {
		return nil, hsm.ErrUnwrap
	}
	defer secret.Wipe(ephemeral)
	if len(ephemeral) != ephemeralBytes {
		return nil, hsm.ErrUnwrap
	}
	cipher, err := subtle.NewKWP(ephemeral)
	if err != nil {
		return nil, hsm.ErrUnwrap
	}
	key, err := cipher.Unwrap(wrapped[modulus:])
	if err != nil {
		return nil, hsm.ErrUnwrap
	}
	return secret.New(key), nil
}
