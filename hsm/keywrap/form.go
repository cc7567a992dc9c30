package keywrap

import (
	"bytes"
	"crypto/subtle"
	"fmt"

	"conclave/hsm"
	"conclave/hsm/checkvalue"
	"conclave/hsm/keypair"
	"conclave/hsm/secret"
)

// aesBytes is the length of an AES-256 key.
const aesBytes = 32

// KeyBytes is the one length of a symmetric key, 0 for pairs, whose encoding has several.
func KeyBytes(spec hsm.Spec) int {
	switch spec.Kind() {
	case hsm.Seals:
		return aesBytes
	case hsm.MACs:
		return spec.Hashes()[0].Size()
	}
	return 0
}

// Take checks that bytes brought from outside are a key of a specification, hsm.ErrKeyForm where not, and returns
// them in the form in which keystores hold them, with the public half of a pair. Bytes that are all the same are no
// key: they are what an empty field or a test gives. key stays the caller's to wipe.
func Take(spec hsm.Spec, key *secret.Bytes) (own *secret.Bytes, public []byte, err error) {
	err = key.Use(func(k []byte) error {
		if n := KeyBytes(spec); n > 0 {
			if len(k) != n {
				return fmt.Errorf("%d bytes, a key of specification %s has %d: %w", len(k), spec, n, hsm.ErrKeyForm)
			}
			if uniform(k) {
				return fmt.Errorf("every byte is the same: %w", hsm.ErrKeyForm)
			}
			own = key.Clone()
			return nil
		}
		own, public, err = keypair.Adopt(spec, k)
		return err
	})
	if err != nil {
		return nil, nil, err
	}
	return own, public, nil
}

// uniform reports whether all bytes are the same, in time that depends on their number only.
func uniform(b []byte) bool {
	var differs byte
	for i := range b {
		differs |= b[i] ^ b[0]
	}
	return subtle.ConstantTimeByteEq(differs, 0) == 1
}

// Combine checks components and puts them together: hsm.ErrComponent names the one that is wrong, by its number from
// 1. Who calls is inside the boundary: the result is the key.
func Combine(spec hsm.Spec, components []*secret.Bytes) (*secret.Bytes, error) {
	if err := CheckComponents(spec, components); err != nil {
		return nil, err
	}
	whole := secret.New(make([]byte, KeyBytes(spec)))
	for i, c := range components {
		err := whole.Use(func(w []byte) error {
			return c.Use(func(b []byte) error { subtle.XORBytes(w, w, b); return nil })
		})
		if err != nil {
			whole.Wipe()
			return nil, fmt.Errorf("component %d: %w", i+1, err)
		}
	}
	defer whole.Wipe()
	own, _, err := Take(spec, whole)
	return own, err
}

// CheckComponents checks components, each alone and against the others, without putting them together.
func CheckComponents(spec hsm.Spec, components []*secret.Bytes) error {
	if n := len(components); n < hsm.LeastComponents || n > hsm.MostComponents {
		return fmt.Errorf("components: %d, allowed are %d to %d: %w", n, hsm.LeastComponents, hsm.MostComponents, hsm.ErrInvalid)
	}
	for i, c := range components {
		if err := CheckComponent(spec, c); err != nil {
			return fmt.Errorf("component %d: %w", i+1, err)
		}
		for j, other := range components[:i] {
			if c.Equal(other) {
				return fmt.Errorf("component %d is the same as component %d: %w", i+1, j+1, hsm.ErrComponent)
			}
		}
	}
	return nil
}

// CheckUniform is Take's refusal of bytes that are all the same, for a key that is known by its check value alone:
// hsm.ErrKeyForm. Of other keys it refuses one in four thousand million.
func CheckUniform(spec hsm.Spec, value string) error {
	for b := range 256 {
		uniform := secret.New(bytes.Repeat([]byte{byte(b)}, KeyBytes(spec)))
		of, err := checkvalue.Of(spec, uniform)
		uniform.Wipe()
		if err != nil {
			return err
		}
		if of == value {
			return fmt.Errorf("every byte is the same: %w", hsm.ErrKeyForm)
		}
	}
	return nil
}

// CheckComponent refuses what can be no component of a key: another length than the key, or zeros only, which adds
// nothing. The error wraps hsm.ErrComponent.
func CheckComponent(spec hsm.Spec, component *secret.Bytes) error {
	n := KeyBytes(spec)
	if n == 0 {
		return fmt.Errorf("a key of specification %s does not come in components: %w", spec, hsm.ErrUnsupported)
	}
	return component.Use(func(b []byte) error {
		switch {
		case len(b) != n:
			return fmt.Errorf("%d bytes, it is as long as the key, %d bytes: %w", len(b), n, hsm.ErrComponent)
		case uniform(b) && b[0] == 0:
			return fmt.Errorf("it is all zeros, which would leave the key to the others: %w", hsm.ErrComponent)
		}
		return nil
	})
}
