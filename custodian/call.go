package custodian

import (
	"errors"
	"fmt"

	"conclave/custodian/access"
	"conclave/custodian/dek"
	"conclave/custodian/identity"
	"conclave/custodian/key"
	"conclave/hsm/secret"
)

// call is one data-plane request on its way through the door. Calls are pooled: the garbage of one would cost
// as much as its cryptography.
type call struct {
	use       Use
	principal identity.Principal
	ct        ciphertext      // Decrypt, Rewrap
	malformed error           // why ct is not there; recorded
	context   dek.ContextHash // of use.Context
	private   *secret.Bytes   // DataKeyPair: the pair that was made
	public    []byte
	facts     facts
	memoKey   []byte
}

// ciphertext is a parsed input ciphertext; header and body point into the caller's bytes.
type ciphertext struct {
	dek.Header
	header, body []byte
}

// release forgets the request, so that nothing of it is kept alive or met by the next one.
func (s *Service) release(c *call) {
	c.private.Wipe()
	*c = call{memoKey: c.memoKey[:0]}
	s.calls.Put(c)
}

// begin takes up a request. It checks what can be judged from the request alone (*InputError) and parses
// its ciphertext.
func (s *Service) begin(p identity.Principal, u *Use) (*call, error) {
	if err := u.validate(); err != nil {
		return nil, err
	}
	c := s.calls.Get().(*call)
	c.use, c.principal = *u, p
	c.context = dek.HashContext(u.Context)
	if u.sealed() {
		c.ct.Header, c.ct.header, c.ct.body, c.malformed = dek.Parse(u.Ciphertext)
	}
	return c, nil
}

// sealed reports whether the call brings a ciphertext that says what it is under.
func (u *Use) sealed() bool {
	return u.Operation == access.Decrypt && u.Version == 0 || u.Operation == access.Rewrap
}

func (u *Use) validate() error {
	if err := checkContext("context", u.Context); err != nil {
		return err
	}
	switch u.Operation {
	case access.DataKey:
		if u.Bytes < MinDataKey || u.Bytes > MaxDataKey {
			return invalid("bytes", fmt.Sprintf("%d", u.Bytes), fmt.Sprintf("%d to %d", MinDataKey, MaxDataKey))
		}
	case access.Encrypt:
		if len(u.Plaintext) > MaxPlaintext {
			return invalid("plaintext", fmt.Sprintf("%d bytes", len(u.Plaintext)), fmt.Sprintf("at most %d bytes; encrypt larger data with a data key", MaxPlaintext))
		}
	case access.Decrypt, access.Rewrap:
		if err := checkContext("new_context", u.NewContext); err != nil {
			return err
		}
	case access.Sign, access.VerifySignature, access.MAC, access.VerifyMAC:
		if err := u.validateSigning(); err != nil {
			return err
		}
	case access.DataKeyPair:
		if err := u.validatePair(); err != nil {
			return err
		}
	default:
		return unknownOperation(u.Operation)
	}
	if u.Key != "" || !u.sealed() {
		if err := key.CheckID("key", u.Key); err != nil {
			return err
		}
	}
	if u.ReasonCode != "" {
		return key.CheckID("reason", u.ReasonCode)
	}
	return nil
}

func unknownOperation(op access.Operation) error {
	return invalid("operation", fmt.Sprintf("%q is unknown", targetName(string(op))), names(access.Operations()))
}

func checkContext(field string, encryption map[string]string) error {
	err := dek.ValidateContext(encryption)
	if err == nil {
		return nil
	}
	var fe *dek.FieldError
	if errors.As(err, &fe) {
		return invalid(field+fe.Field[len("context"):], fe.Problem, fe.Allowed)
	}
	return err
}

// keyID is the key that the call is about: the one named, or the one that the ciphertext names.
func (s *Service) keyID(c *call) (string, error) {
	switch {
	case !c.use.sealed():
		return c.use.Key, nil
	case c.malformed != nil:
		return "", fmt.Errorf("%w: %w", ErrBadCiphertext, c.malformed)
	case c.ct.Instance != s.prefix:
		return "", ErrForeign
	case c.use.Key != "" && c.use.Key != c.ct.Key:
		return "", ErrNotThisKey
	}
	return c.ct.Key, nil
}
