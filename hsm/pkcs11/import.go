//go:build cgo

package pkcs11

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/miekg/pkcs11"

	"conclave/hsm"
	"conclave/hsm/checkvalue"
	"conclave/hsm/keywrap"
	"conclave/hsm/secret"
)

var _ hsm.Importer = (*Keystore)(nil)

// takes refuses a specification that does not come in by this form.
func (k *Keystore) takes(form hsm.ImportForm, spec hsm.Spec) error {
	can, known := k.can.ImportsBy(form)
	if !known || !slices.Contains(can.Specs, spec) {
		return fmt.Errorf("specification: %.64q, as %s come %v: %w", string(spec), form, can.Specs, hsm.ErrUnsupported)
	}
	return nil
}

// CreateWrapping implements hsm.Importer: the pair is made inside the token, is never extractable, unwraps and does
// nothing else. That it unwraps the standard form is tried before it is given out.
func (k *Keystore) CreateWrapping(ctx context.Context, id string, spec hsm.Spec, effectID string) (hsm.Material, error) {
	fail := func(err error) (hsm.Material, error) {
		return hsm.Material{}, fmt.Errorf("making wrapping pair %q: %w", id, err)
	}
	name := hsm.WrappingName(id)
	if err := k.checkNew(ctx, name, 1, effectID); err != nil {
		return fail(err)
	}
	if can, _ := k.can.ImportsBy(hsm.ImportWrapped); !slices.Contains(can.WrappingSpecs, spec) {
		return fail(fmt.Errorf("specification: %.64q is none of %v: %w", string(spec), can.WrappingSpecs, hsm.ErrUnsupported))
	}
	done, err := k.alone(ctx)
	if err != nil {
		return fail(err)
	}
	defer done()
	label, oid := objectLabel(name, 1, spec), objectID(k.cfg.ID, effectID)
	made, err := askWithin(ctx, k, makingTime*k.token.cfg.Deadline, func(s *session) (hsm.Material, error) {
		return k.once(s, "", name, 1, spec, effectID, func() error {
			u, err := s.unwrappingNow()
			if err != nil {
				return err
			}
			if err := s.makeSure(u.making(), oid, label, spec, false); err != nil {
				return err
			}
			o, err := s.one(pkcs11.CKO_PRIVATE_KEY, oid)
			if err == nil {
				err = s.provesUnwrapping(u, o, oid, spec)
			}
			if err != nil {
				return errors.Join(err, s.remove(oid))
			}
			return nil
		})
	})
	if err != nil {
		return fail(err)
	}
	return made, nil
}

// once is the material of an effect, made where it is not there yet.
func (k *Keystore) once(s *session, group, key string, version uint32, spec hsm.Spec, effectID string, make func() error) (hsm.Material, error) {
	found, err := k.read(s, effectID)
	if err == nil && found.Key == key && found.Version == version && found.Spec == spec && found.Group == group {
		return found, nil
	}
	if err == nil {
		return found, fmt.Errorf("effect id: it has made version %d of key %.300q: %w", found.Version, found.Key, hsm.ErrInvalid)
	}
	if !errors.Is(err, errNoObject) {
		return found, err
	}
	if err := make(); err != nil {
		return found, err
	}
	return k.read(s, effectID)
}

// provesUnwrapping has the token unwrap a key that was wrapped here, and compares the check value that it computes.
func (s *session) provesUnwrapping(u unwrapping, pair pkcs11.ObjectHandle, id []byte, spec hsm.Spec) error {
	public, err := s.public(id, spec)
	if err != nil {
		return err
	}
	key := secret.Random(keyBytes)
	defer key.Wipe()
	wrapped, err := keywrap.Wrap(spec, public, key)
	if err != nil {
		return err
	}
	want, err := checkvalue.Of(hsm.AES256, key)
	if err != nil {
		return err
	}
	got, err := s.examined(hsm.AES256, func(template []*pkcs11.Attribute) (pkcs11.ObjectHandle, error) {
		return s.unwrap(u, pair, spec, wrapped, template)
	})
	if err == nil && got != want {
		err = errors.New("another key comes out than was wrapped")
	}
	if err != nil && !sessionGone(err) && !objectGone(err) && !tokenGone(err) && !errors.Is(err, errMoved) {
		err = fmt.Errorf("the token does not unwrap as its list of mechanisms says: %w: %v", hsm.ErrUnsupported, err) // not %w: nothing to wait for
	}
	return err
}

// unwrap opens CKM_RSA_AES_KEY_WRAP inside the token, as an object of this template. The key between exists only for
// that, inside too.
func (s *session) unwrap(u unwrapping, pair pkcs11.ObjectHandle, spec hsm.Spec, wrapped []byte, template []*pkcs11.Attribute) (pkcs11.ObjectHandle, error) {
	if u.atOnce {
		m := pkcs11.NewMechanism(pkcs11.CKM_RSA_AES_KEY_WRAP, &pkcs11.RSAAESKeyWrapParams{AESKeyBits: 8 * keyBytes, OAEPParams: *oaep()})
		return s.lib.UnwrapKey(s.handle, []*pkcs11.Mechanism{m}, pair, wrapped, template)
	}
	modulus := spec.ModulusBits() / 8
	between, err := s.lib.UnwrapKey(s.handle, []*pkcs11.Mechanism{pkcs11.NewMechanism(pkcs11.CKM_RSA_PKCS_OAEP, oaep())}, pair, wrapped[:modulus],
		messageKey(false, pkcs11.NewAttribute(pkcs11.CKA_UNWRAP, true)))
	if err != nil {
		return 0, err
	}
	defer func() { _ = s.lib.DestroyObject(s.handle, between) }()
	if n, err := s.length(between); err != nil || n != keyBytes {
		return 0, errors.Join(hsm.ErrUnwrap, messageGone(err))
	}
	o, err := s.lib.UnwrapKey(s.handle, []*pkcs11.Mechanism{pkcs11.NewMechanism(u.kwp, nil)}, between, wrapped[modulus:], template)
	return o, messageGone(err)
}

// length is CKA_VALUE_LEN of a secret key.
func (s *session) length(o pkcs11.ObjectHandle) (int, error) {
	value, err := s.value(o, pkcs11.CKA_VALUE_LEN)
	if err != nil {
		return 0, err
	}
	return int(number(value)), nil
}

// imported is the template of a key that is looked at and not kept: gone with its session.
func imported(spec hsm.Spec, keyType uint) []*pkcs11.Attribute {
	return []*pkcs11.Attribute{pkcs11.NewAttribute(pkcs11.CKA_CLASS, pkcs11.CKO_SECRET_KEY), pkcs11.NewAttribute(pkcs11.CKA_KEY_TYPE, keyType),
		pkcs11.NewAttribute(pkcs11.CKA_TOKEN, false), pkcs11.NewAttribute(pkcs11.CKA_PRIVATE, true), pkcs11.NewAttribute(pkcs11.CKA_SENSITIVE, true),
		pkcs11.NewAttribute(pkcs11.CKA_EXTRACTABLE, false), pkcs11.NewAttribute(pkcs11.CKA_SIGN, spec.Kind() == hsm.Seals || spec.Kind() == hsm.MACs)}
}

// kept is the template of a key that stays: as one that was made here, but for CKA_LOCAL, which a token sets itself.
func kept(spec hsm.Spec, id []byte, label string) []*pkcs11.Attribute {
	m, _ := makingOf(spec)
	uses := []uint{pkcs11.CKA_SIGN}
	if spec.Kind() == hsm.Seals {
		uses = append(uses, pkcs11.CKA_WRAP, pkcs11.CKA_UNWRAP)
	}
	return append(m.template(pkcs11.CKO_SECRET_KEY, id, label, uses...), pkcs11.NewAttribute(pkcs11.CKA_KEY_TYPE, keyTypeOf(spec)))
}

func keyTypeOf(spec hsm.Spec) uint {
	if spec.Kind() == hsm.Seals {
		return pkcs11.CKK_AES
	}
	return pkcs11.CKK_GENERIC_SECRET
}

// examined is the check value of what a template makes in the session, which is gone afterwards: hsm.ErrKeyForm unless it
// is a key of the specification.
func (s *session) examined(spec hsm.Spec, make func(template []*pkcs11.Attribute) (pkcs11.ObjectHandle, error)) (string, error) {
	o, err := make(imported(spec, keyTypeOf(spec)))
	if err != nil {
		return "", err
	}
	defer func() { _ = s.lib.DestroyObject(s.handle, o) }()
	if n, err := s.length(o); err != nil || n != keywrap.KeyBytes(spec) {
		return "", errors.Join(messageGone(err), fmt.Errorf("%d bytes, a key of specification %s has %d: %w", n, spec, keywrap.KeyBytes(spec), hsm.ErrKeyForm))
	}
	value, _, err := s.checkValue(o, nil, spec)
	if err != nil {
		return "", messageGone(err)
	}
	return value, keywrap.CheckUniform(spec, value)
}

// opened is a wrapping pair and how it unwraps.
type opened struct {
	pair pkcs11.ObjectHandle
	how  unwrapping
	spec hsm.Spec
	id   []byte
}

// wrappingPair finds the pair of a material, which must be one and lie as it was made.
func (s *session) wrappingPair(m hsm.Material) (opened, error) {
	id, err := readBlob(m)
	if err != nil {
		return opened{}, err
	}
	o, err := s.one(pkcs11.CKO_PRIVATE_KEY, id)
	if err != nil {
		return opened{}, err
	}
	if err := s.checkKept(o, objectLabel(m.Key, m.Version, m.Specification()), false); err != nil {
		return opened{}, err
	}
	u, err := s.unwrappingNow()
	return opened{pair: o, how: u, spec: m.Specification(), id: id}, err
}

// examineWrapped looks at what came wrapped. What does not open is hsm.ErrUnwrap, whichever layer it was; that it is not
// the token's fault is shown by the pair opening what is wrapped for it now.
func (s *session) examineWrapped(w opened, spec hsm.Spec, wrapped []byte) (string, error) {
	value, err := s.examined(spec, func(template []*pkcs11.Attribute) (pkcs11.ObjectHandle, error) {
		return s.unwrap(w.how, w.pair, w.spec, wrapped, template)
	})
	switch {
	case err == nil || errors.Is(err, hsm.ErrKeyForm) || errors.Is(err, errMoved) || sessionGone(err):
		return value, err
	case objectGone(err) || tokenGone(err):
		return "", err
	}
	// Of another length than an AES key it may be refused as one, and is a key all the same.
	o, anyway := s.unwrap(w.how, w.pair, w.spec, wrapped, imported(hsm.HMACSHA256, pkcs11.CKK_GENERIC_SECRET))
	if anyway == nil {
		n, _ := s.length(o)
		_ = s.lib.DestroyObject(s.handle, o)
		return "", fmt.Errorf("%d bytes, a key of specification %s has %d: %w", n, spec, keywrap.KeyBytes(spec), hsm.ErrKeyForm)
	}
	if s.provesUnwrapping(w.how, w.pair, w.id, w.spec) == nil {
		return "", hsm.ErrUnwrap
	}
	return "", err
}

// checkWrapped refuses by what can be told without the token.
func (k *Keystore) checkWrapped(wrapping hsm.Material, spec hsm.Spec, wrapped []byte) error {
	if !wrapping.IsWrapping() || !slices.Contains(keywrap.Pairs(), wrapping.Specification()) {
		return fmt.Errorf("wrapping pair: %q is none: %w", wrapping.Key, hsm.ErrInvalid)
	}
	if err := k.takes(hsm.ImportWrapped, spec); err != nil {
		return err
	}
	return keywrap.CheckLength(wrapping.Specification(), wrapped)
}

// Examine implements hsm.Importer. The key is unwrapped inside the token, into a session that ends.
func (k *Keystore) Examine(ctx context.Context, wrapping hsm.Material, spec hsm.Spec, wrapped []byte) (string, []byte, error) {
	fail := func(err error) (string, []byte, error) {
		return "", nil, fmt.Errorf("examining a key wrapped for %q: %w", wrapping.Key, err)
	}
	if err := ctx.Err(); err != nil {
		return fail(err)
	}
	if err := k.checkWrapped(wrapping, spec, wrapped); err != nil {
		return fail(err)
	}
	own := bytes.Clone(wrapped)
	value, err := ask(ctx, k, func(s *session) (string, error) {
		w, err := s.wrappingPair(wrapping)
		if err != nil {
			return "", err
		}
		return s.examineWrapped(w, spec, own)
	})
	if err != nil {
		return fail(err)
	}
	return value, nil, nil
}

// ImportWrapped implements hsm.Importer. It is kept only after it was looked at, so that whatever is found under the
// effect's id is whole and right.
func (k *Keystore) ImportWrapped(ctx context.Context, key string, version uint32, spec hsm.Spec, effectID string, wrapping hsm.Material, wrapped []byte) (hsm.Material, error) {
	fail := func(err error) (hsm.Material, error) {
		return hsm.Material{}, fmt.Errorf("importing key %q version %d: %w", key, version, err)
	}
	if err := k.checkKeyNew(ctx, key, version, effectID); err != nil {
		return fail(err)
	}
	if err := k.checkWrapped(wrapping, spec, wrapped); err != nil {
		return fail(err)
	}
	done, err := k.alone(ctx)
	if err != nil {
		return fail(err)
	}
	defer done()
	own := bytes.Clone(wrapped)
	made, err := ask(ctx, k, func(s *session) (hsm.Material, error) {
		return k.once(s, "", key, version, spec, effectID, func() error {
			w, err := s.wrappingPair(wrapping)
			if err != nil {
				return err
			}
			return k.keep(s, key, version, spec, effectID, func(template []*pkcs11.Attribute) (pkcs11.ObjectHandle, error) {
				return s.unwrap(w.how, w.pair, w.spec, own, template)
			}, func() (string, error) { return s.examineWrapped(w, spec, own) })
		})
	})
	if err != nil {
		return fail(err)
	}
	return made, nil
}

// keep examines, and then makes the same once more to stay.
func (k *Keystore) keep(s *session, key string, version uint32, spec hsm.Spec, effectID string,
	make func(template []*pkcs11.Attribute) (pkcs11.ObjectHandle, error), examine func() (string, error)) error {
	value, err := examine()
	if err != nil {
		return err
	}
	id := objectID(k.cfg.ID, effectID)
	o, err := make(kept(spec, id, objectLabel(key, version, spec)))
	if err != nil {
		return err
	}
	got, _, err := s.checkValue(o, nil, spec)
	if err == nil && got != value {
		err = fmt.Errorf("another key was kept than was examined: %w", hsm.ErrCorrupt)
	}
	if err != nil {
		return errors.Join(err, s.remove(id))
	}
	return nil
}
