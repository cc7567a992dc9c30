package hsm

import (
	"crypto/sha256"
	"crypto/sha512"
	"slices"
)

// Spec is what a key is: its algorithm, its size and its one use. It is stored with every key, so a name keeps
// its meaning for ever. A key has one use: SP 800-57 Part 1 Rev 5, section 5.2; and an RSA key pair one scheme:
// FIPS 186-5, section 5.1.
type Spec string

// The specifications. Which of them a keystore makes is among its Capabilities.
const (
	AES256       Spec = "aes-256"        // seals messages and data keys
	HMACSHA256   Spec = "hmac-sha-256"   // FIPS 198-1; the key is as long as the hash
	HMACSHA384   Spec = "hmac-sha-384"   //
	HMACSHA512   Spec = "hmac-sha-512"   //
	ECDSAP256    Spec = "ecdsa-p256"     // FIPS 186-5 with SHA-256
	ECDSAP384    Spec = "ecdsa-p384"     // FIPS 186-5 with SHA-384
	Ed25519      Spec = "ed25519"        // FIPS 186-5, RFC 8032, the pure variant
	RSAPSS3072   Spec = "rsa-pss-3072"   // RSASSA-PSS of RFC 8017, MGF1 and salt by the hash
	RSAPSS4096   Spec = "rsa-pss-4096"   //
	RSAPKCS13072 Spec = "rsa-pkcs1-3072" // RSASSA-PKCS1-v1_5 of RFC 8017, for those who take nothing else
	RSAPKCS14096 Spec = "rsa-pkcs1-4096" //
	RSAOAEP3072  Spec = "rsa-oaep-3072"  // RSAES-OAEP of RFC 8017 with SHA-256
	RSAOAEP4096  Spec = "rsa-oaep-4096"  //
)

// Kind is the one use of a key.
type Kind string

// The kinds. A handle of each has methods of its own and no others.
const (
	Seals     Kind = "encryption"    // Sealer
	MACs      Kind = "mac"           // MACer
	Signs     Kind = "signature"     // Signer
	Deciphers Kind = "key-transport" // Decrypter
)

// Hash names a hash function of FIPS 180-4.
type Hash string

// The hash functions. NoHash goes with schemes that take the message itself.
const (
	NoHash Hash = ""
	SHA256 Hash = "sha-256"
	SHA384 Hash = "sha-384"
	SHA512 Hash = "sha-512"
)

// specRule is one row of the table of specifications.
type specRule struct {
	kind     Kind
	strength int    // bits of security
	bits     int    // RSA: length of the modulus
	hashes   []Hash // signatures: what the scheme may take, the default first; MACs: the one of the HMAC
}

// rule is the row of a specification. Strengths: SP 800-57 Part 1 Rev 5, Table 2 (AES, RSA-3072, curves) and
// Table 3 (HMAC, capped at 256); RSA-4096: SP 800-56B Rev 2, Appendix D. A function and not a map, so that
// nothing can change the table.
func (s Spec) rule() (specRule, bool) {
	rsa := []Hash{SHA256, SHA384, SHA512}
	switch s {
	case AES256:
		return specRule{Seals, 256, 0, nil}, true
	case HMACSHA256:
		return specRule{MACs, 256, 0, []Hash{SHA256}}, true
	case HMACSHA384:
		return specRule{MACs, 256, 0, []Hash{SHA384}}, true
	case HMACSHA512:
		return specRule{MACs, 256, 0, []Hash{SHA512}}, true
	case ECDSAP256:
		return specRule{Signs, 128, 0, []Hash{SHA256}}, true
	case ECDSAP384:
		return specRule{Signs, 192, 0, []Hash{SHA384}}, true
	case Ed25519:
		return specRule{Signs, 128, 0, nil}, true
	case RSAPSS3072, RSAPKCS13072:
		return specRule{Signs, 128, 3072, rsa}, true
	case RSAPSS4096, RSAPKCS14096:
		return specRule{Signs, 152, 4096, rsa}, true
	case RSAOAEP3072:
		return specRule{Deciphers, 128, 3072, nil}, true
	case RSAOAEP4096:
		return specRule{Deciphers, 152, 4096, nil}, true
	}
	return specRule{}, false
}

// Specs returns all specifications.
func Specs() []Spec {
	return []Spec{AES256, HMACSHA256, HMACSHA384, HMACSHA512, ECDSAP256, ECDSAP384, Ed25519, RSAPSS3072, RSAPSS4096,
		RSAPKCS13072, RSAPKCS14096, RSAOAEP3072, RSAOAEP4096}
}

// Known reports whether this program has the specification. An unknown one is refused, never guessed.
func (s Spec) Known() bool {
	_, known := s.rule()
	return known
}

// Kind is the one use of such keys, "" for an unknown specification.
func (s Spec) Kind() Kind {
	r, _ := s.rule()
	return r.kind
}

// Pair reports whether such a key is a pair with a public half.
func (s Spec) Pair() bool { return s.Kind() == Signs || s.Kind() == Deciphers }

// StrengthBits is the security strength of such keys in bits, 0 for an unknown specification.
func (s Spec) StrengthBits() int {
	r, _ := s.rule()
	return r.strength
}

// ModulusBits is the length of an RSA modulus, 0 for what is not RSA.
func (s Spec) ModulusBits() int {
	r, _ := s.rule()
	return r.bits
}

// Hashes are the hash functions that go with such keys, the default first: of a signature, or the one of an
// HMAC. None where the scheme takes the message itself.
func (s Spec) Hashes() []Hash {
	r, _ := s.rule()
	return r.hashes
}

// Takes reports whether a signature or MAC of such keys goes with this hash.
func (s Spec) Takes(h Hash) bool {
	hashes := s.Hashes()
	return len(hashes) == 0 && h == NoHash || slices.Contains(hashes, h)
}

// Size is the length of a digest in bytes, 0 for NoHash and what is unknown.
func (h Hash) Size() int {
	switch h {
	case SHA256:
		return sha256.Size
	case SHA384:
		return sha512.Size384
	case SHA512:
		return sha512.Size
	}
	return 0
}

// Sum appends the digest of message to dst; for NoHash the message itself.
func (h Hash) Sum(dst, message []byte) []byte {
	switch h {
	case SHA256:
		d := sha256.Sum256(message)
		return append(dst, d[:]...)
	case SHA384:
		d := sha512.Sum384(message)
		return append(dst, d[:]...)
	case SHA512:
		d := sha512.Sum512(message)
		return append(dst, d[:]...)
	}
	return append(dst, message...)
}
