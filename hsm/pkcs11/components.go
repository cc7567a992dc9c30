//go:build cgo

package pkcs11

import (
	"context"
	"fmt"

	"github.com/miekg/pkcs11"

	"conclave/hsm"
	"conclave/hsm/keywrap"
	"conclave/hsm/secret"
)

// ImportComponents implements hsm.Importer: the first component becomes a key of the token, the others are added to it
// there (CKM_XOR_BASE_AND_DATA). The whole is never outside of it.
func (k *Keystore) ImportComponents(ctx context.Context, key string, version uint32, spec hsm.Spec, effectID string, components []*secret.Bytes) (hsm.Material, error) {
	fail := func(err error) (hsm.Material, error) {
		return hsm.Material{}, fmt.Errorf("importing key %q version %d: %w", key, version, err)
	}
	if err := k.checkKeyNew(ctx, key, version, effectID); err != nil {
		return fail(err)
	}
	if err := k.takes(hsm.ImportComponents, spec); err != nil {
		return fail(err)
	}
	if !k.Active() {
		return fail(hsm.ErrInactive)
	}
	if err := keywrap.CheckComponents(spec, components); err != nil {
		return fail(err)
	}
	own := make([]*secret.Bytes, len(components)) // what runs may outlast this call
	for i, c := range components {
		own[i] = c.Clone()
	}
	wipe := func() {
		for _, c := range own {
			c.Wipe()
		}
	}
	done, err := k.alone(ctx)
	if err != nil {
		wipe()
		return fail(err)
	}
	defer done()
	made, err := call(ctx, k.token, k.token.cfg.Deadline, func(s *session) (hsm.Material, error) {
		return k.once(s, "", key, version, spec, effectID, func() error {
			combined := func(template []*pkcs11.Attribute) (pkcs11.ObjectHandle, error) {
				return s.combine(own, append(template, pkcs11.NewAttribute(pkcs11.CKA_VALUE_LEN, keywrap.KeyBytes(spec))))
			}
			return k.keep(s, key, version, spec, effectID, combined, func() (string, error) { return s.examined(spec, combined) })
		})
	}, nil, wipe)
	if err != nil {
		return fail(err)
	}
	return made, nil
}

// combine is the XOR of components, made in the token as an object of this template.
func (s *session) combine(components []*secret.Bytes, template []*pkcs11.Attribute) (pkcs11.ObjectHandle, error) {
	var sum pkcs11.ObjectHandle
	base := func() []*pkcs11.Attribute { // what is added to is no key yet, and gone with the session
		return append(imported("", pkcs11.CKK_GENERIC_SECRET), pkcs11.NewAttribute(pkcs11.CKA_DERIVE, true))
	}
	err := components[0].Use(func(b []byte) (err error) {
		sum, err = s.lib.CreateObject(s.handle, append(base(), pkcs11.NewAttribute(pkcs11.CKA_VALUE, b)))
		return err
	})
	if err != nil {
		return 0, err
	}
	for i, c := range components[1:] {
		before, as := sum, template
		if i < len(components)-2 {
			as = append(base(), pkcs11.NewAttribute(pkcs11.CKA_VALUE_LEN, c.Len()))
		}
		err := c.Use(func(b []byte) error {
			return xorWith(b, func(m *pkcs11.Mechanism) (err error) {
				sum, err = s.lib.DeriveKey(s.handle, []*pkcs11.Mechanism{m}, before, as)
				return err
			})
		})
		_ = s.lib.DestroyObject(s.handle, before)
		if err != nil {
			return 0, messageGone(err)
		}
	}
	return sum, nil
}
