package custodian

import (
	"hash/maphash"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"conclave/custodian/access"
	"conclave/custodian/identity"
	"conclave/custodian/key"
	"conclave/custodian/oversight"
	"conclave/custodian/store"
	"conclave/policies"
)

// One policy evaluation costs about as much as two whole requests, so allows are kept: under everything the
// bundle declares that it reads, until their earliest time bound, and only for one authority epoch.
const (
	memoShards  = 32
	memoPerPart = 2048 // entries a shard, 65,536 in all; a full shard is emptied
)

// memo holds what was derived from one authority state: it is dropped whole when people, grants, keys,
// keystores or policy change, or when a row is quarantined.
type memo struct {
	current  atomic.Pointer[derived]
	building sync.Mutex // one caller derives, the others wait for what it makes
}

// derived is one authority state and what its rows imply. Calls are decided by its view, so that rows, grants
// and kept decisions always belong together.
type derived struct {
	view *store.View
	// policies is the bundle in force under this state, mark how entries name it.
	policies *policies.Engine
	mark     string
	fault    error // why nothing may be decided under this state
	grants   map[grantKey][]heldGrant
	seed     maphash.Seed
	shards   [memoShards]memoShard
	// controlled are the approvals to process under compromised versions, by version id.
	controlled map[string][]*key.ControlledApproval
	// drift are the codes against keys that live where they would not be placed; unsure those whose row of it contradicts
	// the ledger. Both are nil where there are none.
	drift  map[driftKey][]string
	unsure map[string]bool
}

// driftKey is a key in a keystore.
type driftKey struct{ key, keystore string }

type memoShard struct {
	mu sync.RWMutex
	m  map[string]*policies.Decision
}

// grantKey is who may use which key: applications by grant, people in emergencies only.
type grantKey struct {
	kind           identity.Kind
	principal, key string
}

// heldGrant is a grant with its form for policy, built once an epoch.
type heldGrant struct {
	row   *access.Grant
	facts policies.GrantFacts
}

// held makes the form; emergency is the ceremony that opened emergency access, "" for a grant.
func held(g *access.Grant, emergency string) heldGrant {
	f := policies.GrantFacts{ID: g.ID, Context: g.Context, ExpiresAt: g.ExpiresAt, Revoked: g.RevokedAt != nil, Emergency: emergency}
	for _, op := range g.Operations {
		f.Operations = append(f.Operations, string(op))
	}
	return heldGrant{g, f}
}

// of returns what is derived from this view or, where another caller was ahead, from a newer one. built is
// true for the one caller that derived it.
func (m *memo) of(view *store.View, b *bundles) (d *derived, built bool) {
	if d := m.current.Load(); d.covers(view) {
		return d, false
	}
	m.building.Lock()
	defer m.building.Unlock()
	if d := m.current.Load(); d.covers(view) {
		return d, false
	}
	d = derive(view, b)
	m.current.Store(d)
	return d, true
}

// covers reports whether d is of this view's authority state or a later one. Both counters only grow from one
// published view to the next.
func (d *derived) covers(view *store.View) bool {
	return d != nil && d.view.Epoch() >= view.Epoch() && d.view.Generation() >= view.Generation()
}

func derive(view *store.View, b *bundles) *derived {
	d := &derived{view: view, policies: b.of(view), seed: maphash.MakeSeed(), grants: make(map[grantKey][]heldGrant), controlled: make(map[string][]*key.ControlledApproval)}
	d.mark, d.fault = PolicyMark(d.policies.Digest()), d.policies.Problem()
	if _, err := view.Get(KindInstance, InstanceRow); err != nil { // not there at all is a contradiction too
		d.fault = &store.TamperedError{Kind: KindInstance, ID: InstanceRow}
	}
	for row := range view.List(KindGrant) {
		if g, ok := row.Value.(*access.Grant); ok {
			k := grantKey{identity.Application, g.Application, g.Key}
			d.grants[k] = append(d.grants[k], held(g, ""))
		}
	}
	for row := range view.List(KindBreakGlass) { // behind the grants: what a grant covers is no emergency
		b, ok := row.Value.(*oversight.BreakGlass)
		if !ok || !view.Time().Before(b.ExpiresAt) { // what is over for the ledger is over for good
			continue
		}
		for _, keyID := range b.Keys {
			k := grantKey{b.Kind, b.Principal, keyID}
			d.grants[k] = append(d.grants[k], held(b.Grant(keyID), b.Ceremony))
		}
	}
	for row := range view.List(KindControlledUse) {
		if u, ok := row.Value.(*key.ControlledApproval); ok && view.Time().Before(u.Until) {
			id := key.VersionID(u.Key, u.Version)
			d.controlled[id] = append(d.controlled[id], u)
		}
	}
	d.readDrift()
	return d
}

func (d *derived) readDrift() {
	for row := range d.view.List(KindDrift) {
		if r, ok := row.Value.(*key.Drift); ok {
			for _, h := range r.Homes {
				if d.drift == nil {
					d.drift = map[driftKey][]string{}
				}
				d.drift[driftKey{r.Key, h.Keystore}] = h.Codes
			}
		}
	}
	for _, bad := range d.view.Tampered(KindDrift) {
		if d.unsure == nil {
			d.unsure = map[string]bool{}
		}
		d.unsure[bad.ID] = true
	}
}

// controlledUse is the approval under which a caller may process with a version, nil for none.
func (d *derived) controlledUse(p identity.Principal, v *key.Version, context map[string]string, now time.Time) *key.ControlledApproval {
	if p.Kind != identity.Application {
		return nil
	}
	for _, u := range d.controlled[key.VersionID(v.Key, v.Version)] {
		if u.Covers(p.ID, v.Key, v.Version, context, now) {
			return u
		}
	}
	return nil
}

// lookup returns a kept allow that still holds.
func (d *derived) lookup(memoKey []byte, now time.Time, payload int) *policies.Decision {
	s := d.shard(memoKey)
	s.mu.RLock()
	decision := s.m[string(memoKey)]
	s.mu.RUnlock()
	if decision == nil || !decision.Holds(now, payload) {
		return nil
	}
	return decision
}

// keep remembers an allow.
func (d *derived) keep(memoKey []byte, decision policies.Decision) {
	decision.Reads = nil // the same list in every decision
	s := d.shard(memoKey)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.m == nil || len(s.m) >= memoPerPart {
		s.m = make(map[string]*policies.Decision)
	}
	s.m[string(memoKey)] = &decision
}

func (d *derived) shard(memoKey []byte) *memoShard {
	return &d.shards[maphash.Bytes(d.seed, memoKey)%memoShards]
}

// grant picks the grant to judge a call by, and says why it does not cover the call (nil: it does): one that
// covers it, else one in force that names the operation, else one in force, else any, else nil.
func (d *derived) grant(p identity.Principal, keyID string, op access.Operation, context map[string]string, now time.Time) (*heldGrant, error) {
	var best *heldGrant
	var lacks error
	most := -1
	all := d.grants[grantKey{p.Kind, p.ID, keyID}]
	for i := range all {
		g := &all[i]
		err := g.row.Covers(op, keyID, context, now)
		if err == nil {
			return g, nil
		}
		rank := 0
		if g.row.RevokedAt == nil && now.Before(g.row.ExpiresAt) {
			rank = 1
			if slices.Contains(g.row.Operations, op) {
				rank = 2
			}
		}
		if rank > most {
			best, lacks, most = g, err, rank
		}
	}
	return best, lacks
}
