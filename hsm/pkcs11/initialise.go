//go:build cgo

package pkcs11

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"unsafe"

	"github.com/miekg/pkcs11"

	"conclave/hsm"
	"conclave/hsm/secret"
)

// maxSOPIN bounds the file with the security officer's first PIN, in bytes.
const maxSOPIN = 256

// Initialise implements hsm.Initialiser. The maker's tools have given the token a label and a first PIN for its security
// officer, which the file of the configuration holds. Afterwards the token is empty, and both its PINs are those of the
// activation secret: whoever set the first one has no way in any more.
func (k *Keystore) Initialise(ctx context.Context, activation *secret.Bytes) error {
	fail := func(err error) error { return fmt.Errorf("initialising the token of keystore %q: %w", k.cfg.ID, err) }
	k.mu.Lock()
	err := commitment().Verify(activation, k.verifier)
	k.mu.Unlock()
	if err != nil {
		return fail(err)
	}
	if k.Active() {
		return fail(fmt.Errorf("it is in use: %w", hsm.ErrInvalid))
	}
	first, err := k.firstPIN()
	if err != nil {
		return fail(err)
	}
	defer first.Wipe()
	mine := first.Clone() // what runs may outlast this call
	err = k.enter(ctx, activation, func(ctx context.Context, own *secret.Bytes) (link, error) {
		defer mine.Wipe()
		return k.takeOver(ctx, own, mine)
	})
	if errors.Is(err, errPIN) {
		err = fmt.Errorf("its security officer has another PIN than the one in pkcs11.so_pin_file, and than the one of these shares; each was tried once: %w: %w",
			err, hsm.ErrInvalid)
	}
	if err != nil {
		return fail(err)
	}
	return nil
}

// CheckInitialise implements hsm.Initialiser.
func (k *Keystore) CheckInitialise(ctx context.Context) error {
	fail := func(err error) error { return fmt.Errorf("token of keystore %q: %w", k.cfg.ID, err) }
	first, err := k.firstPIN()
	if err != nil {
		return fail(err)
	}
	first.Wipe()
	if _, _, err := k.discover(ctx); err != nil {
		return fail(err)
	}
	return nil
}

// firstPIN reads the file: one line.
func (k *Keystore) firstPIN() (*secret.Bytes, error) {
	if k.cfg.SOPINFile == "" {
		return nil, fmt.Errorf("pkcs11.so_pin_file: nothing, allowed is a file with the first PIN of the token's security officer: %w", hsm.ErrInvalid)
	}
	data, err := secret.ReadFile(k.cfg.SOPINFile, maxSOPIN)
	if err != nil {
		return nil, fmt.Errorf("pkcs11.so_pin_file: %w", err)
	}
	defer secret.Wipe(data)
	line := bytes.TrimRight(data, "\r\n")
	if len(line) == 0 || bytes.ContainsAny(line, "\r\n\x00") {
		return nil, fmt.Errorf("pkcs11.so_pin_file: not one line: %w", hsm.ErrInvalid)
	}
	return secret.New(bytes.Clone(line)), nil
}

// takeOver erases the token and gives it its PINs. Cut short at any point it finds, the next time, a token whose security
// officer has either the first PIN or the one of the secret; each is tried once.
func (k *Keystore) takeOver(ctx context.Context, own, first *secret.Bytes) (link, error) {
	lib, epoch, err := k.token.module.enter(ctx)
	if err != nil {
		return link{}, err
	}
	defer k.token.module.leave()
	slot, info, err := k.token.find(lib)
	if err != nil {
		return link{}, err
	}
	if err := k.token.module.claim(strings.TrimSpace(info.SerialNumber), k); err != nil {
		return link{}, err
	}
	_ = lib.CloseAllSessions(slot)
	label := strings.TrimSpace(info.Label)
	erase := func(pin string) error { return lib.InitToken(slot, pin, label) }
	fresh := true
	if err = loginRaw(first, erase); errors.Is(err, errPIN) {
		fresh, err = false, loginWith(own, soPINLabel, erase)
	}
	if err != nil {
		return link{}, fmt.Errorf("erasing it by its security officer's PIN: %w", err)
	}
	s, err := lib.OpenSession(slot, sessionFlags)
	if err != nil {
		return link{}, err
	}
	if err = k.setPINs(lib, s, own, first, fresh); err == nil {
		err = loginAs(lib, s, pkcs11.CKU_USER, userPINLabel, own)
	}
	if err != nil {
		_ = lib.CloseSession(s)
		return link{}, err
	}
	return link{up: true, epoch: epoch, slot: slot, serial: strings.TrimSpace(info.SerialNumber), keeper: s}, nil
}

// setPINs is the security officer's part: the user's PIN, then their own, and out.
func (k *Keystore) setPINs(lib *pkcs11.Ctx, s pkcs11.SessionHandle, own, first *secret.Bytes, fresh bool) error {
	login := func(pin string) error { return lib.Login(s, pkcs11.CKU_SO, pin) }
	var err error
	if fresh {
		err = loginRaw(first, login)
	} else {
		err = loginWith(own, soPINLabel, login)
	}
	if err != nil {
		return err
	}
	defer func() { _ = lib.Logout(s) }()
	if err := withPIN(own, userPINLabel, func(pin string) error { return lib.InitPIN(s, pin) }); err != nil {
		return fmt.Errorf("setting the user's PIN: %w", err)
	}
	if !fresh {
		return nil
	}
	err = withPIN(own, soPINLabel, func(next string) error {
		return first.Use(func(b []byte) error { return lib.SetPIN(s, text(b), next) })
	})
	if err != nil {
		return fmt.Errorf("changing the security officer's PIN: %w", err)
	}
	return nil
}

// loginRaw is loginWith for a PIN as it is.
func loginRaw(pin *secret.Bytes, login func(pin string) error) error {
	err := pin.Use(func(b []byte) error { return login(text(b)) })
	if is(err, pkcs11.CKR_PIN_INCORRECT, pkcs11.CKR_PIN_INVALID, pkcs11.CKR_PIN_LEN_RANGE) {
		return fmt.Errorf("%w: %w", errPIN, err)
	}
	return err
}

// text is secret bytes as the string that the binding asks for: the same memory, not to be kept.
func text(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }
