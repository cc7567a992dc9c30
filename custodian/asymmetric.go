package custodian

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"conclave/custodian/access"
	"conclave/custodian/dek"
	"conclave/custodian/key"
	"conclave/custodian/store"
	"conclave/hsm"
	"conclave/hsm/keypair"
)

// Signatures, MACs, key transport and pairs for applications: the same door, other work than sealing.

const (
	// MaxMessage is the longest message that is signed or authenticated as it is, in bytes (ours); whoever has a
	// longer one signs its digest.
	MaxMessage = 64 * 1024
	// maxSignature is more than any signature, MAC or OAEP ciphertext takes, in bytes.
	maxSignature = 1024
	// maxGenerations bounds the RSA pairs that are made at once, maxGenerationsWaiting those who wait for it (ours): one takes
	// a second of one processor or more. Whoever finds them all taken is told to come again.
	maxGenerations        = 2
	maxGenerationsWaiting = 6
)

// inputLabel separates the hash by which entries show what was signed from every other.
const inputLabel = "conclave signed input v1"

// namesVersion reports whether the caller says which version processes: standard signatures, MACs and OAEP
// ciphertexts do not say it themselves.
func (u *Use) namesVersion() bool {
	return u.verifies() || u.Operation == access.Decrypt && u.Version > 0
}

// verifies reports whether the answer is whether something is valid.
func (u *Use) verifies() bool {
	return u.Operation == access.VerifySignature || u.Operation == access.VerifyMAC
}

// validateSigning checks what sign, verify, mac and verify_mac are given, as far as that needs no key.
func (u *Use) validateSigning() error {
	switch {
	case len(u.Context) > 0:
		return invalid("context", "given", "none: "+string(u.Operation)+" binds no encryption context")
	case len(u.Message) > MaxMessage:
		return invalid("message", fmt.Sprintf("%d bytes", len(u.Message)), fmt.Sprintf("at most %d bytes; sign the digest of a longer one", MaxMessage))
	case len(u.Message) > 0 && len(u.Digest) > 0:
		return invalid("digest", "given with a message", "one of message and digest")
	case len(u.Digest) > 0 && (u.Operation == access.MAC || u.Operation == access.VerifyMAC):
		return invalid("digest", "given", "none: a MAC is of the message")
	case len(u.Digest) > 0 && u.Hash == hsm.NoHash:
		return invalid("hash", "missing", "the hash function that made the digest")
	case len(u.Digest) > 0 && len(u.Digest) != u.Hash.Size():
		return invalid("digest", fmt.Sprintf("%d bytes", len(u.Digest)), fmt.Sprintf("%d bytes, as %s has", u.Hash.Size(), u.Hash))
	case u.verifies() && u.Version == 0:
		return invalid("version", "missing", "the key version that signed, as its answer said")
	case u.verifies() && (len(u.Signature) == 0 || len(u.Signature) > maxSignature):
		return invalid("signature", fmt.Sprintf("%d bytes", len(u.Signature)), fmt.Sprintf("1 to %d bytes", maxSignature))
	}
	return nil
}

func (u *Use) validatePair() error {
	if u.Spec.Pair() {
		return nil
	}
	pairs := slices.DeleteFunc(hsm.Specs(), func(s hsm.Spec) bool { return !s.Pair() })
	return invalid("algorithm", fmt.Sprintf("%.64q is no pair", string(u.Spec)), names(pairs))
}

// names lists values for people.
func names[T ~string](values []T) string {
	out := make([]string, len(values))
	for i, v := range values {
		out[i] = string(v)
	}
	return strings.Join(out, ", ")
}

// fits refuses what a key was not made for, in words: the caller holds a grant on it.
func (f *facts) fits(u *Use) error {
	if !u.Operation.Fits(f.key.Type) {
		return invalid("operation", fmt.Sprintf("%s does not go with key %s, which is of type %s (%s)", u.Operation, f.key.ID, f.key.Type, f.key.Specification()),
			names(access.OperationsOf(f.key.Type)))
	}
	if u.Operation == access.Decrypt && (f.key.Specification().Kind() == hsm.Deciphers) != (u.Version > 0) {
		if u.Version == 0 {
			return versionMissing()
		}
		return invalid("version", "given", "none: a ciphertext of this key names its version")
	}
	return nil
}

func versionMissing() error {
	return invalid("version", "missing", "the key version that the ciphertext is for: an OAEP ciphertext does not name it")
}

// named reads the version that the caller names.
func (f *facts) named(view *store.View, number uint32) (*key.Version, error) {
	if number > f.key.Versions {
		return nil, invalid("version", fmt.Sprintf("key %s has no version %d", f.key.ID, number), fmt.Sprintf("1 to %d", f.key.Versions))
	}
	return peekVersion(view, f.key.ID, number)
}

// byPublicHalf reports whether the call is done with the public half of a pair alone, whatever its keystore does.
func (c *call) byPublicHalf() bool {
	return c.use.Operation == access.VerifySignature || c.use.Operation == access.Encrypt && c.facts.key.Specification().Pair()
}

// signingInput is what a signature is of, and the hash that made it.
func signingInput(u *Use, spec hsm.Spec) (hsm.Hash, []byte, error) {
	hashes := spec.Hashes()
	hash := u.Hash
	if hash == hsm.NoHash && len(hashes) > 0 {
		hash = hashes[0]
	}
	if !spec.Takes(hash) {
		allowed := "none: it signs the message itself"
		if len(hashes) > 0 {
			allowed = names(hashes)
		}
		return hash, nil, invalid("hash", fmt.Sprintf("%.32q does not go with %s", string(hash), spec), allowed)
	}
	if len(u.Digest) > 0 {
		return hash, u.Digest, nil
	}
	return hash, hash.Sum(nil, u.Message), nil
}

// performStandard does what gives and takes standard forms: it reports whether the call was of that kind.
func (s *Service) performStandard(ctx context.Context, c *call, o *outcome) (bool, error) {
	f, u := &c.facts, &c.use
	var err error
	switch {
	case u.Operation == access.Sign:
		err = s.sign(ctx, c, o)
	case u.Operation == access.VerifySignature:
		err = s.verify(c, o)
	case u.Operation == access.MAC:
		o.used.Signature, err = s.ring.MAC(ctx, f.protectIn, f.protect, u.Message)
	case u.Operation == access.VerifyMAC:
		o.used.Valid, err = s.ring.VerifyMAC(ctx, f.processIn, f.process, u.Message, u.Signature)
	case u.Operation == access.Encrypt && f.protect.Specification().Pair():
		err = s.encryptTo(c, o)
	case u.Operation == access.Decrypt && u.Version > 0:
		o.used.Plaintext, err = s.ring.Decrypt(ctx, f.processIn, f.process, u.Ciphertext, dek.Label(u.Context))
	default:
		return false, nil
	}
	if err != nil {
		o.used = Used{}
		return true, err
	}
	o.used.Key, o.used.Version = f.key.ID, f.used()
	if f.protect != nil {
		o.used.Spec, o.used.Warning = f.protect.Specification(), expiryWarning(f.protect, o.at)
	}
	return true, nil
}

func (s *Service) sign(ctx context.Context, c *call, o *outcome) error {
	f := &c.facts
	hash, input, err := signingInput(&c.use, f.protect.Specification())
	if err != nil {
		return err
	}
	o.used.Hash = hash
	o.used.Signature, err = s.ring.Sign(ctx, f.protectIn, f.protect, hash, input)
	return err
}

// verify needs the public half alone: it goes on when the keystore is inactive, and when the private half is gone.
func (s *Service) verify(c *call, o *outcome) error {
	v := c.facts.process
	hash, input, err := signingInput(&c.use, v.Specification())
	if err != nil {
		return err
	}
	public, err := dek.PublicHalf(v)
	if err != nil {
		return err
	}
	o.used.Valid, err = public.Verify(hash, input, c.use.Signature)
	return err
}

// encryptTo encrypts with the public half of a key-transport pair, as anybody may who has it.
func (s *Service) encryptTo(c *call, o *outcome) error {
	v := c.facts.protect
	public, err := dek.PublicHalf(v)
	if err != nil {
		return err
	}
	o.used.Ciphertext, err = public.Encrypt(c.use.Plaintext, dek.Label(c.use.Context))
	if errors.Is(err, hsm.ErrTooLarge) {
		return invalid("plaintext", fmt.Sprintf("%d bytes", len(c.use.Plaintext)), fmt.Sprintf("at most %d bytes for %s; encrypt larger data with a data key",
			keypair.MaxPlaintext(v.Specification()), v.Specification()))
	}
	return err
}

// makePair makes the pair that a call asks for, once, however often the call is decided anew.
func (s *Service) makePair(ctx context.Context, c *call) error {
	if c.private != nil {
		return nil
	}
	if c.use.Spec.ModulusBits() > 0 { // pairs on curves take no time
		release, err := s.generation(ctx)
		if err != nil {
			return err
		}
		defer release()
	}
	var err error
	c.private, c.public, err = keypair.Generate(c.use.Spec)
	return err
}

// generation takes a place to make an RSA pair, ErrBusy where there is none to wait for.
func (s *Service) generation(ctx context.Context) (release func(), err error) {
	select {
	case s.generationsAsked <- struct{}{}:
	default:
		return nil, ErrBusy
	}
	select {
	case s.generations <- struct{}{}:
		return func() { <-s.generations; <-s.generationsAsked }, nil
	case <-ctx.Done():
		<-s.generationsAsked
		return nil, fmt.Errorf("waiting to make a pair: %w", ctx.Err())
	}
}

// inputMark is how an entry shows what was signed or authenticated: an HMAC under the month's key, as for encryption
// contexts, so that whoever holds the audit key can say whether a document was signed here, and nobody reads it.
// "" for calls that sign nothing.
func (s *Service) inputMark(c *call, at time.Time) (string, error) {
	u := &c.use
	switch u.Operation {
	case access.Sign, access.VerifySignature, access.MAC, access.VerifyMAC:
	default:
		return "", nil
	}
	h := sha256.New()
	h.Write([]byte(inputLabel))
	if len(u.Digest) > 0 {
		h.Write([]byte("\x01" + string(u.Hash) + "\x00"))
		h.Write(u.Digest)
	} else {
		h.Write([]byte("\x00"))
		h.Write(u.Message)
	}
	var sum dek.ContextHash
	h.Sum(sum[:0])
	return s.contexts.sum(sum, at)
}
