//go:build cgo

package pkcs11

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/miekg/pkcs11"
	"github.com/sony/gobreaker/v2"

	"conclave/hsm"
	"conclave/hsm/secret"
)

const (
	// sessionFlags: read-write throughout, since a security officer can not log in while there are read-only ones.
	sessionFlags = pkcs11.CKF_SERIAL_SESSION | pkcs11.CKF_RW_SESSION
	// attempts of one call, each after what was lost was looked for anew.
	attempts = 4
	// Circuit breaker (ours): so many calls in a row that found the token unavailable, and nobody waits for it for so
	// long; then one call tries.
	breakerFailures = 5
	breakerPause    = time.Second
	// stuckPerSession bounds the calls that hang in the module, as a multiple of the sessions: each costs a thread.
	stuckPerSession = 2
)

// link is what was found out about where the token is. Slots change; nobody names them.
type link struct {
	up         bool
	generation uint64 // counts logins: sessions and handles of objects are good for one
	epoch      uint64 // of the module
	slot       uint
	serial     string
	keeper     pkcs11.SessionHandle // stays open: with the last session of a token its login ends
}

// session is one place among the calls that a token takes at once. What it holds is used by one goroutine at a time.
type session struct {
	handle     pkcs11.SessionHandle
	open       bool
	generation uint64 // of the link that it belongs to
	epoch      uint64 // of the module
	slot       uint
	lib        *pkcs11.Ctx // during a call
}

// token does calls in sessions of one token: it bounds them in number and time, gives up on those that hang, and finds
// the token again when it was lost.
type token struct {
	cfg     Config
	log     *slog.Logger
	module  *module
	free    chan *session // places that nobody uses
	single  chan struct{} // held by whoever wants all places
	stuck   atomic.Int64  // calls that were given up and have not come back
	breaker *gobreaker.TwoStepCircuitBreaker[struct{}]
	stats   counters

	// credentials returns what logs in now, for the caller to wipe; hsm.ErrInactive for nothing.
	credentials func() (*secret.Bytes, error)
	// rejected is told that the token does not take the PIN of a secret any more. It reports whether that ends the
	// activation: not where the secret has been replaced since.
	rejected func(*secret.Bytes) bool

	mu     sync.Mutex
	link   link
	flight *flight // the search under way, nil for none
}

// flight is one search for the token, which everybody who needs it waits for.
type flight struct {
	since time.Time
	over  chan struct{}
	err   error // set before over is closed
}

func newToken(cfg Config) *token {
	t := &token{cfg: cfg, log: cfg.Logger, module: cfg.Modules.at(cfg.Module), free: make(chan *session, cfg.Sessions),
		single: make(chan struct{}, 1)}
	if t.log == nil {
		t.log = slog.New(slog.DiscardHandler)
	}
	if t.cfg.Deadline == 0 {
		t.cfg.Deadline = hsm.Deadline
	}
	for range cfg.Sessions {
		t.free <- &session{}
	}
	t.breaker = gobreaker.NewTwoStepCircuitBreaker[struct{}](gobreaker.Settings{Name: cfg.ID, Timeout: breakerPause,
		ReadyToTrip:  func(c gobreaker.Counts) bool { return c.ConsecutiveFailures >= breakerFailures },
		IsSuccessful: func(err error) bool { return !errors.Is(err, hsm.ErrUnavailable) },
		OnStateChange: func(_ string, from, to gobreaker.State) {
			t.log.Warn("circuit breaker of a token", "keystore", cfg.ID, "from", from.String(), "to", to.String())
		}})
	return t
}

// call runs do in a session of the token, again where the session or the token was lost. do may be running still when
// call has returned, so it owns what it reads and writes; discard gets what comes too late, and after runs when do will
// not run again. Its errors are a module's return values, or what callers decide by.
func call[T any](ctx context.Context, t *token, deadline time.Duration, do func(s *session) (T, error), discard func(T), after func()) (T, error) {
	var none T
	done, err := t.breaker.Allow()
	if err != nil {
		t.stats.refused.Add(1)
		over(after)
		return none, fmt.Errorf("the token failed too often just now: %w", unavailable(err))
	}
	begun := time.Now()
	out, err := bounded(ctx, t, deadline, do, discard, after)
	err = translate(err)
	t.stats.note(time.Since(begun), err)
	done(err)
	return out, err
}

// bounded is call without its breaker.
func bounded[T any](ctx context.Context, t *token, deadline time.Duration, do func(s *session) (T, error), discard func(T), after func()) (T, error) {
	var none T
	within, cancel := context.WithTimeout(ctx, deadline)
	defer cancel()
	if t.stuck.Load() >= int64(stuckPerSession*t.cfg.Sessions) {
		over(after)
		return none, fmt.Errorf("%d calls hang in the module: %w", t.stuck.Load(), hsm.ErrUnavailable)
	}
	var s *session
	select {
	case s = <-t.free:
	case <-within.Done():
		over(after)
		return none, late(ctx, "waiting for a session")
	}
	type result struct {
		out T
		err error
	}
	results := make(chan result, 1)
	go func() {
		out, err := tried(within, t, s, do)
		over(after)
		results <- result{out, err}
	}()
	select {
	case r := <-results:
		t.free <- s
		return r.out, r.err
	case <-within.Done():
	}
	// Given up: the call may hang for ever. Its place goes to a new session, and the old one ends when it comes back.
	t.stuck.Add(1)
	t.stats.abandoned.Add(1)
	t.free <- &session{}
	go func() {
		r := <-results
		t.stuck.Add(-1)
		if r.err == nil && discard != nil {
			discard(r.out)
		}
		t.end(s)
	}()
	return none, late(ctx, "waiting for the token")
}

// over calls what is to be done when a call will not run, or not again.
func over(after func()) {
	if after != nil {
		after()
	}
}

// late tells a caller's own end from the deadline of a call.
func late(ctx context.Context, doing string) error {
	if err := ctx.Err(); err != nil && !errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("%s: %w", doing, err)
	}
	return fmt.Errorf("%s: %w", doing, unavailable(context.DeadlineExceeded))
}

// tried is one call in one place, with the attempts to find again what was lost.
func tried[T any](ctx context.Context, t *token, s *session, do func(s *session) (T, error)) (T, error) {
	var out T
	var err error
	for range attempts {
		if err = t.ready(ctx, s); err == nil {
			out, err = do(s)
			if err != nil && objectGone(err) {
				err = t.absent(s, err)
			}
			t.module.leave()
		}
		switch {
		case err == nil || ctx.Err() != nil:
			return out, err
		case sessionGone(err):
			t.end(s)
		case linkGone(err) || errors.Is(err, errMoved):
			t.lost(s.generation)
		default:
			return out, err
		}
	}
	return out, err
}

// errMoved: the link is another than it was a moment ago.
var errMoved = errors.New("the token was found anew meanwhile")

// absent tells a key that is gone from a token that is gone, which shows no keys either.
func (t *token) absent(s *session, err error) error {
	info, lost := s.lib.GetTokenInfo(s.slot)
	switch {
	case lost != nil || !t.fits(info):
		return pkcs11.Error(pkcs11.CKR_TOKEN_NOT_PRESENT)
	case errors.Is(err, errNoObject):
		return fmt.Errorf("the token is there, the key is not: %w: %w", hsm.ErrNotFound, err)
	}
	return errMoved // its handle is looked for anew
}

// ready gives a place an open session of the link that is up. With no error the caller is inside the module.
func (t *token) ready(ctx context.Context, s *session) error {
	l, err := t.linked(ctx)
	if err != nil {
		return err
	}
	lib, epoch, err := t.module.enter(ctx)
	if err != nil {
		return err
	}
	if err = t.open(lib, epoch, l, s); err != nil {
		t.module.leave()
		return err
	}
	return nil
}

func (t *token) open(lib *pkcs11.Ctx, epoch uint64, l link, s *session) error {
	if epoch != l.epoch {
		s.generation = l.generation
		return errMoved
	}
	s.lib = lib
	if s.generation == l.generation {
		return nil
	}
	if s.open && s.epoch == epoch {
		_ = lib.CloseSession(s.handle)
	}
	*s = session{generation: l.generation}
	handle, err := lib.OpenSession(l.slot, sessionFlags)
	if err != nil {
		return err
	}
	info, err := lib.GetSessionInfo(handle)
	if err == nil && info.State != pkcs11.CKS_RW_USER_FUNCTIONS {
		err = pkcs11.Error(pkcs11.CKR_USER_NOT_LOGGED_IN)
	}
	if err != nil {
		_ = lib.CloseSession(handle)
		return err
	}
	*s = session{handle: handle, open: true, generation: l.generation, epoch: epoch, slot: l.slot, lib: lib}
	return nil
}

// end closes what a place holds.
func (t *token) end(s *session) {
	if s.open {
		lib, epoch, err := t.module.enter(context.Background())
		if err == nil {
			if epoch == s.epoch {
				_ = lib.CloseSession(s.handle)
			}
			t.module.leave()
		}
	}
	*s = session{}
}

// lost takes the link down, if it is still the one of that generation.
func (t *token) lost(generation uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.link.generation == generation {
		t.link.up = false
	}
}
