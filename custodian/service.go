package custodian

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"sync"

	"conclave/custodian/clock"
	"conclave/custodian/dek"
	"conclave/custodian/key"
	"conclave/custodian/store"
	"conclave/hsm"
)

// Service is the door. Safe for concurrent use.
type Service struct {
	store    *store.Store
	bundles  *bundles
	node     string
	clock    clock.Clock
	log      *slog.Logger
	instance Instance
	prefix   [16]byte // of the instance id, in every ciphertext
	contexts *contextHasher
	ring     *dek.Ring
	memo     memo
	calls    sync.Pool // *call
	// generations are the places of those who make an RSA pair now, generationsAsked of them and of those who wait to.
	generations, generationsAsked chan struct{}

	mu        sync.RWMutex
	keystores map[string]hsm.Keystore
}

// New checks the configuration and returns a Service for the instance that the store holds. An instance that has not
// stored the bundle in force takes a program that carries it: *PolicyMismatch. A stored bundle that cannot be used is
// no obstacle: everything but its recovery is refused.
func New(_ context.Context, cfg Config) (*Service, error) {
	if cfg.Store == nil || cfg.Policies == nil || cfg.Clock == nil || cfg.Node == "" {
		return nil, errors.New("custodian: store, policies, clock and node are required")
	}
	if len(cfg.AuditKey) != auditKeySize {
		return nil, fmt.Errorf("custodian: audit key has %d bytes, allowed is %d", len(cfg.AuditKey), auditKeySize)
	}
	inst, _, err := store.Get[Instance](cfg.Store.View(), KindInstance, InstanceRow)
	if err != nil {
		return nil, fmt.Errorf("reading the instance record: %w", err)
	}
	compiled := &bundles{carried: cfg.Policies}
	var mismatch *PolicyMismatch
	inForce := compiled.of(cfg.Store.View())
	if errors.As(inForce.Problem(), &mismatch) {
		return nil, mismatch
	}
	if inst.Mode != Production && inst.Mode != Development {
		return nil, fmt.Errorf("instance mode is %q, allowed are %q and %q", inst.Mode, Production, Development)
	}
	id, err := hex.DecodeString(inst.ID)
	if err != nil || len(id) != 32 {
		return nil, fmt.Errorf("instance id %q is not a SHA-256 in hex", inst.ID)
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	s := &Service{
		store:    cfg.Store,
		bundles:  compiled,
		node:     cfg.Node,
		clock:    cfg.Clock,
		log:      cfg.Logger,
		instance: *inst,
		contexts: newContextHasher(cfg.AuditKey),

		generations:      make(chan struct{}, maxGenerations),
		generationsAsked: make(chan struct{}, maxGenerations+maxGenerationsWaiting),
		keystores:        make(map[string]hsm.Keystore),
	}
	if problem := inForce.Problem(); problem != nil {
		s.log.Error("everything is refused until the policy bundle is mended or an earlier one restored (policy.recover)", "error", problem)
	}
	s.ring = dek.NewRing(s.exists)
	s.calls.New = func() any { return &call{memoKey: make([]byte, 0, 512)} }
	copy(s.prefix[:], id)
	for name, ks := range cfg.Keystores {
		s.keystores[name] = ks
	}
	return s, nil
}

// PolicyMismatch says that the program carries another policy bundle than the one in force.
type PolicyMismatch struct{ InForce, Loaded string }

func (e *PolicyMismatch) Error() string {
	return fmt.Sprintf("policy bundle in force is %s, this program carries %s, and the instance has not stored the one in force: start the version of the program "+
		"whose `conclave version` prints the digest in force; no data was changed (docs/operations.md, Upgrade)", e.InForce, e.Loaded)
}

// Instance is what genesis fixed.
func (s *Service) Instance() Instance { return s.instance }

// Node is this process's id.
func (s *Service) Node() string { return s.node }

// View is the newest committed state.
func (s *Service) View() *store.View { return s.store.View() }

// Store is the committer and ledger behind the door.
func (s *Service) Store() *store.Store { return s.store }

// AddKeystore makes a driver known under the id of its governed record. A second one of an id is refused.
func (s *Service) AddKeystore(id string, ks hsm.Keystore) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, exists := s.keystores[id]; exists {
		return fmt.Errorf("keystore %q has a driver already", id)
	}
	s.keystores[id] = ks
	return nil
}

// Keystore returns the driver of a governed keystore; store.ErrNotFound when this node has none.
func (s *Service) Keystore(id string) (hsm.Keystore, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	ks := s.keystores[id]
	if ks == nil {
		return nil, fmt.Errorf("keystore %q: %w", id, store.ErrNotFound)
	}
	return ks, nil
}

// Forget closes what this process holds of a key version: it was destroyed.
func (s *Service) Forget(keyID string, version uint32) { s.ring.Drop(keyID, version) }

// exists reports whether a key version still has material, by the newest committed state.
func (s *Service) exists(keyID string, version uint32) bool {
	v, err := store.Peek[key.Version](s.store.View(), KindKeyVersion, key.VersionID(keyID, version))
	return err == nil && v.State.HasMaterial()
}

// authority is the newest authority state. Whoever notices a new one first also closes what was destroyed, so
// that a destruction on another replica reaches this one too.
func (s *Service) authority() *derived {
	d, built := s.memo.of(s.store.View(), s.bundles)
	if built {
		s.ring.Sweep()
	}
	return d
}
