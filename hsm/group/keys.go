package group

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"conclave/hsm"
)

// hold waits until nobody makes, sends or destroys keys of the group.
func (k *Keystore) hold(ctx context.Context) (release func(), err error) {
	select {
	case k.transfers <- struct{}{}:
		return func() { <-k.transfers }, nil
	case <-ctx.Done():
		return nil, fmt.Errorf("waiting for a transfer of group %q: %w", k.cfg.ID, ctx.Err())
	}
}

// Create implements hsm.Keystore: one member makes the key, the others are sent it. Where fewer than LeastCopies members
// can have it the answer is hsm.ErrUnavailable, and a second call goes on with what there is.
func (k *Keystore) Create(ctx context.Context, key string, version uint32, spec hsm.Spec, effectID string) (hsm.Material, error) {
	fail := func(err error) (hsm.Material, error) {
		return hsm.Material{}, fmt.Errorf("creating key %q version %d in group %q: %w", key, version, k.cfg.ID, err)
	}
	release, err := k.hold(ctx)
	if err != nil {
		return fail(err)
	}
	defer release()
	members := k.cfg.Members()
	if !slices.ContainsFunc(members, Member.able) {
		return fail(hsm.ErrInactive)
	}
	if !slices.Contains(k.Capabilities().Specs, spec) {
		return fail(fmt.Errorf("specification: %.64q is none of %v: %w", string(spec), k.Capabilities().Specs, hsm.ErrUnsupported))
	}
	m, err := k.made(ctx, members, effectID)
	if err == nil && (m.Key != key || m.Version != version || m.Specification() != spec) {
		return fail(fmt.Errorf("effect id: it has made version %d of key %.300q: %w", m.Version, m.Key, hsm.ErrInvalid))
	}
	if err != nil {
		if m, err = k.make(ctx, members, key, version, spec, effectID); err != nil {
			return fail(err)
		}
	}
	return k.spread(ctx, members, m)
}

// made is the key of an effect in the members that have it and can be asked; hsm.ErrNotFound for none.
func (k *Keystore) made(ctx context.Context, members []Member, effectID string) (hsm.Material, error) {
	for _, m := range members {
		if !m.able() {
			continue
		}
		if found, err := m.Driver.Find(ctx, effectID); err == nil && found.Group == k.cfg.ID {
			return k.group(found, m.ID), nil
		}
	}
	return hsm.Material{}, hsm.ErrNotFound
}

// make has the first member that can make the key.
func (k *Keystore) make(ctx context.Context, members []Member, key string, version uint32, spec hsm.Spec, effectID string) (hsm.Material, error) {
	err := error(hsm.ErrInactive)
	for _, m := range members {
		if !m.able() {
			continue
		}
		var own hsm.Material
		if own, err = m.Driver.CreateShared(ctx, k.cfg.ID, key, version, spec, effectID); err == nil {
			return k.group(own, m.ID), nil
		}
		if !hsm.Waits(err) || ctx.Err() != nil {
			break
		}
	}
	return hsm.Material{}, err
}

// group is the group's material of a key that one member holds.
func (k *Keystore) group(own hsm.Material, member string) hsm.Material {
	m := own
	m.Wrapping, m.Group = "", k.cfg.ID
	m.Blob = k.name(m)
	m.Copies = []hsm.Copy{copyOf(own, member)}
	return m
}

// name is the blob of a key of a group, which tells what the copies are of: SHA-256 over the group and what they are to be.
// Lengths precede strings.
func (k *Keystore) name(m hsm.Material) []byte {
	h := sha256.New()
	for _, s := range []string{marker, k.cfg.ID, m.Key, string(m.Specification()), m.CheckValue} {
		h.Write(binary.BigEndian.AppendUint32(nil, uint32(len(s))))
		h.Write([]byte(s))
	}
	h.Write(binary.BigEndian.AppendUint32(nil, m.Version))
	return h.Sum([]byte{blobFormat})
}

func copyOf(own hsm.Material, member string) hsm.Copy {
	return hsm.Copy{Member: member, Blob: own.Blob, CheckValue: own.CheckValue, Wrapping: own.Wrapping}
}

// spread sends a key to every member that can be asked, and refuses what too few hold.
func (k *Keystore) spread(ctx context.Context, members []Member, m hsm.Material) (hsm.Material, error) {
	added, missing := k.complete(ctx, members, m)
	m.Copies = append(m.Copies, added...)
	if len(m.Copies) < LeastCopies {
		return hsm.Material{}, fmt.Errorf("key %q version %d is in %d members of group %q, needed are %d: %w: %w", m.Key, m.Version, len(m.Copies), k.cfg.ID, LeastCopies,
			hsm.ErrUnavailable, missing)
	}
	return m, nil
}

// complete sends a key to every serving member that does not hold it. missing says why some still do not.
func (k *Keystore) complete(ctx context.Context, members []Member, m hsm.Material) (added []hsm.Copy, missing error) {
	var errs []error
	for _, to := range members {
		if _, has := m.In(to.ID); has || !to.Serving {
			continue
		}
		if !to.able() {
			errs = append(errs, fmt.Errorf("member %q: %w", to.ID, hsm.ErrInactive))
			continue
		}
		got, err := k.send(ctx, members, m, to)
		if err != nil {
			k.log.Warn("a member did not get a key", "group", k.cfg.ID, "member", to.ID, "key", m.Key, "version", m.Version, "error", err)
			errs = append(errs, fmt.Errorf("member %q: %w", to.ID, err))
			continue
		}
		added = append(added, copyOf(got, to.ID))
	}
	return added, errors.Join(errs...)
}

// send sends a key from the first member that can.
func (k *Keystore) send(ctx context.Context, members []Member, m hsm.Material, to Member) (hsm.Material, error) {
	bare := m
	bare.Copies, bare.Blob, bare.Wrapping = nil, nil, ""
	err := error(hsm.ErrInactive)
	for _, from := range members {
		own, has := m.In(from.ID)
		if !has || from.ID == to.ID || from.Driver == nil || !from.Driver.Active() { // a drained one may still give
			continue
		}
		var sealed []byte
		if sealed, err = from.Driver.Send(ctx, own, to.peer()); err != nil {
			continue
		}
		var got hsm.Material
		if got, err = to.Driver.Receive(ctx, to.Transport, bare, sealed); err == nil && got.CheckValue != m.CheckValue {
			err = fmt.Errorf("check value %s, sent was %s: %w", got.CheckValue, m.CheckValue, hsm.ErrCorrupt)
		}
		if err == nil {
			return got, nil
		}
	}
	return hsm.Material{}, err
}

// Complete sends a key to every serving member that does not hold it, and returns what was added; missing says why some
// members still do not. exists is asked while nothing can be destroyed: whether there still is such a key.
func (k *Keystore) Complete(ctx context.Context, m hsm.Material, exists func() bool) (added []hsm.Copy, missing error) {
	release, err := k.hold(ctx)
	if err != nil {
		return nil, err
	}
	defer release()
	if err := k.check(m); err != nil {
		return nil, err
	}
	if !exists() {
		return nil, nil
	}
	return k.complete(ctx, k.cfg.Members(), m)
}

// Prove has one member show that it holds a key, by the check value that it computes itself.
func (k *Keystore) Prove(ctx context.Context, m hsm.Material, member string) error {
	own, has := m.In(member)
	i := slices.IndexFunc(k.cfg.Members(), func(x Member) bool { return x.ID == member })
	if i < 0 || !has {
		return fmt.Errorf("member %q holds no version %d of key %q: %w", member, m.Version, m.Key, hsm.ErrNotFound)
	}
	d := k.cfg.Members()[i].Driver
	if d == nil {
		return fmt.Errorf("member %q: %w", member, hsm.ErrInactive)
	}
	h, err := d.Open(ctx, own) // which compares the check value
	if err != nil {
		return fmt.Errorf("member %q: %w", member, err)
	}
	h.Close()
	return nil
}

// Find implements hsm.Keystore: a key that a serving member has is sent to the others. Where none has it and one could not
// be asked, nothing can be told: hsm.ErrUnavailable, until that one answers or is drained.
func (k *Keystore) Find(ctx context.Context, effectID string) (hsm.Material, error) {
	fail := func(err error) (hsm.Material, error) {
		return hsm.Material{}, fmt.Errorf("looking for the key of effect %q in group %q: %w", effectID, k.cfg.ID, err)
	}
	release, err := k.hold(ctx)
	if err != nil {
		return fail(err)
	}
	defer release()
	members := k.cfg.Members()
	m, err := k.made(ctx, members, effectID)
	if err == nil {
		return k.spread(ctx, members, m)
	}
	if k.Capabilities().StoresKeys {
		for _, x := range members {
			if !x.Serving {
				continue
			}
			if x.Driver == nil {
				return fail(fmt.Errorf("member %q: %w", x.ID, hsm.ErrInactive))
			}
			if _, lost := x.Driver.Find(ctx, effectID); !errors.Is(lost, hsm.ErrNotFound) {
				return fail(fmt.Errorf("member %q: %w", x.ID, errors.Join(lost, hsm.ErrUnavailable)))
			}
		}
	}
	return fail(err)
}

// Destroy implements hsm.Keystore: in every member, drained ones among them, also what was sent and not recorded. One that
// can not be asked keeps the key from counting as destroyed.
func (k *Keystore) Destroy(ctx context.Context, m hsm.Material) error {
	fail := func(err error) error {
		return fmt.Errorf("destroying key %q version %d in group %q: %w", m.Key, m.Version, k.cfg.ID, err)
	}
	release, err := k.hold(ctx)
	if err != nil {
		return fail(err)
	}
	defer release()
	k.endHandles(m)
	var errs []error
	for _, x := range k.cfg.Members() {
		if err := destroyIn(ctx, x, m); err != nil {
			errs = append(errs, fmt.Errorf("member %q: %w", x.ID, err))
		}
	}
	k.endHandles(m) // those that were opened meanwhile
	if err := errors.Join(errs...); err != nil {
		return fail(err)
	}
	return nil
}

func destroyIn(ctx context.Context, x Member, m hsm.Material) error {
	if x.Driver == nil {
		return hsm.ErrInactive
	}
	own, has := m.In(x.ID)
	if !has && !x.Driver.Capabilities().StoresKeys {
		return nil
	}
	if !has {
		var err error
		if own, err = x.Driver.Find(ctx, m.EffectID); errors.Is(err, hsm.ErrNotFound) {
			return nil
		} else if err != nil {
			return err
		}
	}
	return x.Driver.Destroy(ctx, own)
}

// DestroyIn destroys a key in one member only: it leaves the group.
func (k *Keystore) DestroyIn(ctx context.Context, m hsm.Material, member string) error {
	release, err := k.hold(ctx)
	if err != nil {
		return err
	}
	defer release()
	for _, x := range k.cfg.Members() {
		if x.ID == member {
			if err := destroyIn(ctx, x, m); err != nil {
				return fmt.Errorf("destroying key %q version %d in member %q: %w", m.Key, m.Version, member, err)
			}
		}
	}
	return nil
}

// check refuses material that is not a key of this group: one blob, and copies whose check values are the key's.
func (k *Keystore) check(m hsm.Material) error {
	if !bytes.Equal(m.Blob, k.name(m)) || m.Group != k.cfg.ID || len(m.Copies) == 0 {
		return fmt.Errorf("not a key of group %q: %w", k.cfg.ID, hsm.ErrCorrupt)
	}
	for _, c := range m.Copies {
		if c.CheckValue != m.CheckValue {
			return fmt.Errorf("check value %.16q of member %q is not the key's: %w", c.CheckValue, c.Member, hsm.ErrCorrupt)
		}
	}
	return nil
}
