// Package checkvalue computes and compares check values: a few bytes that tell a key, or a component of one, from
// any other without giving it away. They are shown, read aloud and written on forms.
package checkvalue

import (
	"crypto/aes"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/subtle"
	"encoding/hex"
	"fmt"
	"hash"
	"strings"

	"conclave/hsm"
	"conclave/hsm/keypair"
	"conclave/hsm/secret"
)

const (
	// Bytes is the length of a check value: the leftmost 5 bytes of the CMAC, as ANSI X9.24-1 has it for AES keys, and
	// the same of what stands for it with other keys.
	Bytes = 5
	// leastBytes is the shortest one that is compared (ours): 3 bytes, which is what older forms print.
	leastBytes = 3
)

// Of is the check value that hsm.Material describes, in upper-case hexadecimal: for AES the CMAC (SP 800-38B) of one
// block of zeros, for HMAC the MAC of a label, for pairs the hash of the public half. The value of the encrypted block
// of zeros, which goes with TDEA, is not one for AES (ANSI X9.24-1).
func Of(spec hsm.Spec, key *secret.Bytes) (string, error) {
	var value string
	err := key.Use(func(k []byte) (err error) {
		value, err = of(spec, k)
		return err
	})
	if err != nil {
		return "", fmt.Errorf("computing the check value: %w", err)
	}
	return value, nil
}

func of(spec hsm.Spec, key []byte) (string, error) {
	var full []byte
	switch spec.Kind() {
	case hsm.Seals:
		tag, err := cmac(key, make([]byte, aes.BlockSize))
		if err != nil {
			return "", err
		}
		full = tag[:]
	case hsm.MACs:
		mac := hmac.New(function(spec.Hashes()[0]), key)
		mac.Write([]byte(hsm.CheckLabel))
		full = mac.Sum(nil)
	default:
		private, err := keypair.ParsePrivate(spec, key)
		if err != nil {
			return "", err
		}
		public, err := private.Public()
		if err != nil {
			return "", err
		}
		return keypair.CheckValue(public), nil
	}
	return strings.ToUpper(hex.EncodeToString(full[:Bytes])), nil
}

func function(h hsm.Hash) func() hash.Hash {
	switch h {
	case hsm.SHA384:
		return sha512.New384
	case hsm.SHA512:
		return sha512.New
	}
	return sha256.New
}

// Parse reads a check value as people write it: 3 to 5 bytes in hexadecimal, in any case, spaces between groups. An
// error wraps hsm.ErrInvalid.
func Parse(text string) (string, error) {
	value := strings.ToUpper(strings.Join(strings.Fields(text), ""))
	b, err := hex.DecodeString(value)
	if err != nil || len(b) < leastBytes || len(b) > Bytes {
		return "", fmt.Errorf("check value: not %d to %d bytes in hexadecimal: %w", leastBytes, Bytes, hsm.ErrInvalid)
	}
	return value, nil
}

// Match reports whether a check value given by people, as Parse returns it, is that of a key: equal, or its beginning.
func Match(computed, given string) bool {
	if len(given) < 2*leastBytes || len(given) > len(computed) {
		return false
	}
	return subtle.ConstantTimeCompare([]byte(computed[:len(given)]), []byte(given)) == 1
}
