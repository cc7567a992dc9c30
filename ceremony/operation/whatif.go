package operation

import (
	"context"
	"fmt"

	"conclave/ceremony/placement"
	"conclave/custodian"
	"conclave/custodian/key"
	"conclave/custodian/store"
	"conclave/policies"
)

// Supposition is a change that somebody wonders about: the parameters of exactly one operation.
type Supposition struct {
	Keystore []byte // of keystore.alter
	Key      []byte // of key.reclassify
}

// WhatIf says which keys would stand otherwise, and how: by the same judgement as the statement of the change.
func WhatIf(ctx context.Context, env Env, view *store.View, in Input, s Supposition) ([]placement.Change, error) {
	switch {
	case len(s.Keystore) > 0 && len(s.Key) == 0:
		in.Params = s.Keystore
		c, err := keystoreAlter{}.read(env, view, in)
		if err != nil {
			return nil, err
		}
		return strandedBy(ctx, env, view, c.after)
	case len(s.Key) > 0 && len(s.Keystore) == 0:
		in.Params = s.Key
		before, after, _, err := keyReclassify{}.read(view, in)
		if err != nil {
			return nil, err
		}
		return reclassified(ctx, env, view, before, after)
	}
	return nil, &custodian.InputError{Field: "keystore", Problem: "not exactly one change", Allowed: "one of keystore, key and bundle"}
}

// reclassified is how a key would stand where it lives if it asked something else.
func reclassified(ctx context.Context, env Env, view *store.View, before, after *key.Key) ([]placement.Change, error) {
	facts, err := env.Custodian.PlacementInput(view, policies.PlacementKey{})
	if err != nil {
		return nil, err
	}
	world := placement.World{Facts: facts, Ask: placement.By(env.Policies)}
	was, err := placement.GroupsOf(view, facts.Exceptions, []*key.Key{before})
	if err != nil {
		return nil, err
	}
	then, err := placement.GroupsOf(view, facts.Exceptions, []*key.Key{after})
	if err != nil {
		return nil, err
	}
	changes, err := placement.CompareGroups(ctx, world, was, then)
	if err != nil {
		return nil, fmt.Errorf("judging where key %s would live: %w", before.ID, err)
	}
	return changes, nil
}
