//go:build cgo

package pkcs11

import (
	"github.com/miekg/pkcs11"

	"conclave/hsm"
)

// What PKCS #11 3.0 has for Ed25519, and the binding has no names for.
const (
	ckmEdwardsKeyPairGen = 0x1055
	ckmEdDSA             = 0x1057
)

// making is how keys of one specification are made and used in a token.
type making struct {
	generate uint
	use      []uint               // mechanisms of its one use, and of its check value: the key is pinned to them
	needs    map[uint]uint        // flags that the token's mechanisms must have
	curve    []byte               // DER of the curve's object identifier
	hashes   map[hsm.Hash][2]uint // RSA-PSS: hash and MGF by hash
}

// makingOf is the row of a specification, false for those that this driver does not make. RSA-OAEP is not among them:
// the tokens that it was tried on have it with SHA-1 only, which is not what hsm.Decrypter promises.
func makingOf(spec hsm.Spec) (making, bool) {
	sign := func(generate, use uint) making {
		return making{generate: generate, use: []uint{use}, needs: map[uint]uint{generate: pkcs11.CKF_GENERATE_KEY_PAIR, use: pkcs11.CKF_SIGN}}
	}
	mac := func(use uint) making {
		return making{generate: pkcs11.CKM_GENERIC_SECRET_KEY_GEN, use: []uint{use},
			needs: map[uint]uint{pkcs11.CKM_GENERIC_SECRET_KEY_GEN: pkcs11.CKF_GENERATE, use: pkcs11.CKF_SIGN}}
	}
	on := func(m making, curve []byte) making { m.curve = curve; return m }
	switch spec {
	case hsm.AES256:
		return making{generate: pkcs11.CKM_AES_KEY_GEN, use: []uint{pkcs11.CKM_AES_KEY_WRAP, pkcs11.CKM_AES_CMAC},
			needs: map[uint]uint{pkcs11.CKM_AES_KEY_GEN: pkcs11.CKF_GENERATE, pkcs11.CKM_AES_KEY_WRAP: pkcs11.CKF_WRAP | pkcs11.CKF_UNWRAP,
				pkcs11.CKM_AES_GCM: pkcs11.CKF_ENCRYPT | pkcs11.CKF_DECRYPT, pkcs11.CKM_AES_CMAC: pkcs11.CKF_SIGN}}, true
	case hsm.HMACSHA256:
		return mac(pkcs11.CKM_SHA256_HMAC), true
	case hsm.HMACSHA384:
		return mac(pkcs11.CKM_SHA384_HMAC), true
	case hsm.HMACSHA512:
		return mac(pkcs11.CKM_SHA512_HMAC), true
	case hsm.ECDSAP256:
		return on(sign(pkcs11.CKM_EC_KEY_PAIR_GEN, pkcs11.CKM_ECDSA), []byte{0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07}), true
	case hsm.ECDSAP384:
		return on(sign(pkcs11.CKM_EC_KEY_PAIR_GEN, pkcs11.CKM_ECDSA), []byte{0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x22}), true
	case hsm.Ed25519:
		return on(sign(ckmEdwardsKeyPairGen, ckmEdDSA), []byte{0x06, 0x03, 0x2b, 0x65, 0x70}), true
	case hsm.RSAPKCS13072, hsm.RSAPKCS14096:
		return sign(pkcs11.CKM_RSA_PKCS_KEY_PAIR_GEN, pkcs11.CKM_RSA_PKCS), true
	case hsm.RSAPSS3072, hsm.RSAPSS4096:
		m := sign(pkcs11.CKM_RSA_PKCS_KEY_PAIR_GEN, pkcs11.CKM_RSA_PKCS_PSS)
		m.hashes = map[hsm.Hash][2]uint{hsm.SHA256: {pkcs11.CKM_SHA256, pkcs11.CKG_MGF1_SHA256}, hsm.SHA384: {pkcs11.CKM_SHA384, pkcs11.CKG_MGF1_SHA384},
			hsm.SHA512: {pkcs11.CKM_SHA512, pkcs11.CKG_MGF1_SHA512}}
		return m, true
	}
	return making{}, false
}

// template of a key in the token that never leaves it. Whatever is not said to be allowed is not.
func (m making) template(class uint, id []byte, label string, allowed ...uint) []*pkcs11.Attribute {
	out := []*pkcs11.Attribute{
		pkcs11.NewAttribute(pkcs11.CKA_CLASS, class),
		pkcs11.NewAttribute(pkcs11.CKA_TOKEN, true),
		pkcs11.NewAttribute(pkcs11.CKA_PRIVATE, class != pkcs11.CKO_PUBLIC_KEY),
		pkcs11.NewAttribute(pkcs11.CKA_MODIFIABLE, false),
		pkcs11.NewAttribute(pkcs11.CKA_LABEL, label),
		pkcs11.NewAttribute(pkcs11.CKA_ID, id),
	}
	if class != pkcs11.CKO_PUBLIC_KEY {
		out = append(out, pkcs11.NewAttribute(pkcs11.CKA_SENSITIVE, true), pkcs11.NewAttribute(pkcs11.CKA_EXTRACTABLE, false),
			pkcs11.NewAttribute(pkcs11.CKA_ALLOWED_MECHANISMS, mechanisms(m.use...)))
	}
	uses := map[uint][]uint{
		pkcs11.CKO_SECRET_KEY:  {pkcs11.CKA_ENCRYPT, pkcs11.CKA_DECRYPT, pkcs11.CKA_SIGN, pkcs11.CKA_VERIFY, pkcs11.CKA_WRAP, pkcs11.CKA_UNWRAP, pkcs11.CKA_DERIVE},
		pkcs11.CKO_PRIVATE_KEY: {pkcs11.CKA_DECRYPT, pkcs11.CKA_SIGN, pkcs11.CKA_SIGN_RECOVER, pkcs11.CKA_UNWRAP, pkcs11.CKA_DERIVE},
		pkcs11.CKO_PUBLIC_KEY:  {pkcs11.CKA_ENCRYPT, pkcs11.CKA_VERIFY, pkcs11.CKA_VERIFY_RECOVER, pkcs11.CKA_WRAP, pkcs11.CKA_DERIVE},
	}[class]
	for _, use := range uses {
		may := false
		for _, a := range allowed {
			may = may || a == use
		}
		out = append(out, pkcs11.NewAttribute(use, may))
	}
	return out
}

// keyTemplate is template of a symmetric key; of one of a group as [terms] says.
func (m making) keyTemplate(id []byte, label string, spec hsm.Spec, shared bool) []*pkcs11.Attribute {
	var out []*pkcs11.Attribute
	if spec.Kind() == hsm.MACs {
		out = append(m.template(pkcs11.CKO_SECRET_KEY, id, label, pkcs11.CKA_SIGN), pkcs11.NewAttribute(pkcs11.CKA_VALUE_LEN, spec.Hashes()[0].Size()))
	} else {
		out = append(m.template(pkcs11.CKO_SECRET_KEY, id, label, pkcs11.CKA_WRAP, pkcs11.CKA_UNWRAP, pkcs11.CKA_SIGN), pkcs11.NewAttribute(pkcs11.CKA_VALUE_LEN, keyBytes))
	}
	if !shared {
		return out
	}
	kept := out[:0]
	for _, a := range out {
		if a.Type != pkcs11.CKA_SENSITIVE && a.Type != pkcs11.CKA_EXTRACTABLE {
			kept = append(kept, a)
		}
	}
	return append(kept, terms()...)
}

// public is what a public half is made with besides.
func (m making) public(spec hsm.Spec) []*pkcs11.Attribute {
	if bits := spec.ModulusBits(); bits > 0 {
		return []*pkcs11.Attribute{pkcs11.NewAttribute(pkcs11.CKA_MODULUS_BITS, bits), pkcs11.NewAttribute(pkcs11.CKA_PUBLIC_EXPONENT, []byte{1, 0, 1})}
	}
	return []*pkcs11.Attribute{pkcs11.NewAttribute(pkcs11.CKA_EC_PARAMS, m.curve)}
}
