//go:build cgo

package pkcs11

import (
	"context"
	"debug/elf"
	"errors"
	"fmt"
	"maps"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/miekg/pkcs11"

	"conclave/hsm"
)

// How often a module is initialised anew because a token is missing: at once, then after longer and longer pauses, so
// that tokens of the same module that work are not disturbed all the time.
const (
	leastPause = 500 * time.Millisecond
	mostPause  = 8 * time.Second
)

// Modules are the modules that this process has loaded. A module is initialised once a process (C_Initialize), so that
// there is one Modules a process. Safe for concurrent use.
type Modules struct {
	mu     sync.Mutex
	byPath map[string]*module
}

// NewModules returns a set without modules: each is loaded when a keystore first needs it, and never unloaded.
func NewModules() *Modules { return &Modules{byPath: make(map[string]*module)} }

// at returns the module of a path, not loaded yet.
func (s *Modules) at(path string) *module {
	s.mu.Lock()
	defer s.mu.Unlock()
	m := s.byPath[path]
	if m == nil {
		m = &module{path: path, claims: make(map[string]*Keystore), pause: leastPause}
		s.byPath[path] = m
	}
	return m
}

// module is one loaded library. Its lock is never held during a call into it.
type module struct {
	path string

	mu       sync.Mutex
	ctx      *pkcs11.Ctx
	epoch    uint64        // counts initialisations; 0: none yet. Handles of an earlier epoch mean nothing
	inside   int           // calls that are in the library
	starting chan struct{} // closed when an initialisation under way is over; nil while there is none
	notEarly time.Time     // no initialisation for a missing token before
	pause    time.Duration
	claims   map[string]*Keystore // which keystore a token serves, by serial number
}

// enter counts a call into the library, once it is initialised. Whoever enters leaves, before anybody can initialise it
// anew.
func (m *module) enter(ctx context.Context) (*pkcs11.Ctx, uint64, error) {
	for {
		m.mu.Lock()
		if m.starting == nil && m.epoch > 0 {
			m.inside++
			defer m.mu.Unlock()
			return m.ctx, m.epoch, nil
		}
		if m.starting == nil {
			m.mu.Unlock()
			if err := m.start(ctx, 0); err != nil {
				return nil, 0, err
			}
			continue
		}
		wait := m.starting
		m.mu.Unlock()
		select {
		case <-wait:
		case <-ctx.Done():
			return nil, 0, fmt.Errorf("waiting for module %s: %w", m.path, unavailable(ctx.Err()))
		}
	}
}

func (m *module) leave() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.inside--
}

// missing initialises the module anew, since many notice a token that was put back, or a daemon that was restarted, only
// then. Not if that has been done since epoch, or a moment ago, or while calls are stuck in the library.
func (m *module) missing(ctx context.Context, epoch uint64) error {
	m.mu.Lock()
	if m.epoch != epoch {
		m.mu.Unlock()
		return nil
	}
	if time.Now().Before(m.notEarly) {
		m.mu.Unlock()
		return errEarly
	}
	m.notEarly = time.Now().Add(m.pause)
	m.pause = min(2*m.pause, mostPause)
	m.mu.Unlock()
	return m.start(ctx, epoch)
}

// errEarly: the module was initialised a moment ago.
var errEarly = errors.New("the module was initialised a moment ago")

// found ends the pauses of missing: all tokens are there.
func (m *module) found() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.pause = leastPause
}

// start initialises the module if its epoch is still the one given. It waits until nobody is in the library.
func (m *module) start(ctx context.Context, epoch uint64) error {
	m.mu.Lock()
	if m.starting != nil || m.epoch != epoch {
		m.mu.Unlock()
		return nil // somebody else is at it, or was
	}
	over := make(chan struct{})
	m.starting = over
	m.mu.Unlock()
	failed := make(chan error, 1)
	go func() {
		lib, err := m.initialise(epoch)
		m.mu.Lock()
		if err == nil {
			m.ctx, m.epoch = lib, m.epoch+1
		}
		m.starting = nil
		m.mu.Unlock()
		failed <- err
		close(over)
	}()
	select {
	case err := <-failed:
		return err
	case <-ctx.Done(): // it may hang; whoever needs it meanwhile waits no longer than they want
		return fmt.Errorf("initialising module %s: %w", m.path, unavailable(ctx.Err()))
	}
}

// initialise loads the library or ends what is left of the epoch before, and begins the next. starting is set, so that
// nobody else is at it and nobody enters.
func (m *module) initialise(epoch uint64) (*pkcs11.Ctx, error) {
	m.mu.Lock()
	lib := m.ctx
	m.mu.Unlock()
	if lib == nil {
		if err := CheckFile(m.path); err != nil {
			return nil, err
		}
		if lib = pkcs11.New(m.path); lib == nil {
			return nil, fmt.Errorf("module %s: not a PKCS #11 module that can be loaded: %w", m.path, hsm.ErrUnavailable)
		}
	}
	if epoch > 0 {
		if !m.drained(hsm.Deadline) {
			return nil, fmt.Errorf("module %s: calls are stuck in it: %w", m.path, hsm.ErrUnavailable)
		}
		_ = lib.Finalize() // a module that has lost its daemon says so, and is initialised all the same
	}
	err := lib.Initialize()
	if err != nil && !is(err, pkcs11.CKR_CRYPTOKI_ALREADY_INITIALIZED) {
		return nil, fmt.Errorf("initialising module %s: %w", m.path, unavailable(err))
	}
	return lib, nil
}

// drained waits until nobody is in the library.
func (m *module) drained(patience time.Duration) bool {
	for end := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		m.mu.Lock()
		inside := m.inside
		m.mu.Unlock()
		if inside == 0 {
			return true
		}
		if time.Now().After(end) {
			return false
		}
	}
}

// claim makes a token serve one keystore and no other, until it is released. Two keystores in one token would log
// each other out.
func (m *module) claim(serial string, k *Keystore) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if other := m.claims[serial]; other != nil && other != k {
		return fmt.Errorf("the token with serial number %q serves keystore %q in this process: %w", serial, other.cfg.ID, hsm.ErrInvalid)
	}
	m.claims[serial] = k
	return nil
}

// disclaim gives up what a keystore has claimed.
func (m *module) disclaim(k *Keystore) {
	m.mu.Lock()
	defer m.mu.Unlock()
	maps.DeleteFunc(m.claims, func(_ string, by *Keystore) bool { return by == k })
}

// CheckFile refuses what can not be loaded, and a library that others than root and who runs this may have written: it gets
// the PINs, and runs in this process. Nothing of it is run.
func CheckFile(path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return fmt.Errorf("module: %w: %w", err, hsm.ErrUnavailable)
	}
	if !info.Mode().IsRegular() || info.Mode().Perm()&0o022 != 0 {
		return fmt.Errorf("module %s: mode %v; allowed: a file that neither group nor others may write: %w", path, info.Mode(), hsm.ErrInvalid)
	}
	if stat, ok := info.Sys().(*syscall.Stat_t); ok && stat.Uid != 0 && int(stat.Uid) != os.Geteuid() {
		return fmt.Errorf("module %s: belongs to user %d; allowed: root and who runs this: %w", path, stat.Uid, hsm.ErrInvalid)
	}
	return checkLibrary(path)
}

// checkLibrary refuses what is no shared library for the machine that this program is for.
func checkLibrary(path string) error {
	self, err := elf.Open("/proc/self/exe")
	if err != nil {
		return fmt.Errorf("reading this program: %w", err)
	}
	defer self.Close()
	library, err := elf.Open(path)
	if err != nil {
		return fmt.Errorf("module %s: no library that can be loaded: %w: %w", path, err, hsm.ErrUnavailable)
	}
	defer library.Close()
	if library.Type != elf.ET_DYN || library.Machine != self.Machine || library.Class != self.Class {
		return fmt.Errorf("module %s: %v for %v, %v; allowed: a shared library for %v, %v: %w", path, library.Type, library.Machine, library.Class, self.Machine, self.Class, hsm.ErrUnavailable)
	}
	return nil
}
