package soft

import (
	"context"
	"crypto/subtle"
	"fmt"

	"conclave/hsm"
	"conclave/hsm/checkvalue"
	"conclave/hsm/keywrap"
	"conclave/hsm/secret"
)

// Shares implements hsm.Member.
func (*Keystore) Shares() []hsm.Spec { return hsm.Specs() }

// Introduce implements hsm.Member. Nothing is stored here: each call makes another pair.
func (k *Keystore) Introduce(ctx context.Context, group string) (hsm.Material, error) {
	fail := func(err error) (hsm.Material, error) {
		return hsm.Material{}, fmt.Errorf("making the transport pair of keystore %q for group %q: %w", k.id, group, err)
	}
	if err := ctx.Err(); err != nil {
		return fail(err)
	}
	if err := checkID("group", hsm.TransportName(group)); err != nil {
		return fail(err)
	}
	if !k.Active() {
		return fail(hsm.ErrInactive)
	}
	m, err := k.makeTransport(hsm.TransportName(group))
	if err != nil {
		return fail(err)
	}
	return m, nil
}

// Trust implements hsm.Member. Whom keys are sent to, the caller says each time by the group's governed record.
func (k *Keystore) Trust(_ context.Context, group string, peer hsm.Peer) error {
	if _, err := transportPoint(peer.Public); err != nil {
		return fmt.Errorf("trusting member %q of group %q: %w", peer.Member, group, err)
	}
	return nil
}

// Distrust implements hsm.Member: nothing is stored here.
func (*Keystore) Distrust(context.Context, string, string) error { return nil }

// Leave implements hsm.Member: nothing is stored here.
func (*Keystore) Leave(context.Context, string) error { return nil }

// CreateShared implements hsm.Member.
func (k *Keystore) CreateShared(ctx context.Context, group, key string, version uint32, spec hsm.Spec, effectID string) (hsm.Material, error) {
	if err := k.checkCreate(ctx, key, version, spec, effectID); err != nil {
		return hsm.Material{}, err
	}
	if err := checkID("group", group); err != nil {
		return hsm.Material{}, err
	}
	if !k.Active() {
		return hsm.Material{}, fmt.Errorf("creating key %q version %d: %w", key, version, hsm.ErrInactive)
	}
	return k.make(hsm.Material{Key: key, Version: version, Spec: spec, EffectID: effectID, Group: group})
}

// Send implements hsm.Member. That the key was made for a group is bound into its blob.
func (k *Keystore) Send(ctx context.Context, m hsm.Material, peer hsm.Peer) ([]byte, error) {
	fail := func(err error) ([]byte, error) {
		return nil, fmt.Errorf("sending key %q version %d to member %q: %w", m.Key, m.Version, peer.Member, err)
	}
	if err := ctx.Err(); err != nil {
		return fail(err)
	}
	if m.Group == "" {
		return fail(hsm.ErrNotShared)
	}
	k.mu.Lock()
	if k.wrapping == nil {
		k.mu.Unlock()
		return fail(hsm.ErrInactive)
	}
	versionKey, err := k.unwrapAny(m)
	k.mu.Unlock()
	if err != nil {
		return fail(err)
	}
	defer versionKey.Wipe()
	to, err := transportPoint(peer.Public)
	if err != nil {
		return fail(err)
	}
	sealed, err := sealTransfer(m, versionKey, to)
	if err != nil {
		return fail(err)
	}
	return sealed, nil
}

// Receive implements hsm.Member. As with Create nothing is stored here.
func (k *Keystore) Receive(ctx context.Context, own, m hsm.Material, sealed []byte) (hsm.Material, error) {
	fail := func(err error) (hsm.Material, error) {
		return hsm.Material{}, fmt.Errorf("receiving key %q version %d: %w", m.Key, m.Version, err)
	}
	if err := k.checkCreate(ctx, m.Key, m.Version, m.Specification(), m.EffectID); err != nil {
		return fail(err)
	}
	if m.Group == "" || own.Key != hsm.TransportName(m.Group) {
		return fail(fmt.Errorf("%q is not the transport pair of group %q: %w", own.Key, m.Group, hsm.ErrInvalid))
	}
	private, err := k.openTransport(own)
	if err != nil {
		return fail(err)
	}
	sent, err := openTransfer(m, private, sealed)
	if err != nil {
		return fail(err)
	}
	versionKey, public, err := keywrap.Take(m.Specification(), sent)
	if err != nil {
		return fail(err)
	}
	defer versionKey.Wipe()
	if err := sameKey(m, versionKey); err != nil {
		return fail(err)
	}
	kept, err := k.keep(hsm.Material{Key: m.Key, Version: m.Version, Spec: m.Specification(), EffectID: m.EffectID, Public: public, Group: m.Group}, versionKey)
	if err != nil {
		return fail(err)
	}
	return kept, nil
}

// sameKey compares the check value of what came with the one that it must have.
func sameKey(m hsm.Material, versionKey *secret.Bytes) error {
	value, err := checkvalue.Of(m.Specification(), versionKey)
	if err != nil {
		return err
	}
	if subtle.ConstantTimeCompare([]byte(value), []byte(m.CheckValue)) != 1 {
		return fmt.Errorf("check value %s, sent was %.16q: %w", value, m.CheckValue, hsm.ErrCorrupt)
	}
	return nil
}
