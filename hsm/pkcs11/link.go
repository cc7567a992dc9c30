//go:build cgo

package pkcs11

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/miekg/pkcs11"

	"conclave/hsm"
	"conclave/hsm/secret"
)

var (
	// errPIN: the token refuses the PIN.
	errPIN = errors.New("the token refuses the PIN")
	// errNoToken: no token fits.
	errNoToken = errors.New("no such token")
)

// mostNamed bounds the tokens that an error names instead of the one that was looked for.
const mostNamed = 8

// linked is the link, looked for where it is down, once for everybody who waits.
func (t *token) linked(ctx context.Context) (link, error) {
	for {
		t.mu.Lock()
		if t.link.up {
			defer t.mu.Unlock()
			return t.link, nil
		}
		f := t.flight
		if f == nil || time.Since(f.since) > t.cfg.Deadline {
			if f != nil {
				t.stuck.Add(1)
			}
			f = &flight{since: time.Now(), over: make(chan struct{})}
			t.flight = f
			go t.search(f)
		}
		t.mu.Unlock()
		select {
		case <-f.over:
			if f.err != nil {
				return link{}, f.err
			}
		case <-ctx.Done():
			return link{}, unavailable(ctx.Err())
		}
	}
}

// search looks for the token and logs in with what the keystore was activated with.
func (t *token) search(f *flight) {
	ctx, cancel := context.WithTimeout(context.Background(), t.cfg.Deadline)
	defer cancel()
	activation, err := t.credentials()
	var l link
	if err == nil {
		l, err = t.establish(ctx, func(lib *pkcs11.Ctx, s pkcs11.SessionHandle, info pkcs11.TokenInfo) error {
			return t.login(lib, s, info, activation)
		})
		defer activation.Wipe()
	}
	t.mu.Lock()
	given := t.flight != f // others have begun anew: this one took too long
	t.mu.Unlock()
	switch {
	case given:
	case err == nil:
		t.adopt(l)
	case errors.Is(err, errPIN) && t.rejected(activation):
		err = fmt.Errorf("%w: %w", hsm.ErrInactive, err)
	}
	t.mu.Lock()
	if t.flight == f {
		t.flight = nil
	} else {
		t.stuck.Add(-1) // whoever began anew has counted it
	}
	t.mu.Unlock()
	f.err = translate(err)
	close(f.over)
}

// establish finds the token and opens the session in which login logs in. A token that is not there, or that is in no
// state to log in to, may be seen once the module is initialised anew.
func (t *token) establish(ctx context.Context, login func(*pkcs11.Ctx, pkcs11.SessionHandle, pkcs11.TokenInfo) error) (link, error) {
	for again := false; ; again = true {
		lib, epoch, err := t.module.enter(ctx)
		if err != nil {
			return link{}, err
		}
		l, err := t.attempt(lib, login)
		t.module.leave()
		if err == nil {
			l.up, l.epoch = true, epoch
			t.module.found()
			t.stats.logins.Add(1)
			return l, nil
		}
		if again || !(linkGone(err) || errors.Is(err, errNoToken)) {
			return link{}, err
		}
		if missing := t.module.missing(ctx, epoch); missing != nil {
			return link{}, unavailable(errors.Join(err, missing))
		}
		t.stats.restarts.Add(1)
	}
}

func (t *token) attempt(lib *pkcs11.Ctx, login func(*pkcs11.Ctx, pkcs11.SessionHandle, pkcs11.TokenInfo) error) (link, error) {
	slot, info, err := t.find(lib)
	if err != nil {
		return link{}, err
	}
	s, err := lib.OpenSession(slot, sessionFlags)
	if err != nil {
		return link{}, err
	}
	if err := login(lib, s, info); err != nil {
		_ = lib.CloseSession(s)
		return link{}, err
	}
	return link{slot: slot, serial: strings.TrimSpace(info.SerialNumber), keeper: s}, nil
}

// find looks for the one token that the configuration names.
func (t *token) find(lib *pkcs11.Ctx) (slot uint, info pkcs11.TokenInfo, err error) {
	slots, err := lib.GetSlotList(true)
	if err != nil {
		return 0, info, err
	}
	fitting := 0
	var others []string
	for _, s := range slots {
		i, err := lib.GetTokenInfo(s)
		if err != nil || !t.fits(i) { // an empty or broken one is not the one that is looked for
			if err == nil && i.Flags&pkcs11.CKF_TOKEN_INITIALIZED != 0 && len(others) < mostNamed {
				others = append(others, fmt.Sprintf("%q (%s)", strings.TrimSpace(i.Label), strings.TrimSpace(i.SerialNumber)))
			}
			continue
		}
		fitting++
		slot, info = s, i
	}
	switch {
	case fitting == 0:
		there := "no token is there"
		if len(others) > 0 {
			there = "there are " + strings.Join(others, ", ")
		}
		return 0, info, fmt.Errorf("%s: %w; %s: %w", t.cfg.Token, errNoToken, there, hsm.ErrUnavailable)
	case fitting > 1:
		return 0, info, fmt.Errorf("%s: %d tokens fit; name the serial number of one: %w", t.cfg.Token, fitting, hsm.ErrInvalid)
	}
	return slot, info, nil
}

func (t *token) fits(i pkcs11.TokenInfo) bool {
	want := t.cfg.Token
	return i.Flags&pkcs11.CKF_TOKEN_INITIALIZED != 0 &&
		(want.Label == "" || strings.TrimSpace(i.Label) == want.Label) &&
		(want.Serial == "" || strings.TrimSpace(i.SerialNumber) == want.Serial)
}

// login logs the user in. A PIN that others locked by trying is set anew by the security officer, whose PIN is derived
// from the same activation secret.
func (t *token) login(lib *pkcs11.Ctx, s pkcs11.SessionHandle, info pkcs11.TokenInfo, activation *secret.Bytes) error {
	if info.Flags&pkcs11.CKF_USER_PIN_INITIALIZED == 0 {
		return fmt.Errorf("the token has no user PIN yet: it must be initialised (keystore.initialise): %w", hsm.ErrInvalid)
	}
	err := pkcs11.Error(pkcs11.CKR_PIN_LOCKED)
	if info.Flags&(pkcs11.CKF_USER_PIN_LOCKED|pkcs11.CKF_USER_PIN_FINAL_TRY) == 0 {
		err2 := loginAs(lib, s, pkcs11.CKU_USER, userPINLabel, activation)
		if !is(err2, pkcs11.CKR_PIN_LOCKED) {
			return err2
		}
	}
	if info.Flags&(pkcs11.CKF_SO_PIN_LOCKED|pkcs11.CKF_SO_PIN_FINAL_TRY) != 0 {
		return err
	}
	t.log.Warn("a token's user PIN was locked by wrong tries; its security officer sets it again", "keystore", t.cfg.ID)
	if so := loginAs(lib, s, pkcs11.CKU_SO, soPINLabel, activation); so != nil {
		return errors.Join(err, so)
	}
	set := withPIN(activation, userPINLabel, func(pin string) error { return lib.InitPIN(s, pin) })
	_ = lib.Logout(s)
	if set != nil {
		return errors.Join(err, set)
	}
	return loginAs(lib, s, pkcs11.CKU_USER, userPINLabel, activation)
}

// loginAs logs in with one of the PINs that an activation secret gives: errPIN where the token refuses it.
func loginAs(lib *pkcs11.Ctx, s pkcs11.SessionHandle, user uint, label string, activation *secret.Bytes) error {
	return loginWith(activation, label, func(pin string) error { return lib.Login(s, user, pin) })
}

func loginWith(activation *secret.Bytes, label string, login func(pin string) error) error {
	err := withPIN(activation, label, login)
	switch {
	case is(err, pkcs11.CKR_USER_ALREADY_LOGGED_IN):
		return nil
	case is(err, pkcs11.CKR_PIN_INCORRECT, pkcs11.CKR_PIN_INVALID, pkcs11.CKR_PIN_LEN_RANGE, pkcs11.CKR_PIN_EXPIRED):
		return fmt.Errorf("%w: %w", errPIN, err)
	}
	return err
}

// withPIN gives use a PIN as the string that the binding asks for. The string is the secret's own memory and must not be
// kept; the binding makes a copy of its own in C, which it frees without wiping it.
func withPIN(activation *secret.Bytes, label string, use func(pin string) error) error {
	p, err := pin(activation, label)
	if err != nil {
		return err
	}
	defer p.Wipe()
	return p.Use(func(b []byte) error { return use(text(b)) })
}

// alone does something while no call is in a session of the token, and leaves all sessions to be opened anew. It is
// bounded like a call; the context that do gets ends with the caller's patience.
func (t *token) alone(ctx context.Context, do func(ctx context.Context) error) error {
	within, cancel := context.WithTimeout(ctx, t.cfg.Deadline)
	defer cancel()
	select {
	case t.single <- struct{}{}:
		defer func() { <-t.single }()
	case <-within.Done():
		return late(ctx, "waiting for the token")
	}
	var taken []*session
	defer func() {
		for _, s := range taken {
			t.free <- s
		}
	}()
	for range t.cfg.Sessions {
		select {
		case s := <-t.free:
			taken = append(taken, s)
		case <-within.Done():
			return late(ctx, "waiting for calls to end")
		}
	}
	return t.patient(within, ctx, do)
}

// patient runs do and waits for it as long as within lasts.
func (t *token) patient(within, ctx context.Context, do func(ctx context.Context) error) error {
	results := make(chan error, 1)
	go func() {
		results <- do(within) // ends with the caller's patience: whatever comes later sees that
	}()
	select {
	case err := <-results:
		return translate(err)
	case <-within.Done():
	}
	t.stuck.Add(1)
	t.stats.abandoned.Add(1)
	go func() {
		<-results
		t.stuck.Add(-1)
	}()
	return late(ctx, "waiting for the token")
}

// adopt makes a link the one that calls go through, and closes the session that kept the one before open.
func (t *token) adopt(l link) {
	t.mu.Lock()
	was := t.link
	l.generation = was.generation + 1
	t.link = l
	t.mu.Unlock()
	lib, epoch, err := t.module.enter(context.Background())
	if err != nil {
		return
	}
	defer t.module.leave()
	if was.epoch == epoch && was.keeper != l.keeper {
		_ = lib.CloseSession(was.keeper)
	}
}

// shut logs out and closes every session. Calls that are in the module have until the deadline to end; then they are cut
// off. The link is taken down first, so that nothing new begins.
func (t *token) shut() {
	t.mu.Lock()
	l := t.link
	t.link.up = false
	t.mu.Unlock()
	if l.epoch == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), t.cfg.Deadline)
	defer cancel()
	closing := func(ctx context.Context) error { return t.logout(ctx, l) }
	err := t.alone(ctx, closing)
	if err != nil { // calls take too long to end: close over their heads
		again, cancel := context.WithTimeout(context.Background(), t.cfg.Deadline)
		defer cancel()
		err = t.patient(again, again, closing)
	}
	if err != nil {
		t.log.Warn("a token could not be logged out of; its PIN is forgotten all the same", "keystore", t.cfg.ID, "error", err)
	}
}

func (t *token) logout(ctx context.Context, l link) error {
	lib, epoch, err := t.module.enter(ctx)
	if err != nil {
		return err
	}
	defer t.module.leave()
	if epoch != l.epoch {
		return nil // ended with the initialisation before
	}
	err = lib.Logout(l.keeper)
	if all := lib.CloseAllSessions(l.slot); all != nil && err != nil && !is(err, pkcs11.CKR_USER_NOT_LOGGED_IN) {
		return errors.Join(err, all)
	}
	return nil
}
