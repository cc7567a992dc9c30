package custodian

import (
	"context"
	"errors"
	"sync"

	"conclave/custodian/store"
	"conclave/policies"
)

// bundles compiles the bundles that views name, once each.
type bundles struct {
	carried *policies.Engine // of this program

	mu       sync.RWMutex
	compiled map[string]*policies.Engine
	building sync.Mutex
}

// maxCompiled bounds how many bundles are kept compiled, the carried one aside: the one in force, and those that
// are being proposed.
const maxCompiled = 8

// unknownDigest stands where the record of what is in force cannot be read.
const unknownDigest = "unknown"

// of is the bundle in force by a view. It never fails: one that cannot be used refuses everything, and says why.
func (b *bundles) of(view *store.View) *policies.Engine {
	inForce, err := InForce(view)
	if err != nil {
		return policies.Unusable(unknownDigest, err)
	}
	engine, err := b.stored(view, inForce.Digest)
	if err != nil {
		return policies.Unusable(inForce.Digest, err)
	}
	return engine
}

// stored is a bundle that the instance keeps, compiled. The rows are looked at each time: one that was edited is not
// used although what was compiled of it before would still be right.
func (b *bundles) stored(view *store.View, digest string) (*policies.Engine, error) {
	switch record, err := store.Peek[PolicyBundle](view, KindPolicyBundle, digest); {
	case errors.Is(err, store.ErrNotFound): // an instance that stored none when it was made
		if digest != b.carried.Digest() {
			return nil, &PolicyMismatch{InForce: digest, Loaded: b.carried.Digest()}
		}
		return b.carried, nil
	case err != nil:
		return nil, err
	default:
		for i := range record.Parts {
			if _, err := view.Get(KindPolicyFiles, policyFilesID(digest, i)); err != nil {
				return nil, err
			}
		}
	}
	if engine := b.known(digest); engine != nil {
		return engine, engine.Problem()
	}
	b.building.Lock()
	defer b.building.Unlock()
	if engine := b.known(digest); engine != nil {
		return engine, engine.Problem()
	}
	_, files, err := StoredPolicy(view, digest)
	if err != nil {
		return nil, err
	}
	engine, err := b.carried.With(context.Background(), files)
	if err != nil { // e.g. it calls what this program no longer lets rules call; that does not change by asking again
		engine = policies.Unusable(digest, err)
	}
	b.keep(engine)
	return engine, engine.Problem()
}

func (b *bundles) known(digest string) *policies.Engine {
	if digest == b.carried.Digest() {
		return b.carried
	}
	b.mu.RLock()
	defer b.mu.RUnlock()
	return b.compiled[digest]
}

func (b *bundles) keep(engine *policies.Engine) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.compiled) >= maxCompiled {
		b.compiled = nil // the one in force is compiled again when it is next asked
	}
	if b.compiled == nil {
		b.compiled = map[string]*policies.Engine{}
	}
	b.compiled[engine.Digest()] = engine
}
