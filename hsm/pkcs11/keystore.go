//go:build cgo

package pkcs11

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/miekg/pkcs11"
	"github.com/sony/gobreaker/v2"

	"conclave/hsm"
	"conclave/hsm/secret"
)

// Modules, Keystore and New are the driver; see absent.go for builds without cgo.

// Keystore is one token. It starts inactive.
type Keystore struct {
	cfg      Config
	token    *token
	can      hsm.Capabilities
	identity hsm.Device

	// making has room for one: a token in which two sessions make keys at once may not show one of them afterwards, until it
	// is opened anew (seen of SoftHSM 2.6).
	making chan struct{}

	mu       sync.Mutex
	verifier []byte             // of the present secret
	carry    []byte             // the secret before, sealed under the present one; empty for none
	active   *secret.Bytes      // the activation secret; nil while inactive
	staged   *staged            // the secret that is to follow, nil for none
	owed     *secret.Bytes      // whose PINs the token still has, while they are to be changed; nil for none
	hopeless bool               // that change was refused by the token and is not tried again
	past     [][]byte           // verifiers that were followed away from
	rejected []byte             // verifier of the secret whose PIN the token refused: never tried again
	handles  map[*held]struct{} // open, so that Deactivate and Destroy reach them
}

var (
	_ hsm.Rekeyer     = (*Keystore)(nil)
	_ hsm.Initialiser = (*Keystore)(nil)
)

// New returns the inactive keystore that cfg describes, or an error that names the bad field. Without capabilities in
// cfg the token is looked for and asked.
func New(cfg Config) (*Keystore, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	verifier, carry, err := splitVerifier(cfg.Verifier)
	if err != nil {
		return nil, err
	}
	k := &Keystore{cfg: cfg, token: newToken(cfg), making: make(chan struct{}, 1), verifier: verifier, carry: carry, can: cfg.Capabilities, identity: cfg.Token,
		handles: make(map[*held]struct{})}
	k.token.credentials, k.token.rejected = k.credentials, k.rejectedByToken
	if len(k.can.Specs) > 0 {
		return k, nil
	}
	if k.can, k.identity, err = k.discover(context.Background()); err != nil {
		return nil, fmt.Errorf("keystore %q: %w", cfg.ID, err)
	}
	k.cfg.Token.Serial, k.token.cfg.Token.Serial = k.identity.Serial, k.identity.Serial // from here on this one and no other
	return k, nil
}

// Facts implements hsm.Keystore. A token proves nothing about its validation: what is claimed, the governed record
// claims.
func (k *Keystore) Facts() hsm.Facts {
	i := k.identity
	return hsm.Facts{Driver: Driver, Module: fmt.Sprintf("%s %s, firmware %s", i.Manufacturer, i.Model, i.Firmware), Custody: hsm.CustodySelf,
		RNG: "generator of the token (" + i.Manufacturer + " " + i.Model + ")", Declared: true}
}

// Capabilities implements hsm.Keystore.
func (k *Keystore) Capabilities() hsm.Capabilities { return k.can }

// Device implements hsm.Initialiser.
func (k *Keystore) Device() hsm.Device { return k.identity }

// Stats are this keystore's counts.
func (k *Keystore) Stats() Stats {
	s := k.token.stats.read()
	s.Stuck, s.Sessions = int(k.token.stuck.Load()), k.cfg.Sessions
	s.Open = k.token.breaker.State() == gobreaker.StateOpen
	return s
}

// Format shows nothing but the name.
func (k *Keystore) Format(f fmt.State, _ rune) {
	_, _ = io.WriteString(f, "PKCS #11 keystore "+k.cfg.ID)
}

// Active implements hsm.Keystore. A token that is away for a while does not make its keystore inactive: its calls fail
// until it is back, and nobody has to bring shares.
func (k *Keystore) Active() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.active != nil
}

// credentials is what the token is logged in with: the secret whose PINs it has.
func (k *Keystore) credentials() (*secret.Bytes, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	switch {
	case k.active == nil:
		return nil, hsm.ErrInactive
	case k.owed != nil:
		return k.owed.Clone(), nil
	}
	return k.active.Clone(), nil
}

// rejectedByToken ends the activation: somebody changed the PIN behind our back. It is not tried a second time. A secret
// that is no longer the one to log in with was overtaken, not rejected.
func (k *Keystore) rejectedByToken(used *secret.Bytes) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	now := k.active
	if k.owed != nil {
		now = k.owed
	}
	if !used.Equal(now) {
		return false
	}
	k.token.log.Error("a token refuses its PIN, which others must have changed: the keystore is inactive", "keystore", k.cfg.ID)
	k.rejected = k.verifier
	k.end()
	return true
}

// Activate implements hsm.Keystore: it logs in. Whether the secret is right the verifier tells, so that a wrong one never
// reaches the token. A right one that the token refuses was tried once and is not tried again.
func (k *Keystore) Activate(ctx context.Context, activation *secret.Bytes) error {
	err := ctx.Err()
	if err == nil {
		err = k.admit(activation)
	}
	if err == nil && !k.Active() {
		err = k.reject(k.enter(ctx, activation, k.logIn))
	}
	if err != nil {
		return fmt.Errorf("activating keystore %q: %w", k.cfg.ID, err)
	}
	return nil
}

// admit returns hsm.ErrActivationSecret for a secret that is not the present one, or whose PIN the token refused before.
func (k *Keystore) admit(activation *secret.Bytes) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if err := commitment().Verify(activation, k.verifier); err != nil {
		return err
	}
	if bytes.Equal(k.rejected, k.verifier) {
		return fmt.Errorf("the token refused the PIN of this secret before, and is not asked again by this process: %w", hsm.ErrActivationSecret)
	}
	return nil
}

// enter makes the keystore active with what in opens: the link of a login with the PINs of the secret.
func (k *Keystore) enter(ctx context.Context, activation *secret.Bytes, in func(ctx context.Context, own *secret.Bytes) (link, error)) error {
	own := activation.Clone()
	err := k.token.alone(ctx, func(ctx context.Context) error {
		l, err := in(ctx, own)
		if err == nil {
			err = k.opened(ctx, l, own)
		}
		if err != nil {
			own.Wipe()
		}
		return err
	})
	return err
}

// reject remembers a secret whose PIN the token refused.
func (k *Keystore) reject(err error) error {
	if !errors.Is(err, errPIN) {
		return err
	}
	k.mu.Lock()
	k.rejected = bytes.Clone(k.verifier)
	k.mu.Unlock()
	return fmt.Errorf("%w, which others must have changed; it is not tried again: %w", err, hsm.ErrActivationSecret)
}

// opened makes a login the activation, unless nobody waits for it any more or somebody else was faster.
func (k *Keystore) opened(ctx context.Context, l link, own *secret.Bytes) error {
	err := ctx.Err()
	if err != nil {
		err = unavailable(err)
	} else {
		err = k.token.module.claim(l.serial, k)
	}
	if err != nil {
		_ = k.token.logout(context.Background(), l)
		return err
	}
	k.token.adopt(l)
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.active != nil {
		own.Wipe()
		return nil
	}
	k.active, k.rejected = own, nil
	return nil
}

// logIn logs in with a secret. A token that still has the PINs of the secret before, because a process ended before it
// had changed them, gets the new ones now.
func (k *Keystore) logIn(ctx context.Context, own *secret.Bytes) (link, error) {
	k.mu.Lock()
	carry := k.carry
	k.mu.Unlock()
	return k.token.establish(ctx, func(lib *pkcs11.Ctx, s pkcs11.SessionHandle, info pkcs11.TokenInfo) error {
		err := k.token.login(lib, s, info, own)
		if !errors.Is(err, errPIN) || len(carry) == 0 {
			return err
		}
		was, lost := before(own, carry)
		if lost != nil {
			return errors.Join(err, lost)
		}
		defer was.Wipe()
		k.token.log.Info("a token still has the PINs of the shares before: they are changed now", "keystore", k.cfg.ID)
		return repin(lib, s, was, own)
	})
}

// Deactivate implements hsm.Keystore. It is never refused: it restricts, so a cancelled context is no obstacle. The PIN
// is forgotten at once; logging out waits for calls in progress as long as a call may take.
func (k *Keystore) Deactivate(context.Context) error {
	k.mu.Lock()
	was := k.active != nil
	k.end()
	k.mu.Unlock()
	if was {
		k.token.shut()
		k.token.module.disclaim(k)
	}
	return nil
}

// end is the end of an activation for whoever holds the lock.
func (k *Keystore) end() {
	k.unstage()
	for _, s := range []*secret.Bytes{k.active, k.owed} {
		if s != nil {
			s.Wipe()
		}
	}
	k.active, k.owed = nil, nil
	for h := range k.handles {
		h.end(hsm.ErrInactive)
	}
	clear(k.handles)
}
