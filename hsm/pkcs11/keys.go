//go:build cgo

package pkcs11

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/miekg/pkcs11"

	"conclave/hsm"
	"conclave/hsm/keypair"
)

// checkValueBytes is the length of a check value, as in every keystore.
const checkValueBytes = 5

// ask is call for what only an active keystore does.
func ask[T any](ctx context.Context, k *Keystore, do func(s *session) (T, error)) (T, error) {
	return askWithin(ctx, k, k.token.cfg.Deadline, do)
}

func askWithin[T any](ctx context.Context, k *Keystore, deadline time.Duration, do func(s *session) (T, error)) (T, error) {
	if !k.Active() {
		var none T
		return none, hsm.ErrInactive
	}
	return call(ctx, k.token, deadline, do, nil, nil)
}

// makingTime is how many times as long as any other call the making of a key may take: RSA looks for primes.
const makingTime = 12

// makingTries bounds how often the making of a key is tried in one call: SoftHSM refuses it now and then while others
// look at its files. What a failed try left is removed first.
const makingTries = 3

// Create implements hsm.Keystore. The object's id follows from the effect's, so that a second time finds the key that the
// first has made.
func (k *Keystore) Create(ctx context.Context, key string, version uint32, spec hsm.Spec, effectID string) (hsm.Material, error) {
	return k.create(ctx, "", key, version, spec, effectID)
}

// create is Create of a key for a group; "" for one that stays.
func (k *Keystore) create(ctx context.Context, group, key string, version uint32, spec hsm.Spec, effectID string) (hsm.Material, error) {
	fail := func(err error) (hsm.Material, error) {
		return hsm.Material{}, fmt.Errorf("creating key %q version %d: %w", key, version, err)
	}
	m, err := k.checkCreate(ctx, key, version, spec, effectID)
	if err != nil {
		return fail(err)
	}
	done, err := k.alone(ctx)
	if err != nil {
		return fail(err)
	}
	defer done()
	label := labelOf(hsm.Material{Key: key, Version: version, Spec: spec, Group: group})
	made, err := askWithin(ctx, k, makingTime*k.token.cfg.Deadline, func(s *session) (hsm.Material, error) {
		return k.once(s, group, key, version, spec, effectID, func() error {
			return s.makeSure(m, objectID(k.cfg.ID, effectID), label, spec, group != "")
		})
	})
	if err != nil {
		return fail(err)
	}
	return made, nil
}

// alone waits until nobody else makes a key here. Who waits holds no place in the token; a call that is given up at its
// deadline frees the way, whatever the module still does.
func (k *Keystore) alone(ctx context.Context) (done func(), err error) {
	select {
	case k.making <- struct{}{}:
		return func() { <-k.making }, nil
	case <-ctx.Done():
		return nil, fmt.Errorf("waiting for another key to be made: %w", ctx.Err())
	}
}

func (k *Keystore) checkCreate(ctx context.Context, key string, version uint32, spec hsm.Spec, effectID string) (making, error) {
	if err := k.checkKeyNew(ctx, key, version, effectID); err != nil {
		return making{}, err
	}
	m, known := makingOf(spec)
	for _, makes := range k.can.Specs {
		if known && makes == spec {
			return m, nil
		}
	}
	return making{}, fmt.Errorf("specification: %.64q is none of %v: %w", string(spec), k.can.Specs, hsm.ErrUnsupported)
}

// checkKeyNew checks the names of a key that is to be made.
func (k *Keystore) checkKeyNew(ctx context.Context, key string, version uint32, effectID string) error {
	if name := (hsm.Material{Key: key}); name.IsWrapping() || name.IsTransport() {
		return fmt.Errorf("key id: %.64q is that of a pair that keys travel under: %w", key, hsm.ErrInvalid)
	}
	return k.checkNew(ctx, key, version, effectID)
}

func (k *Keystore) checkNew(ctx context.Context, key string, version uint32, effectID string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	for _, id := range []struct{ field, value string }{{"key id", key}, {"effect id", effectID}} {
		if id.value == "" || len(id.value) > maxID {
			return fmt.Errorf("%s: %d bytes long, allowed are 1 to %d: %w", id.field, len(id.value), maxID, hsm.ErrInvalid)
		}
	}
	if version == 0 {
		return fmt.Errorf("key version: 0, allowed are 1 and above: %w", hsm.ErrInvalid)
	}
	return nil
}

func (s *session) makeSure(m making, id []byte, label string, spec hsm.Spec, shared bool) error {
	var err error
	for range makingTries {
		if err = s.make(m, id, label, spec, shared); err == nil || sessionGone(err) || linkGone(err) || objectGone(err) {
			return err
		}
	}
	return err
}

// make makes a key, after what is left of one that was made by halves.
func (s *session) make(m making, id []byte, label string, spec hsm.Spec, shared bool) error {
	if err := s.remove(id); err != nil {
		return err
	}
	mechanism := []*pkcs11.Mechanism{pkcs11.NewMechanism(m.generate, nil)}
	if !spec.Pair() {
		_, err := s.lib.GenerateKey(s.handle, mechanism, m.keyTemplate(id, label, spec, shared))
		return err
	}
	protects, processes := uint(pkcs11.CKA_VERIFY), uint(pkcs11.CKA_SIGN)
	if spec.Kind() == hsm.Deciphers { // a wrapping pair
		protects, processes = pkcs11.CKA_WRAP, pkcs11.CKA_UNWRAP
	}
	public := append(m.template(pkcs11.CKO_PUBLIC_KEY, id, label, protects), m.public(spec)...)
	private := m.template(pkcs11.CKO_PRIVATE_KEY, id, label, processes)
	_, _, err := s.lib.GenerateKeyPair(s.handle, mechanism, public, private)
	return err
}

// remove destroys whatever has an id.
func (s *session) remove(id []byte) error {
	for _, class := range []uint{pkcs11.CKO_PRIVATE_KEY, pkcs11.CKO_SECRET_KEY, pkcs11.CKO_PUBLIC_KEY} {
		found, err := s.all(class, id)
		if err != nil {
			return err
		}
		for _, o := range found {
			if err := s.lib.DestroyObject(s.handle, o); err != nil && !objectGone(err) {
				return err
			}
		}
	}
	return nil
}

// read is the material of what an effect made: errNoObject for nothing, or half of a pair.
func (k *Keystore) read(s *session, effectID string) (hsm.Material, error) {
	id := objectID(k.cfg.ID, effectID)
	var o pkcs11.ObjectHandle
	err := error(errNoObject)
	for _, class := range []uint{pkcs11.CKO_SECRET_KEY, pkcs11.CKO_PRIVATE_KEY} {
		if o, err = s.one(class, id); err == nil || !errors.Is(err, errNoObject) {
			break
		}
	}
	if err != nil {
		return hsm.Material{}, err
	}
	label, err := s.value(o, pkcs11.CKA_LABEL)
	if err != nil {
		return hsm.Material{}, err
	}
	m, ok := readLabel(string(label))
	if m.EffectID, m.Blob = effectID, blobOf(id); !ok {
		return hsm.Material{}, fmt.Errorf("the object of effect %.64q is labelled %.300q: %w", effectID, label, hsm.ErrCorrupt)
	}
	if err := s.checkKept(o, string(label), m.Group != ""); err != nil {
		return hsm.Material{}, err
	}
	m.CheckValue, m.Public, err = s.checkValue(o, id, m.Spec)
	return m, err
}

// checkValue is computed inside the token, but for the hash of a public half, which is no secret.
func (s *session) checkValue(o pkcs11.ObjectHandle, id []byte, spec hsm.Spec) (value string, public []byte, err error) {
	var full []byte
	switch spec.Kind() {
	case hsm.Seals:
		full, err = s.sign(o, pkcs11.NewMechanism(pkcs11.CKM_AES_CMAC, nil), make([]byte, 16))
	case hsm.MACs:
		m, _ := makingOf(spec)
		full, err = s.sign(o, pkcs11.NewMechanism(m.use[0], nil), []byte(hsm.CheckLabel))
	default:
		if public, err = s.public(id, spec); err == nil {
			value = keypair.CheckValue(public)
		}
		return value, public, err
	}
	if err == nil && len(full) < checkValueBytes {
		err = fmt.Errorf("a MAC of %d bytes: %w", len(full), hsm.ErrCorrupt)
	}
	if err != nil {
		return "", nil, err
	}
	return strings.ToUpper(hex.EncodeToString(full[:checkValueBytes])), nil, nil
}

// sign is one signature or MAC.
func (s *session) sign(o pkcs11.ObjectHandle, mechanism *pkcs11.Mechanism, message []byte) ([]byte, error) {
	if err := s.lib.SignInit(s.handle, []*pkcs11.Mechanism{mechanism}, o); err != nil {
		return nil, err
	}
	return s.lib.Sign(s.handle, message)
}

// Find implements hsm.Keystore.
func (k *Keystore) Find(ctx context.Context, effectID string) (hsm.Material, error) {
	if effectID == "" || len(effectID) > maxID {
		return hsm.Material{}, fmt.Errorf("effect id: %d bytes long, allowed are 1 to %d: %w", len(effectID), maxID, hsm.ErrInvalid)
	}
	m, err := ask(ctx, k, func(s *session) (hsm.Material, error) { return k.read(s, effectID) })
	if err != nil {
		return hsm.Material{}, fmt.Errorf("looking for the key of effect %q: %w", effectID, err)
	}
	return m, nil
}

// Destroy implements hsm.Keystore: the objects are destroyed in the token, open handles end. It takes an active keystore;
// until then the key is not destroyed.
func (k *Keystore) Destroy(ctx context.Context, m hsm.Material) error {
	id, err := readBlob(m)
	if err == nil {
		k.endHandles(id)
		_, err = ask(ctx, k, func(s *session) (struct{}, error) {
			err := s.remove(id)
			if err == nil {
				if info, lost := s.lib.GetTokenInfo(s.slot); lost != nil || !k.token.fits(info) { // nothing is found where no token is
					err = pkcs11.Error(pkcs11.CKR_TOKEN_NOT_PRESENT)
				}
			}
			return struct{}{}, err
		})
	}
	if err != nil {
		return fmt.Errorf("destroying key %q version %d: %w", m.Key, m.Version, err)
	}
	k.endHandles(id) // those that were opened meanwhile
	return nil
}

func (k *Keystore) endHandles(id []byte) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for h := range k.handles {
		if string(h.ref.id) == string(id) {
			h.end(hsm.ErrClosed)
			delete(k.handles, h)
		}
	}
}

// Open implements hsm.Keystore. The key is looked for, its name, its protection and its check value are compared.
func (k *Keystore) Open(ctx context.Context, m hsm.Material) (hsm.Handle, error) {
	fail := func(err error) (hsm.Handle, error) {
		return nil, fmt.Errorf("opening key %q version %d: %w", m.Key, m.Version, err)
	}
	if err := ctx.Err(); err != nil {
		return fail(err)
	}
	if !k.Active() {
		return fail(hsm.ErrInactive)
	}
	id, err := readBlob(m)
	if err != nil {
		return fail(err)
	}
	spec := m.Specification()
	if _, makes := makingOf(spec); !makes {
		return fail(fmt.Errorf("specification: %.64q: %w", string(spec), hsm.ErrUnsupported))
	}
	if m.IsTransport() {
		return fail(fmt.Errorf("a pair that keys travel under opens those and does nothing else: %w", hsm.ErrUnsupported))
	}
	ref := referenceTo(id, labelOf(m), spec)
	_, err = ask(ctx, k, func(s *session) (struct{}, error) {
		return with(s, ref, func(o pkcs11.ObjectHandle) (struct{}, error) {
			if err := s.checkKept(o, ref.label, m.Group != ""); err != nil {
				return struct{}{}, err
			}
			check, _, err := s.checkValue(o, id, spec)
			if err == nil && check != m.CheckValue {
				err = fmt.Errorf("check value %.16q does not belong to the key in the token: %w", m.CheckValue, hsm.ErrCorrupt)
			}
			return struct{}{}, err
		})
	})
	if err != nil {
		return fail(err)
	}
	h, common := k.handleOf(m, ref)
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.active == nil {
		return fail(hsm.ErrInactive)
	}
	k.handles[common] = struct{}{}
	return h, nil
}
