package soft

import (
	"context"
	"fmt"
	"slices"

	"conclave/hsm"
	"conclave/hsm/checkvalue"
	"conclave/hsm/keypair"
	"conclave/hsm/keywrap"
	"conclave/hsm/secret"
)

// imports is what this keystore takes. The boundary is the process: a key is whole nowhere else.
func imports() []hsm.ImportCapability {
	return []hsm.ImportCapability{
		{Form: hsm.ImportComponents, Specs: []hsm.Spec{hsm.AES256}, Inside: true},
		{Form: hsm.ImportWrapped, Specs: hsm.Specs(), WrappingSpecs: keywrap.Pairs(), Inside: true},
	}
}

// takes refuses a specification that does not come in by this form.
func takes(form hsm.ImportForm, spec hsm.Spec) error {
	for _, i := range imports() {
		if i.Form == form && !slices.Contains(i.Specs, spec) {
			return fmt.Errorf("specification: %.64q, as %s come %v: %w", string(spec), form, i.Specs, hsm.ErrUnsupported)
		}
	}
	return nil
}

// CreateWrapping implements hsm.Importer. The blob is bound to the name of a wrapping pair, which no key has.
func (k *Keystore) CreateWrapping(ctx context.Context, id string, spec hsm.Spec, effectID string) (hsm.Material, error) {
	fail := func(err error) (hsm.Material, error) {
		return hsm.Material{}, fmt.Errorf("making wrapping pair %q: %w", id, err)
	}
	if !slices.Contains(keywrap.Pairs(), spec) {
		return fail(fmt.Errorf("specification: %.64q is none of %v: %w", string(spec), keywrap.Pairs(), hsm.ErrUnsupported))
	}
	if err := k.checkCreate(ctx, id, 1, spec, effectID); err != nil {
		return fail(err)
	}
	if err := checkID("wrapping pair id", hsm.WrappingName(id)); err != nil {
		return fail(err)
	}
	if !k.Active() {
		return fail(hsm.ErrInactive)
	}
	private, public, err := keypair.Generate(spec)
	if err != nil {
		return fail(err)
	}
	defer private.Wipe()
	m, err := k.keep(hsm.Material{Key: hsm.WrappingName(id), Version: 1, Spec: spec, EffectID: effectID, Public: public}, private)
	if err != nil {
		return fail(err)
	}
	return m, nil
}

// unwrapKey opens what came wrapped, as a key of a specification.
func (k *Keystore) unwrapKey(wrapping hsm.Material, spec hsm.Spec, wrapped []byte) (own *secret.Bytes, public []byte, err error) {
	pair := wrapping.Specification()
	if !wrapping.IsWrapping() || !slices.Contains(keywrap.Pairs(), pair) {
		return nil, nil, fmt.Errorf("wrapping pair: %q is none: %w", wrapping.Key, hsm.ErrInvalid)
	}
	if err := takes(hsm.ImportWrapped, spec); err != nil {
		return nil, nil, err
	}
	k.mu.Lock()
	if k.wrapping == nil {
		k.mu.Unlock()
		return nil, nil, hsm.ErrInactive
	}
	encoded, err := k.unwrapAny(wrapping)
	k.mu.Unlock()
	if err != nil {
		return nil, nil, err
	}
	defer encoded.Wipe()
	err = encoded.Use(func(pkcs8 []byte) error {
		private, err := keypair.ParsePrivate(pair, pkcs8)
		if err != nil {
			return err
		}
		key, err := keywrap.Unwrap(pair, private, wrapped)
		if err != nil {
			return err
		}
		defer key.Wipe()
		own, public, err = keywrap.Take(spec, key)
		return err
	})
	return own, public, err
}

// Examine implements hsm.Importer.
func (k *Keystore) Examine(ctx context.Context, wrapping hsm.Material, spec hsm.Spec, wrapped []byte) (string, []byte, error) {
	fail := func(err error) (string, []byte, error) {
		return "", nil, fmt.Errorf("examining a key wrapped for %q: %w", wrapping.Key, err)
	}
	if err := ctx.Err(); err != nil {
		return fail(err)
	}
	own, public, err := k.unwrapKey(wrapping, spec, wrapped)
	if err != nil {
		return fail(err)
	}
	defer own.Wipe()
	value, err := checkvalue.Of(spec, own)
	if err != nil {
		return fail(err)
	}
	return value, public, nil
}

// ImportWrapped implements hsm.Importer. As with Create nothing is stored here.
func (k *Keystore) ImportWrapped(ctx context.Context, key string, version uint32, spec hsm.Spec, effectID string, wrapping hsm.Material, wrapped []byte) (hsm.Material, error) {
	fail := func(err error) (hsm.Material, error) {
		return hsm.Material{}, fmt.Errorf("importing key %q version %d: %w", key, version, err)
	}
	if err := k.checkCreate(ctx, key, version, spec, effectID); err != nil {
		return fail(err)
	}
	own, public, err := k.unwrapKey(wrapping, spec, wrapped)
	if err != nil {
		return fail(err)
	}
	defer own.Wipe()
	m, err := k.keep(hsm.Material{Key: key, Version: version, Spec: spec, EffectID: effectID, Public: public}, own)
	if err != nil {
		return fail(err)
	}
	return m, nil
}

// ImportComponents implements hsm.Importer. As with Create nothing is stored here.
func (k *Keystore) ImportComponents(ctx context.Context, key string, version uint32, spec hsm.Spec, effectID string, components []*secret.Bytes) (hsm.Material, error) {
	fail := func(err error) (hsm.Material, error) {
		return hsm.Material{}, fmt.Errorf("importing key %q version %d: %w", key, version, err)
	}
	if err := k.checkCreate(ctx, key, version, spec, effectID); err != nil {
		return fail(err)
	}
	if err := takes(hsm.ImportComponents, spec); err != nil {
		return fail(err)
	}
	if !k.Active() {
		return fail(hsm.ErrInactive)
	}
	whole, err := keywrap.Combine(spec, components)
	if err != nil {
		return fail(err)
	}
	defer whole.Wipe()
	m, err := k.keep(hsm.Material{Key: key, Version: version, Spec: spec, EffectID: effectID}, whole)
	if err != nil {
		return fail(err)
	}
	return m, nil
}
