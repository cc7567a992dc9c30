package soft

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"

	"conclave/hsm"
	"conclave/hsm/activate"
	"conclave/hsm/secret"
)

// staged is a secret that is to follow the present one.
type staged struct {
	verifier []byte
	wrapping *secret.Bytes
	secret   *secret.Bytes // nil where the keystore keeps none
}

// wrappingBytes is how much of the verifier's digest names a wrapping key: a name that tells a handful of secrets of
// one keystore apart, not a proof; the blob itself authenticates.
const wrappingBytes = 8

// wrappingID names the wrapping key that comes from the secret of a verifier.
func wrappingID(verifier []byte) string {
	sum := sha256.Sum256(verifier)
	return hex.EncodeToString(sum[:wrappingBytes])
}

// NewActivation implements hsm.Rekeyer.
func (*Keystore) NewActivation() (*secret.Bytes, []byte, error) { return NewActivation() }

// CheckActivation implements hsm.Rekeyer.
func (k *Keystore) CheckActivation(activation *secret.Bytes) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if err := commitment().Verify(activation, k.verifier); err != nil {
		return fmt.Errorf("checking the activation secret of keystore %q: %w", k.id, err)
	}
	return nil
}

// Stage implements hsm.Rekeyer.
func (k *Keystore) Stage(ctx context.Context, activation *secret.Bytes, verifier []byte) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("staging a secret for keystore %q: %w", k.id, err)
	}
	if err := commitment().Verify(activation, verifier); err != nil {
		return nil, fmt.Errorf("staging a secret for keystore %q: %w", k.id, err)
	}
	wrapping, err := activate.Derive(activation, wrappingLabel)
	if err != nil {
		return nil, fmt.Errorf("staging a secret for keystore %q: %w", k.id, err)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.wrapping == nil {
		wrapping.Wipe()
		return nil, fmt.Errorf("staging a secret for keystore %q: %w", k.id, hsm.ErrInactive)
	}
	k.unstage()
	k.staged = &staged{verifier: bytes.Clone(verifier), wrapping: wrapping, secret: k.kept(activation)}
	return bytes.Clone(verifier), nil
}

// Rewrap implements hsm.Rekeyer. What it returns was opened again and has the check value that it had.
func (k *Keystore) Rewrap(ctx context.Context, m hsm.Material) (hsm.Material, error) {
	fail := func(err error) (hsm.Material, error) {
		return hsm.Material{}, fmt.Errorf("wrapping key %q version %d anew: %w", m.Key, m.Version, err)
	}
	if err := ctx.Err(); err != nil {
		return fail(err)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	switch {
	case k.wrapping == nil:
		return fail(hsm.ErrInactive)
	case k.staged == nil:
		return fail(fmt.Errorf("no secret is staged: %w", hsm.ErrUnsupported))
	}
	versionKey, err := k.unwrapAny(m)
	if err != nil {
		return fail(err)
	}
	defer versionKey.Wipe()
	next := m
	next.Wrapping = wrappingID(k.staged.verifier)
	if next.Blob, err = wrap(k.staged.wrapping, k.id, next, versionKey); err != nil {
		return fail(err)
	}
	again, err := unwrap(k.staged.wrapping, k.id, next) // holds the check value against the blob
	if err != nil {
		return fail(err)
	}
	again.Wipe()
	return next, nil
}

// Unstage implements hsm.Rekeyer.
func (k *Keystore) Unstage() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.unstage()
}

func (k *Keystore) unstage() {
	if k.staged != nil {
		k.staged.wrapping.Wipe()
		k.staged.secret.Wipe()
		k.staged = nil
	}
}

// Follow implements hsm.Rekeyer.
func (k *Keystore) Follow(verifier []byte) {
	k.mu.Lock()
	defer k.mu.Unlock()
	known := bytes.Equal(verifier, k.verifier)
	for _, p := range k.past {
		known = known || bytes.Equal(verifier, p)
	}
	if known || activate.CheckForm(verifier) != nil {
		return
	}
	if next := k.staged; next != nil && bytes.Equal(next.verifier, verifier) {
		k.wrapping.Wipe()
		k.secret.Wipe()
		k.wrapping, k.secret, k.staged = next.wrapping, next.secret, nil
	} else {
		k.deactivate()
	}
	k.past, k.verifier = append(k.past, k.verifier), bytes.Clone(verifier)
}

// Wraps implements hsm.Rekeyer.
func (*Keystore) Wraps(m hsm.Material, verifier []byte) bool {
	return m.Wrapping == wrappingID(verifier)
}

// unwrapAny opens a blob with the secret that it names, or with the present one where it names none. The caller
// holds the lock, and the keystore is active.
func (k *Keystore) unwrapAny(m hsm.Material) (*secret.Bytes, error) {
	switch {
	case m.Wrapping == "" || m.Wrapping == wrappingID(k.verifier):
		return unwrap(k.wrapping, k.id, m)
	case k.staged != nil && m.Wrapping == wrappingID(k.staged.verifier):
		return unwrap(k.staged.wrapping, k.id, m)
	}
	return nil, fmt.Errorf("it is wrapped under another activation secret than this keystore was given: %w", hsm.ErrInactive)
}
