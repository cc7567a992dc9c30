// Package group is the keystore that several keystores are together: each key of it is in several members, proved by the
// check value that each member computes itself, and whichever member can serves. Keys pass between members wrapped, and in
// no other form; see [hsm.Member].
package group

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sony/gobreaker/v2"

	"conclave/hsm"
	"conclave/hsm/secret"
)

// Driver is the name of this driver in records.
const Driver = "group"

const (
	// LeastCopies is how many members must hold a key before it is used (ours): with one it would be lost with that one.
	LeastCopies = 2
	// attempt bounds one call to a member while others are left to ask (ours), and so what a member that hangs costs.
	attempt = 2 * time.Second
	// Circuit breaker of each member (ours): so many calls in a row that it could not serve, and nobody asks it for so
	// long; then one call tries.
	breakerFailures = 3
	breakerPause    = 2 * time.Second
	// marker and blobFormat are part of the format of a key's blob: never change them.
	marker     = "conclave group key v1"
	blobFormat = 1
)

// Member is one member, as the group's governed record has it.
type Member struct {
	ID        string
	Driver    hsm.Member   // nil where this node has none
	Serving   bool         // false: drained, nothing is asked of it
	Transport hsm.Material // pair that keys are sent to it under
}

func (m Member) peer() hsm.Peer { return hsm.Peer{Member: m.ID, Public: m.Transport.Public} }

// able reports whether the member can be asked now.
func (m Member) able() bool { return m.Serving && m.Driver != nil && m.Driver.Active() }

// Config is what identifies a group.
type Config struct {
	ID      string
	Members func() []Member // as the newest record has them, in order of preference; safe for concurrent use
	Logger  *slog.Logger    // nil for none
}

// Keystore is one group. It is active while any serving member is.
type Keystore struct {
	cfg Config
	log *slog.Logger
	// transfers is held by who makes, sends or destroys keys: what is destroyed is not sent at the same time.
	transfers chan struct{}

	mu       sync.Mutex
	breakers map[string]*breaker
	handles  map[*held]struct{}
}

type breaker struct {
	*gobreaker.TwoStepCircuitBreaker[struct{}]
	calls, failures atomic.Int64
}

// New returns the group that cfg describes.
func New(cfg Config) (*Keystore, error) {
	if cfg.ID == "" || cfg.Members == nil {
		return nil, fmt.Errorf("group: id and members are needed: %w", hsm.ErrInvalid)
	}
	k := &Keystore{cfg: cfg, log: cfg.Logger, transfers: make(chan struct{}, 1), breakers: map[string]*breaker{}, handles: map[*held]struct{}{}}
	if k.log == nil {
		k.log = slog.New(slog.DiscardHandler)
	}
	return k, nil
}

// Format shows nothing but the name.
func (k *Keystore) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "keystore group "+k.cfg.ID) }

// drivers are those that this node has.
func (k *Keystore) drivers() []hsm.Member {
	var out []hsm.Member
	for _, m := range k.cfg.Members() {
		if m.Driver != nil {
			out = append(out, m.Driver)
		}
	}
	return out
}

// Facts implements hsm.Keystore. What members prove and claim is judged member by member; what a version keeps of it is
// the weakest.
func (k *Keystore) Facts() hsm.Facts {
	out := hsm.Facts{Driver: Driver, Module: "none on this node", RNG: "none on this node", Custody: hsm.CustodySelf, Declared: true}
	var modules []string
	for i, d := range k.drivers() {
		f := d.Facts()
		if modules = append(modules, f.Module); i == 0 || f.FIPSLevel < out.FIPSLevel {
			out.FIPSStandard, out.FIPSLevel, out.Certificate = f.FIPSStandard, f.FIPSLevel, f.Certificate
		}
		if i == 0 {
			out.Custody, out.RNG = f.Custody, f.RNG
		}
	}
	if len(modules) > 0 {
		slices.Sort(modules)
		out.Module = "group of " + strings.Join(slices.Compact(modules), "; ")
	}
	return out
}

// Capabilities implements hsm.Keystore: what every member can.
func (k *Keystore) Capabilities() hsm.Capabilities {
	var out hsm.Capabilities
	for i, d := range k.drivers() {
		c := d.Capabilities()
		if i == 0 {
			out = hsm.Capabilities{Algorithms: c.Algorithms, Specs: d.Shares(), Destroy: c.Destroy, StoresKeys: c.StoresKeys, MaxMessage: c.MaxMessage, KeyStrength: c.KeyStrength}
			continue
		}
		shares := d.Shares()
		out.Specs = slices.DeleteFunc(slices.Clone(out.Specs), func(s hsm.Spec) bool { return !slices.Contains(shares, s) })
		out.Destroy, out.StoresKeys = out.Destroy && c.Destroy, out.StoresKeys || c.StoresKeys
		out.MaxMessage, out.KeyStrength = min(out.MaxMessage, c.MaxMessage), min(out.KeyStrength, c.KeyStrength)
	}
	return out
}

// TransportBits is the least strength of what keys travel under between the members, in bits: what they are worth at most.
func (k *Keystore) TransportBits() int {
	least := 0
	for _, d := range k.drivers() {
		if bits := d.TransportBits(); least == 0 || bits < least {
			least = bits
		}
	}
	return least
}

// Active implements hsm.Keystore.
func (k *Keystore) Active() bool { return slices.ContainsFunc(k.cfg.Members(), Member.able) }

// Activate implements hsm.Keystore: a group has no secret of its own.
func (k *Keystore) Activate(context.Context, *secret.Bytes) error {
	return fmt.Errorf("activating group %q: its members are activated, each with its own secret: %w", k.cfg.ID, hsm.ErrUnsupported)
}

// Deactivate implements hsm.Keystore: every member is.
func (k *Keystore) Deactivate(ctx context.Context) error {
	var errs []error
	for _, d := range k.drivers() {
		errs = append(errs, d.Deactivate(ctx))
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	for h := range k.handles {
		h.end(hsm.ErrInactive)
	}
	clear(k.handles)
	return errors.Join(errs...)
}

// breakerOf is the circuit breaker of a member.
func (k *Keystore) breakerOf(member string) *breaker {
	k.mu.Lock()
	defer k.mu.Unlock()
	b := k.breakers[member]
	if b == nil {
		b = &breaker{TwoStepCircuitBreaker: gobreaker.NewTwoStepCircuitBreaker[struct{}](gobreaker.Settings{Name: member, Timeout: breakerPause,
			ReadyToTrip: func(c gobreaker.Counts) bool { return c.ConsecutiveFailures >= breakerFailures },
			OnStateChange: func(_ string, from, to gobreaker.State) {
				k.log.Warn("circuit breaker of a member", "group", k.cfg.ID, "member", member, "from", from.String(), "to", to.String())
			}})}
		k.breakers[member] = b
	}
	return b
}

// Stats are what one member was asked since the process began.
type Stats struct {
	Member   string
	Serving  bool  // not drained
	Able     bool  // it can be asked now
	Open     bool  // its circuit breaker lets no call through
	Calls    int64 // calls that it answered
	Failures int64 // calls that it could not serve and another was asked
}

// Stats of every member, in the order of the record.
func (k *Keystore) Stats() []Stats {
	var out []Stats
	for _, m := range k.cfg.Members() {
		b := k.breakerOf(m.ID)
		out = append(out, Stats{Member: m.ID, Serving: m.Serving, Able: m.able(), Open: b.State() == gobreaker.StateOpen, Calls: b.calls.Load(), Failures: b.failures.Load()})
	}
	return out
}
