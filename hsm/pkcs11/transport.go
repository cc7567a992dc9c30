//go:build cgo

package pkcs11

import (
	"bytes"
	"crypto/rsa"
	"crypto/x509"
	"fmt"
	"runtime"
	"unsafe"

	"github.com/miekg/pkcs11"

	"conclave/hsm"
	"conclave/hsm/keypair"
)

// transportSpec is the pair that keys are sent to a token under: 4,096 bits give 152 bits of strength (SP 800-56B Rev 2,
// Table 4).
const transportSpec = hsm.RSAOAEP4096

// transportPublic is the public half of a transport pair that is there whole.
func (s *session) transportPublic(id []byte, label string) ([]byte, error) {
	o, err := s.one(pkcs11.CKO_PRIVATE_KEY, id)
	if err != nil {
		return nil, err
	}
	if err := s.checkKept(o, label, false); err != nil {
		return nil, err
	}
	return s.public(id, transportSpec)
}

func (s *session) makeTransport(id []byte, label string) error {
	if err := s.remove(id); err != nil {
		return err
	}
	m := making{generate: pkcs11.CKM_RSA_PKCS_KEY_PAIR_GEN, use: []uint{pkcs11.CKM_RSA_PKCS_OAEP}}
	public := append(m.template(pkcs11.CKO_PUBLIC_KEY, id, label), m.public(transportSpec)...)
	var pin runtime.Pinner
	defer pin.Unpin()
	private := append([]*pkcs11.Attribute{pkcs11.NewAttribute(pkcs11.CKA_UNWRAP_TEMPLATE, nested(&pin, terms()))},
		m.template(pkcs11.CKO_PRIVATE_KEY, id, label, pkcs11.CKA_UNWRAP)...)
	_, _, err := s.lib.GenerateKeyPair(s.handle, []*pkcs11.Mechanism{pkcs11.NewMechanism(m.generate, nil)}, public, private)
	return err
}

// terms are what every key of a group is, in whichever token.
func terms() []*pkcs11.Attribute {
	return []*pkcs11.Attribute{pkcs11.NewAttribute(pkcs11.CKA_SENSITIVE, true), pkcs11.NewAttribute(pkcs11.CKA_EXTRACTABLE, true),
		pkcs11.NewAttribute(pkcs11.CKA_WRAP_WITH_TRUSTED, true)}
}

// nested is the value of an attribute that is a template: CK_ATTRIBUTE structures, whose values stay where they are until
// pin is let go. The binding has none for it.
func nested(pin *runtime.Pinner, template []*pkcs11.Attribute) []byte {
	type attribute struct { // CK_ATTRIBUTE on systems where it is not packed: all but Windows
		kind  uint
		value *byte
		size  uint
	}
	out := make([]attribute, len(template))
	for i, a := range template {
		value := bytes.Clone(a.Value)
		pin.Pin(&value[0])
		out[i] = attribute{a.Type, &value[0], uint(len(value))}
	}
	pin.Pin(&out[0])
	raw := unsafe.Slice((*byte)(unsafe.Pointer(&out[0])), len(out)*int(unsafe.Sizeof(out[0])))
	return bytes.Clone(raw)
}

// proveTerms tries, with keys of this session only, what the token must refuse.
func (s *session) proveTerms(id []byte) error {
	own, err := s.one(pkcs11.CKO_PRIVATE_KEY, id)
	if err != nil {
		return err
	}
	public, err := s.one(pkcs11.CKO_PUBLIC_KEY, id)
	if err != nil {
		return err
	}
	n, err := s.value(public, pkcs11.CKA_MODULUS)
	if err != nil {
		return err
	}
	untrusted, err := s.lib.CreateObject(s.handle, append(publicTemplate(nil, "conclave probe", n, []byte{1, 0, 1}), pkcs11.NewAttribute(pkcs11.CKA_TOKEN, false)))
	if err != nil {
		return err
	}
	defer func() { _ = s.lib.DestroyObject(s.handle, untrusted) }()
	shared, err := s.probeKey(true)
	if err != nil {
		return err
	}
	defer func() { _ = s.lib.DestroyObject(s.handle, shared) }()
	if _, err := s.wrapFor(untrusted, shared); err == nil {
		return fmt.Errorf("the token wraps a key under one that nobody trusts (CKA_WRAP_WITH_TRUSTED has no effect): %w", hsm.ErrUnsupported)
	}
	free, err := s.probeKey(false)
	if err != nil {
		return err
	}
	defer func() { _ = s.lib.DestroyObject(s.handle, free) }()
	sealed, err := s.wrapFor(untrusted, free)
	if err != nil {
		return err
	}
	readable, err := s.unwrapFrom(own, sealed, []*pkcs11.Attribute{pkcs11.NewAttribute(pkcs11.CKA_CLASS, pkcs11.CKO_SECRET_KEY), pkcs11.NewAttribute(pkcs11.CKA_KEY_TYPE, pkcs11.CKK_AES),
		pkcs11.NewAttribute(pkcs11.CKA_TOKEN, false), pkcs11.NewAttribute(pkcs11.CKA_SENSITIVE, false), pkcs11.NewAttribute(pkcs11.CKA_EXTRACTABLE, true),
		pkcs11.NewAttribute(pkcs11.CKA_WRAP_WITH_TRUSTED, false)})
	if err == nil {
		_ = s.lib.DestroyObject(s.handle, readable)
		return fmt.Errorf("the token unwraps into a key that can be read (CKA_UNWRAP_TEMPLATE has no effect): %w", hsm.ErrUnsupported)
	}
	if sessionGone(err) || linkGone(err) || objectGone(err) {
		return err
	}
	return nil
}

// probeKey is a key of this session.
func (s *session) probeKey(shared bool) (pkcs11.ObjectHandle, error) {
	return s.lib.GenerateKey(s.handle, []*pkcs11.Mechanism{pkcs11.NewMechanism(pkcs11.CKM_AES_KEY_GEN, nil)}, []*pkcs11.Attribute{
		pkcs11.NewAttribute(pkcs11.CKA_CLASS, pkcs11.CKO_SECRET_KEY), pkcs11.NewAttribute(pkcs11.CKA_KEY_TYPE, pkcs11.CKK_AES), pkcs11.NewAttribute(pkcs11.CKA_VALUE_LEN, keyBytes),
		pkcs11.NewAttribute(pkcs11.CKA_TOKEN, false), pkcs11.NewAttribute(pkcs11.CKA_SENSITIVE, true), pkcs11.NewAttribute(pkcs11.CKA_EXTRACTABLE, true),
		pkcs11.NewAttribute(pkcs11.CKA_WRAP_WITH_TRUSTED, shared)})
}

// publicTemplate is a public half that keys are wrapped under. Its lifetime, and whether it is trusted, are the caller's.
func publicTemplate(id []byte, label string, modulus, exponent []byte) []*pkcs11.Attribute {
	return []*pkcs11.Attribute{pkcs11.NewAttribute(pkcs11.CKA_CLASS, pkcs11.CKO_PUBLIC_KEY), pkcs11.NewAttribute(pkcs11.CKA_KEY_TYPE, pkcs11.CKK_RSA),
		pkcs11.NewAttribute(pkcs11.CKA_PRIVATE, false), pkcs11.NewAttribute(pkcs11.CKA_ID, id), pkcs11.NewAttribute(pkcs11.CKA_LABEL, label),
		pkcs11.NewAttribute(pkcs11.CKA_MODULUS, modulus), pkcs11.NewAttribute(pkcs11.CKA_PUBLIC_EXPONENT, exponent),
		pkcs11.NewAttribute(pkcs11.CKA_WRAP, true), pkcs11.NewAttribute(pkcs11.CKA_ENCRYPT, false), pkcs11.NewAttribute(pkcs11.CKA_VERIFY, false)}
}

// transferOAEP are the parameters of a sealed key's first byte.
func transferOAEP(form byte) *pkcs11.Mechanism {
	p := pkcs11.NewOAEPParams(pkcs11.CKM_SHA256, pkcs11.CKG_MGF1_SHA256, pkcs11.CKZ_DATA_SPECIFIED, nil)
	if form == sealedSHA1 {
		p = pkcs11.NewOAEPParams(pkcs11.CKM_SHA_1, pkcs11.CKG_MGF1_SHA1, pkcs11.CKZ_DATA_SPECIFIED, nil)
	}
	return pkcs11.NewMechanism(pkcs11.CKM_RSA_PKCS_OAEP, p)
}

func (s *session) wrapFor(public, key pkcs11.ObjectHandle) ([]byte, error) {
	var last error
	for _, form := range []byte{sealedSHA256, sealedSHA1} {
		wrapped, err := s.lib.WrapKey(s.handle, []*pkcs11.Mechanism{transferOAEP(form)}, public, key)
		if err == nil {
			return append([]byte{form}, wrapped...), nil
		}
		if last = err; !is(err, pkcs11.CKR_MECHANISM_INVALID, pkcs11.CKR_MECHANISM_PARAM_INVALID, pkcs11.CKR_ARGUMENTS_BAD) {
			break
		}
	}
	return nil, last
}

func (s *session) unwrapFrom(private pkcs11.ObjectHandle, sealed []byte, template []*pkcs11.Attribute) (pkcs11.ObjectHandle, error) {
	if len(sealed) != 1+transportSpec.ModulusBits()/8 || sealed[0] != sealedSHA256 && sealed[0] != sealedSHA1 {
		return 0, hsm.ErrUnwrap
	}
	return s.lib.UnwrapKey(s.handle, []*pkcs11.Mechanism{transferOAEP(sealed[0])}, private, sealed[1:], template)
}

func modulusOf(spki []byte) (*rsa.PublicKey, error) {
	if _, err := keypair.ParsePublic(transportSpec, spki); err != nil {
		return nil, err
	}
	key, err := x509.ParsePKIXPublicKey(spki)
	if err != nil {
		return nil, err
	}
	public, ok := key.(*rsa.PublicKey)
	if !ok {
		return nil, hsm.ErrInvalid
	}
	return public, nil
}

// trusted is a peer's public half in the token: errNoObject for none, hsm.ErrUnsupported for another key or one that is
// not trusted.
func (s *session) trusted(id []byte, public *rsa.PublicKey) (pkcs11.ObjectHandle, error) {
	o, err := s.one(pkcs11.CKO_PUBLIC_KEY, id)
	if err != nil {
		return 0, err
	}
	n, err := s.value(o, pkcs11.CKA_MODULUS)
	if err != nil {
		return 0, err
	}
	trusted, err := s.value(o, pkcs11.CKA_TRUSTED)
	if err != nil {
		return 0, err
	}
	if !bytes.Equal(n, public.N.Bytes()) || len(trusted) != 1 || trusted[0] == 0 {
		return 0, fmt.Errorf("the peer's key in the token is another one, or not trusted: %w", hsm.ErrUnsupported)
	}
	return o, nil
}

// shows reports whether the token still shows the transport pair: then a general error means what was sent.
func (s *session) shows(private pkcs11.ObjectHandle) bool {
	_, err := s.value(private, pkcs11.CKA_LABEL)
	return err == nil
}
