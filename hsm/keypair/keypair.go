// Package keypair is asymmetric cryptography by the process's own module: the pairs of the software keystore,
// pairs made for applications, and, for keys of every keystore, what needs the public half alone.
package keypair

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"strings"

	"conclave/hsm"
	"conclave/hsm/secret"
)

const (
	// publicExponent of every RSA key: the least that SP 800-56B and FIPS 186-5 allow, which everybody uses.
	publicExponent = 65537
	// checkValueBytes is the length of a check value, the same as for symmetric keys.
	checkValueBytes = 5
	// maxEncoded bounds an encoded half in bytes; the private half of RSA-4096 takes under 2,400.
	maxEncoded = 4096
)

// Generate makes a pair: the private half as PKCS #8 (RFC 5958), the public one as SubjectPublicKeyInfo (RFC
// 5280), both DER. RSA takes a second or so of one processor.
func Generate(spec hsm.Spec) (private *secret.Bytes, public []byte, err error) {
	key, err := generate(spec)
	if err != nil {
		return nil, nil, fmt.Errorf("making a pair of specification %q: %w", spec, err)
	}
	if public, err = x509.MarshalPKIXPublicKey(key.Public()); err != nil {
		return nil, nil, fmt.Errorf("encoding a public key: %w", err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, nil, fmt.Errorf("encoding a private key: %w", err)
	}
	return secret.New(der), public, nil
}

func generate(spec hsm.Spec) (crypto.Signer, error) {
	switch spec {
	case hsm.ECDSAP256:
		return ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case hsm.ECDSAP384:
		return ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	case hsm.Ed25519:
		_, key, err := ed25519.GenerateKey(rand.Reader)
		return key, err
	}
	if bits := spec.ModulusBits(); bits > 0 {
		return rsa.GenerateKey(rand.Reader, bits)
	}
	return nil, hsm.ErrUnsupported
}

// CheckValue is that of a pair: the first 5 bytes of the SHA-256 of its public half, in upper-case hexadecimal.
func CheckValue(public []byte) string {
	sum := sha256.Sum256(public)
	return strings.ToUpper(hex.EncodeToString(sum[:checkValueBytes]))
}

// Private is a private half in use. It lies in ordinary memory: the module that uses it keeps it there.
type Private struct {
	spec hsm.Spec
	key  crypto.Signer
}

// String shows nothing of the key.
func (*Private) String() string { return secret.Redacted }

// GoString shows nothing of the key.
func (*Private) GoString() string { return secret.Redacted }

// Format shows nothing of the key.
func (*Private) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(secret.Redacted)) }

// ParsePrivate reads a PKCS #8 private half of one specification; anything else is hsm.ErrCorrupt.
func ParsePrivate(spec hsm.Spec, pkcs8 []byte) (*Private, error) {
	if len(pkcs8) > maxEncoded {
		return nil, fmt.Errorf("private key of %d bytes, at most %d are allowed: %w", len(pkcs8), maxEncoded, hsm.ErrCorrupt)
	}
	key, err := x509.ParsePKCS8PrivateKey(pkcs8)
	if err != nil { // the parser's words may hold parts of the key
		return nil, fmt.Errorf("not a PKCS #8 private key: %w", hsm.ErrCorrupt)
	}
	signer, ok := key.(crypto.Signer)
	if !ok || !fits(spec, signer.Public()) {
		return nil, fmt.Errorf("private key of another specification than %q: %w", spec, hsm.ErrCorrupt)
	}
	return &Private{spec, signer}, nil
}

// Adopt reads a PKCS #8 private half that somebody else encoded and returns it in the form that Generate gives, with
// its public half. What is none of the specification is hsm.ErrKeyForm.
func Adopt(spec hsm.Spec, pkcs8 []byte) (private *secret.Bytes, public []byte, err error) {
	own, err := ParsePrivate(spec, pkcs8)
	if err != nil { // its words name the specification, and no part of the key
		return nil, nil, fmt.Errorf("%w: no PKCS #8 (DER) private key of specification %q", hsm.ErrKeyForm, spec)
	}
	if public, err = own.Public(); err != nil {
		return nil, nil, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(own.key)
	if err != nil {
		return nil, nil, fmt.Errorf("encoding a private key: %w", err)
	}
	return secret.New(der), public, nil
}

// Public is the public half, as SubjectPublicKeyInfo.
func (p *Private) Public() ([]byte, error) {
	der, err := x509.MarshalPKIXPublicKey(p.key.Public())
	if err != nil {
		return nil, fmt.Errorf("encoding a public key: %w", err)
	}
	return der, nil
}

// Sign signs as hsm.Signer says. ECDSA draws its per-message secret from the module's DRBG and the key itself
// (FIPS 186-5, appendix A.3): a bad source of randomness alone does not repeat one.
func (p *Private) Sign(dst []byte, hash hsm.Hash, input []byte) ([]byte, error) {
	options, err := checkInput(p.spec, hash, input)
	if err != nil {
		return nil, err
	}
	signature, err := p.key.Sign(rand.Reader, input, options)
	if err != nil {
		return nil, fmt.Errorf("signing by %s: %w", p.spec, err)
	}
	return append(dst, signature...), nil
}

// Decrypt opens an OAEP ciphertext as hsm.Decrypter says.
func (p *Private) Decrypt(dst, ciphertext, label []byte) ([]byte, error) {
	key, ok := p.key.(*rsa.PrivateKey)
	if !ok || p.spec.Kind() != hsm.Deciphers {
		return nil, fmt.Errorf("a key of specification %q does not decrypt: %w", p.spec, hsm.ErrUnsupported)
	}
	// RFC 8017, section 7.1.2, step 1: as long as the modulus, or an error. The module takes one without its leading zeros.
	if len(ciphertext) != key.Size() {
		return nil, hsm.ErrCorrupt
	}
	plaintext, err := rsa.DecryptOAEP(sha256.New(), nil, key, ciphertext, label)
	if err != nil {
		return nil, hsm.ErrCorrupt
	}
	defer secret.Wipe(plaintext)
	return append(dst, plaintext...), nil
}

// checkInput is how the module is told to sign, or why this input can not be signed.
func checkInput(spec hsm.Spec, hash hsm.Hash, input []byte) (crypto.SignerOpts, error) {
	switch {
	case spec.Kind() != hsm.Signs:
		return nil, fmt.Errorf("a key of specification %q does not sign: %w", spec, hsm.ErrUnsupported)
	case !spec.Takes(hash):
		return nil, fmt.Errorf("hash: %q does not go with %s: %w", hash, spec, hsm.ErrInvalid)
	case hash != hsm.NoHash && len(input) != hash.Size():
		return nil, fmt.Errorf("digest: %d bytes, %s has %d: %w", len(input), hash, hash.Size(), hsm.ErrInvalid)
	}
	switch spec {
	case hsm.Ed25519:
		return crypto.Hash(0), nil
	case hsm.RSAPSS3072, hsm.RSAPSS4096:
		return &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: module(hash)}, nil
	}
	return module(hash), nil
}

// module is the hash as the cryptographic module names it.
func module(h hsm.Hash) crypto.Hash {
	switch h {
	case hsm.SHA256:
		return crypto.SHA256
	case hsm.SHA384:
		return crypto.SHA384
	case hsm.SHA512:
		return crypto.SHA512
	}
	return 0
}
