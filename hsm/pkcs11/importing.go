//go:build cgo

package pkcs11

import (
	"crypto/rand"
	"fmt"
	"runtime"
	"slices"
	"unsafe"

	"github.com/miekg/pkcs11"

	"conclave/hsm"
	"conclave/hsm/keywrap"
)

// AES-KWP (SP 800-38F 6.3, RFC 5649) by its name in PKCS #11 3.0, and by the one of 2.40, under which some tokens have
// something else: what a wrapping pair is made for is tried when it is made.
const (
	ckmAESKWP     = 0x210B
	ckmAESWrapPad = pkcs11.CKM_AES_KEY_WRAP_PAD
)

// unwrapping is how a token opens CKM_RSA_AES_KEY_WRAP: by that name at once, or in the two steps that it consists of.
type unwrapping struct {
	atOnce bool
	kwp    uint // the second step
}

// mechanism is what a wrapping pair is pinned to.
func (u unwrapping) mechanism() uint {
	if u.atOnce {
		return pkcs11.CKM_RSA_AES_KEY_WRAP
	}
	return pkcs11.CKM_RSA_PKCS_OAEP
}

func (u unwrapping) making() making {
	return making{generate: pkcs11.CKM_RSA_PKCS_KEY_PAIR_GEN, use: []uint{u.mechanism()}}
}

// oaep are the parameters of the form: SHA-256 for hash and MGF1, no label. Nothing weaker stands in for them.
func oaep() *pkcs11.OAEPParams {
	return pkcs11.NewOAEPParams(pkcs11.CKM_SHA256, pkcs11.CKG_MGF1_SHA256, pkcs11.CKZ_DATA_SPECIFIED, nil)
}

// imports is what a token takes of keys made elsewhere: symmetric ones, wrapped where it has the standard form, and in
// components where it combines them. Halves of pairs are not among them: a token that unwraps a private half does not
// tell the public one.
func (t *token) imports(lib *pkcs11.Ctx, slot uint, has abilities, specs []hsm.Spec) []hsm.ImportCapability {
	symmetric := slices.DeleteFunc(slices.Clone(specs), func(s hsm.Spec) bool { return keywrap.KeyBytes(s) == 0 })
	var out []hsm.ImportCapability
	if has.can(pkcs11.CKM_XOR_BASE_AND_DATA, pkcs11.CKF_DERIVE) {
		out = append(out, hsm.ImportCapability{Form: hsm.ImportComponents, Specs: []hsm.Spec{hsm.AES256}, Inside: true})
	}
	if _, can := has.unwrapping(); can && has.can(pkcs11.CKM_RSA_PKCS_KEY_PAIR_GEN, pkcs11.CKF_GENERATE_KEY_PAIR) && t.takesOAEP(lib, slot, has) {
		out = append(out, hsm.ImportCapability{Form: hsm.ImportWrapped, Specs: symmetric, WrappingSpecs: keywrap.Pairs(), Inside: true})
	}
	return out
}

// abilities are the mechanisms of a token with their flags.
type abilities map[uint]uint

func (a abilities) can(mechanism, flags uint) bool { return a[mechanism]&flags == flags }

// unwrapping is how the token would open what came wrapped, by its list of mechanisms.
func (a abilities) unwrapping() (unwrapping, bool) {
	if a.can(pkcs11.CKM_RSA_AES_KEY_WRAP, pkcs11.CKF_UNWRAP) {
		return unwrapping{atOnce: true}, true
	}
	for _, kwp := range []uint{ckmAESKWP, ckmAESWrapPad} {
		if a.can(pkcs11.CKM_RSA_PKCS_OAEP, pkcs11.CKF_UNWRAP) && a.can(kwp, pkcs11.CKF_UNWRAP) {
			return unwrapping{kwp: kwp}, true
		}
	}
	return unwrapping{}, false
}

// takesOAEP tries whether the token takes OAEP with SHA-256, which its list of mechanisms does not say: with a public key
// that is made up, in a session without a login. Where OAEP does not encrypt there is nothing to try, and the pair is
// tried when it is made.
func (t *token) takesOAEP(lib *pkcs11.Ctx, slot uint, has abilities) bool {
	if !has.can(pkcs11.CKM_RSA_PKCS_OAEP, pkcs11.CKF_ENCRYPT) {
		return true
	}
	return t.withMadeUpKey(lib, slot, pkcs11.CKA_ENCRYPT, func(s pkcs11.SessionHandle, o pkcs11.ObjectHandle) error {
		err := lib.EncryptInit(s, []*pkcs11.Mechanism{pkcs11.NewMechanism(pkcs11.CKM_RSA_PKCS_OAEP, oaep())}, o)
		if err == nil {
			_, err = lib.Encrypt(s, make([]byte, keyBytes))
		}
		return err
	})
}

// withMadeUpKey tries something with a public RSA key that nobody has the private half of, and reports whether it works.
func (t *token) withMadeUpKey(lib *pkcs11.Ctx, slot, use uint, try func(s pkcs11.SessionHandle, o pkcs11.ObjectHandle) error) bool {
	modulus := make([]byte, 384)
	_, _ = rand.Read(modulus)
	modulus[0] |= 0x80
	modulus[len(modulus)-1] |= 1
	s, err := lib.OpenSession(slot, pkcs11.CKF_SERIAL_SESSION)
	if err != nil {
		return false
	}
	defer func() { _ = lib.CloseSession(s) }()
	o, err := lib.CreateObject(s, []*pkcs11.Attribute{pkcs11.NewAttribute(pkcs11.CKA_CLASS, pkcs11.CKO_PUBLIC_KEY),
		pkcs11.NewAttribute(pkcs11.CKA_KEY_TYPE, pkcs11.CKK_RSA), pkcs11.NewAttribute(pkcs11.CKA_TOKEN, false), pkcs11.NewAttribute(pkcs11.CKA_PRIVATE, false),
		pkcs11.NewAttribute(pkcs11.CKA_MODULUS, modulus), pkcs11.NewAttribute(pkcs11.CKA_PUBLIC_EXPONENT, []byte{1, 0, 1}), pkcs11.NewAttribute(use, true)})
	return err == nil && try(s, o) == nil
}

// unwrappingNow asks the token again what it can: a record says that it unwraps, and not how.
func (s *session) unwrappingNow() (unwrapping, error) {
	has, err := mechanismsOf(s.lib, s.slot)
	if err != nil {
		return unwrapping{}, err
	}
	u, can := has.unwrapping()
	if !can {
		return u, fmt.Errorf("the token has lost what it takes to unwrap keys: %w", hsm.ErrUnsupported)
	}
	return u, nil
}

// mechanismsOf lists what a token can.
func mechanismsOf(lib *pkcs11.Ctx, slot uint) (abilities, error) {
	list, err := lib.GetMechanismList(slot)
	if err != nil {
		return nil, err
	}
	out := make(abilities, len(list))
	for _, m := range list {
		if info, err := lib.GetMechanismInfo(slot, []*pkcs11.Mechanism{m}); err == nil {
			out[m.Mechanism] = info.Flags
		}
	}
	return out, nil
}

// xorWith is CKM_XOR_BASE_AND_DATA. Its parameter is a structure with a pointer to the data (CK_KEY_DERIVATION_STRING_DATA,
// PKCS #11 2.40, 2.43): the data stays where it is until use has returned.
func xorWith(data []byte, use func(m *pkcs11.Mechanism) error) error {
	var pinned runtime.Pinner
	defer pinned.Unpin()
	pinned.Pin(&data[0])
	parameter := struct {
		data   *byte
		length uintptr // CK_ULONG, which is as long as a pointer wherever this driver runs
	}{&data[0], uintptr(len(data))}
	raw := unsafe.Slice((*byte)(unsafe.Pointer(&parameter)), unsafe.Sizeof(parameter))
	err := use(pkcs11.NewMechanism(pkcs11.CKM_XOR_BASE_AND_DATA, raw))
	runtime.KeepAlive(&parameter)
	return err
}
