//go:build cgo

package pkcs11

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/miekg/pkcs11"

	"conclave/hsm"
	"conclave/hsm/secret"
)

// staged is a secret that is to follow the present one.
type staged struct {
	verifier []byte
	carry    []byte
	secret   *secret.Bytes
}

// NewActivation implements hsm.Rekeyer.
func (*Keystore) NewActivation() (*secret.Bytes, []byte, error) { return NewActivation() }

// CheckActivation implements hsm.Rekeyer.
func (k *Keystore) CheckActivation(activation *secret.Bytes) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if err := commitment().Verify(activation, k.verifier); err != nil {
		return fmt.Errorf("checking the activation secret of keystore %q: %w", k.cfg.ID, err)
	}
	return nil
}

// Stage implements hsm.Rekeyer. Nothing changes in the token until the record has changed: it follows the record.
func (k *Keystore) Stage(ctx context.Context, activation *secret.Bytes, verifier []byte) ([]byte, error) {
	fail := func(err error) ([]byte, error) {
		return nil, fmt.Errorf("staging a secret for keystore %q: %w", k.cfg.ID, err)
	}
	if err := ctx.Err(); err != nil {
		return fail(err)
	}
	if err := commitment().Verify(activation, verifier); err != nil {
		return fail(err)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	switch {
	case k.active == nil:
		return fail(hsm.ErrInactive)
	case k.owed != nil: // the chain of what finishes a replacement has one link
		return fail(fmt.Errorf("the token's PINs are still to be changed to those of the secret before: %w", hsm.ErrUnavailable))
	}
	carry, err := carryOf(k.active, activation)
	if err != nil {
		return fail(err)
	}
	k.unstage()
	k.staged = &staged{verifier: bytes.Clone(verifier), carry: carry, secret: activation.Clone()}
	return append(bytes.Clone(verifier), carry...), nil
}

// Rewrap implements hsm.Rekeyer: there is nothing to wrap, since keys are in the token.
func (k *Keystore) Rewrap(context.Context, hsm.Material) (hsm.Material, error) {
	return hsm.Material{}, fmt.Errorf("keystore %q holds its keys: %w", k.cfg.ID, hsm.ErrUnsupported)
}

// Wraps implements hsm.Rekeyer: no material is under another secret.
func (*Keystore) Wraps(hsm.Material, []byte) bool { return true }

// Unstage implements hsm.Rekeyer.
func (k *Keystore) Unstage() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.unstage()
}

func (k *Keystore) unstage() {
	if k.staged != nil {
		k.staged.secret.Wipe()
		k.staged = nil
	}
}

// Follow implements hsm.Rekeyer. Going over to a staged secret changes the token's PINs, for which the security officer
// logs in and calls wait. What can not be done now is done when Follow is called again, or at the next activation.
func (k *Keystore) Follow(recorded []byte) {
	verifier, carry, err := splitVerifier(recorded)
	if err != nil {
		return
	}
	k.mu.Lock()
	over := k.follow(verifier, carry)
	owed := k.owed != nil && !k.hopeless
	k.mu.Unlock()
	if over {
		k.token.shut()
		k.token.module.disclaim(k)
	}
	if owed {
		k.settle()
	}
}

// follow is Follow for whoever holds the lock. over: an activation came to its end.
func (k *Keystore) follow(verifier, carry []byte) (over bool) {
	known := bytes.Equal(verifier, k.verifier)
	for _, p := range k.past {
		known = known || bytes.Equal(verifier, p)
	}
	if known {
		return false
	}
	if next := k.staged; next != nil && bytes.Equal(next.verifier, verifier) {
		k.owed, k.active, k.carry, k.staged, k.hopeless = k.active, next.secret, next.carry, nil, false
	} else {
		over = k.active != nil
		k.end()
		k.carry = carry
	}
	k.past, k.verifier = append(k.past, k.verifier), verifier
	return over
}

// settle changes the token's PINs to those of the present secret.
func (k *Keystore) settle() {
	err := k.token.alone(context.Background(), func(ctx context.Context) error {
		k.mu.Lock()
		if k.owed == nil || k.active == nil {
			k.mu.Unlock()
			return nil
		}
		was, now := k.owed.Clone(), k.active.Clone()
		k.mu.Unlock()
		defer was.Wipe()
		defer now.Wipe()
		l, err := k.token.establish(ctx, func(lib *pkcs11.Ctx, s pkcs11.SessionHandle, _ pkcs11.TokenInfo) error {
			return repin(lib, s, was, now)
		})
		if err != nil {
			return err
		}
		k.token.adopt(l)
		k.mu.Lock()
		defer k.mu.Unlock()
		if k.owed != nil && k.owed.Equal(was) {
			k.owed.Wipe()
			k.owed = nil
		}
		return nil
	})
	if err == nil {
		return
	}
	k.mu.Lock()
	k.hopeless = errors.Is(err, errPIN) // each PIN was tried once
	k.mu.Unlock()
	k.token.log.Error("a token's PINs could not be changed to those of the new shares", "keystore", k.cfg.ID, "again", !errors.Is(err, errPIN), "error", err)
}

// repin changes a token's PINs from those of one secret to those of the next, and leaves the user logged in. The user's
// PIN is the last: where it is the new one, everything is done. What was done before by a process that ended shows in
// that the token refuses the old PIN and takes the new one; each is tried once.
func repin(lib *pkcs11.Ctx, s pkcs11.SessionHandle, was, now *secret.Bytes) error {
	_ = lib.Logout(s) // nobody may be logged in
	err := loginAs(lib, s, pkcs11.CKU_SO, soPINLabel, was)
	switch {
	case err == nil:
		err = setPIN(lib, s, soPINLabel, was, now)
	case errors.Is(err, errPIN):
		err = loginAs(lib, s, pkcs11.CKU_SO, soPINLabel, now)
	}
	_ = lib.Logout(s)
	if err != nil {
		return fmt.Errorf("changing the security officer's PIN: %w", err)
	}
	err = loginAs(lib, s, pkcs11.CKU_USER, userPINLabel, was)
	if errors.Is(err, errPIN) {
		return loginAs(lib, s, pkcs11.CKU_USER, userPINLabel, now)
	}
	if err == nil {
		err = setPIN(lib, s, userPINLabel, was, now)
	}
	if err != nil {
		return fmt.Errorf("changing the user's PIN: %w", err)
	}
	return nil
}

func setPIN(lib *pkcs11.Ctx, s pkcs11.SessionHandle, label string, was, now *secret.Bytes) error {
	return withPIN(was, label, func(old string) error {
		return withPIN(now, label, func(next string) error { return lib.SetPIN(s, old, next) })
	})
}
