//go:build cgo

package pkcs11

import (
	"context"
	"fmt"
	"strings"

	"github.com/miekg/pkcs11"

	"conclave/hsm"
)

var _ hsm.Eraser = (*Keystore)(nil)

// Erase implements hsm.Eraser: C_InitToken by the security officer's PIN, which follows from the activation secret. It
// destroys every object, and the user's PIN with them.
func (k *Keystore) Erase(ctx context.Context) error {
	fail := func(err error) error { return fmt.Errorf("erasing the token of keystore %q: %w", k.cfg.ID, err) }
	own, err := k.credentials()
	if err != nil {
		return fail(err)
	}
	err = k.token.alone(ctx, func(ctx context.Context) error {
		defer own.Wipe() // what runs may outlast this call
		lib, _, err := k.token.module.enter(ctx)
		if err != nil {
			return err
		}
		defer k.token.module.leave()
		slot, info, err := k.token.find(lib)
		if err != nil {
			return err
		}
		_ = lib.CloseAllSessions(slot)
		return loginWith(own, soPINLabel, func(pin string) error { return lib.InitToken(slot, pin, strings.TrimSpace(info.Label)) })
	})
	if err != nil {
		return fail(err)
	}
	return k.Deactivate(ctx)
}

// Erased implements hsm.Eraser: a token that has no user's PIN has no objects that anybody could use, since setting one
// takes its security officer, and erasing it is what takes one away.
func (k *Keystore) Erased(ctx context.Context) (bool, error) {
	within, cancel := context.WithTimeout(ctx, k.token.cfg.Deadline)
	defer cancel()
	erased := make(chan bool, 1)
	err := k.token.patient(within, ctx, func(ctx context.Context) error {
		lib, _, err := k.token.module.enter(ctx)
		if err != nil {
			return err
		}
		defer k.token.module.leave()
		_, info, err := k.token.find(lib)
		if err == nil {
			erased <- info.Flags&pkcs11.CKF_USER_PIN_INITIALIZED == 0
		}
		return err
	})
	if err != nil {
		return false, fmt.Errorf("looking whether the token of keystore %q is erased: %w", k.cfg.ID, err)
	}
	return <-erased, nil
}
