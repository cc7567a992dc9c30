package custodian

import (
	"hash/maphash"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"conclave/custodian/access"
	"conclave/custodian/store"
	"conclave/policies"
)

// One policy evaluation costs about as much as two whole requests, so allows are kept: under everything the
// bundle declares that it reads, until their earliest time bound, and only for one authority epoch.
const (
	memoShards  = 32
	memoPerPart = 4096 // entries a shard; a full shard is emptied
)

// memo holds what was derived from one View: it is dropped whole when people, grants, keys, keystores or
// policy change, or when a row is quarantined.
type memo struct{ current atomic.Pointer[derived] }

// derived is what one authority epoch's rows imply.
type derived struct {
	epoch      uint64
	generation uint64
	grants     map[grantKey][]grantFacts
	seed       maphash.Seed
	shards     [memoShards]memoShard
}

type memoShard struct {
	mu sync.RWMutex
	m  map[string]*policies.Decision
}

type grantKey struct{ application, key string }

// grantFacts is a grant as policy sees it, built once an epoch.
type grantFacts struct {
	row   *access.Grant
	facts policies.GrantFacts
}

func factsOf(g *access.Grant) grantFacts {
	f := policies.GrantFacts{ID: g.ID, Context: g.Context, ExpiresAt: g.ExpiresAt, Revoked: g.RevokedAt != nil}
	for _, op := range g.Operations {
		f.Operations = append(f.Operations, string(op))
	}
	return grantFacts{g, f}
}

// of returns what is derived from this view, building it when the epoch has moved. changed is true for the
// one caller that built it.
func (m *memo) of(view *store.View) (d *derived, changed bool) {
	if d = m.current.Load(); d != nil && d.epoch == view.Epoch() && d.generation == view.Generation() {
		return d, false
	}
	fresh := &derived{epoch: view.Epoch(), generation: view.Generation(), seed: maphash.MakeSeed(),
		grants: make(map[grantKey][]grantFacts)}
	for row := range view.List(KindGrant) {
		if g, ok := row.Value.(*access.Grant); ok {
			k := grantKey{g.Application, g.Key}
			fresh.grants[k] = append(fresh.grants[k], factsOf(g))
		}
	}
	if d != nil && (d.epoch > fresh.epoch || d.generation > fresh.generation) {
		return fresh, false // an older view finishing late must not displace a newer derivation
	}
	return fresh, m.current.CompareAndSwap(d, fresh)
}

// lookup returns a kept allow that still holds.
func (d *derived) lookup(memoKey []byte, now time.Time, payload int) *policies.Decision {
	s := &d.shards[maphash.Bytes(d.seed, memoKey)%memoShards]
	s.mu.RLock()
	decision := s.m[string(memoKey)]
	s.mu.RUnlock()
	if decision == nil || !decision.Holds(now, payload) {
		return nil
	}
	return decision
}

func (d *derived) keep(memoKey []byte, decision policies.Decision) {
	s := &d.shards[maphash.Bytes(d.seed, memoKey)%memoShards]
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.m == nil || len(s.m) >= memoPerPart {
		s.m = make(map[string]*policies.Decision)
	}
	s.m[string(memoKey)] = &decision
}

// grant picks the grant to judge by: one that is in force and names the operation, else one in force, else
// any, else nil.
func (d *derived) grant(application, keyID string, op access.Operation, now time.Time) *policies.GrantFacts {
	var best *policies.GrantFacts
	all := d.grants[grantKey{application, keyID}]
	for i := range all {
		g := &all[i]
		inForce := g.row.RevokedAt == nil && now.Before(g.row.ExpiresAt)
		if inForce && slices.Contains(g.row.Operations, op) {
			return &g.facts
		}
		if best == nil || inForce {
			best = &g.facts
		}
	}
	return best
}
