package custodian

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"conclave/custodian/access"
	"conclave/custodian/amount"
	"conclave/custodian/dek"
	"conclave/custodian/identity"
	"conclave/custodian/key"
	"conclave/custodian/ledger"
	"conclave/custodian/store"
	"conclave/hsm"
	"conclave/hsm/secret"
	"conclave/policies"
)

// Bounds of one data-plane call.
const (
	MinDataKey   = 16        // bytes; AES-128
	MaxDataKey   = 64        // bytes; AES-256-XTS or an HMAC-SHA-512 key
	MaxPlaintext = 64 * 1024 // bytes of direct encryption; larger data takes a data key
	MaxBatch     = 100       // items
	// maxDecides bounds how often one call is decided anew because authority changed under it.
	maxDecides = 8
)

// Use authorises one data-plane call, does it, records it, and answers: in that order. Errors: *InputError
// (nothing recorded: nothing was asked that could be judged), *Denied, ErrBadCiphertext, ErrNotThisKey,
// ErrForeign, ErrKeystore, hsm.ErrInactive, hsm.ErrUnavailable, ErrBusy, store.ErrUnavailable. Whenever an error is returned, no secret is.
func (s *Service) Use(ctx context.Context, p identity.Principal, u Use) (Used, error) {
	c, err := s.begin(p, &u)
	if err != nil {
		return Used{}, err
	}
	defer s.release(c)
	for range maxDecides {
		if err := ctx.Err(); err != nil {
			return Used{}, fmt.Errorf("before deciding %s: %w", c.use.Operation, err)
		}
		d := s.authority()
		o := s.attempt(ctx, d, c)
		receipt, err := s.record(ctx, d, c, &o)
		if errors.Is(err, store.ErrEpochChanged) {
			o.wipe()
			continue
		}
		if err != nil {
			o.wipe()
			return Used{}, fmt.Errorf("recording %s: %w", c.use.Operation, err)
		}
		return o.answer(DecisionID(receipt))
	}
	return Used{}, fmt.Errorf("authority changed %d times during one call: %w", maxDecides, store.ErrUnavailable)
}

// attempt judges the call under one authority state and, when allowed, does it. Nothing is recorded or
// answered yet.
func (s *Service) attempt(ctx context.Context, d *derived, c *call) outcome {
	o := outcome{at: s.clock.Now(), target: ledger.Target{Type: "key", ID: c.use.Key}, result: allowed}
	err := s.judge(ctx, d, c, &o)
	if err == nil {
		err = s.perform(ctx, d, c, &o)
	}
	if err != nil {
		o.fail(err)
	}
	return o
}

// judge is nil when the call may be done. It names in o what the call is about, as far as that exists.
func (s *Service) judge(ctx context.Context, d *derived, c *call, o *outcome) error {
	if d.fault != nil {
		return d.fault
	}
	keyID, err := s.keyID(c)
	if err != nil {
		return d.explain(c, err)
	}
	o.target.ID = keyID
	err = s.gather(d, c, keyID, o.at)
	f := &c.facts
	o.target.Version = f.used()
	if err != nil {
		return err
	}
	decision, err := s.authorise(ctx, d, c)
	if err != nil {
		return err
	}
	if decision.Allow {
		return f.backstop(o.at, &c.use)
	}
	refusal := denial(decision.Reasons...)
	if f.in.Grant == nil {
		// As for a key that does not exist: whether it does is nobody else's business.
		refusal.Code, refusal.Retryable = codeGrantMissing, false
	}
	return refusal
}

// explain says what is missing where a ciphertext that does not name its version came without one, to whoever may use the key
// that is named: anybody else learns nothing of it.
func (d *derived) explain(c *call, err error) error {
	u := &c.use
	if c.malformed == nil || u.Operation != access.Decrypt || u.Key == "" || len(d.grants[grantKey{c.principal.Kind, c.principal.ID, u.Key}]) == 0 {
		return err
	}
	k, missing := store.Peek[key.Key](d.view, KindKey, u.Key)
	if missing != nil || k.Specification().Kind() != hsm.Deciphers {
		return err
	}
	return versionMissing()
}

// used is the version that an entry names: the one that protects, else the one that processes, 0 for none.
func (f *facts) used() uint32 {
	switch {
	case f.protect != nil:
		return f.protect.Version
	case f.process != nil:
		return f.process.Version
	}
	return 0
}

// authorise asks policy, or what policy said before where that still holds.
func (s *Service) authorise(ctx context.Context, d *derived, c *call) (*policies.Decision, error) {
	in := &c.facts.in
	// What a suspended version may process depends on the single ciphertext: nothing to remember.
	memoise := in.Version.State != string(key.Suspended)
	if memoise {
		c.memoKey = d.policies.AppendMemoKey(c.memoKey[:0], in)
		if kept := d.lookup(c.memoKey, in.Now, in.PayloadBytes); kept != nil {
			return kept, nil
		}
	}
	decision, err := d.policies.Authorise(ctx, *in)
	if err != nil {
		return nil, err
	}
	if memoise && decision.Allow {
		d.keep(c.memoKey, decision)
	}
	return &decision, nil
}

// backstop is grant, keystore and state table in Go, under the policy: a bundle may ask for more, never for less.
func (f *facts) backstop(now time.Time, u *Use) error {
	if f.in.Grant == nil {
		return noGrant(f.key.ID)
	}
	if f.notCovered != nil {
		return f.notCovered
	}
	if !f.keystore.Active {
		return hsm.ErrInactive
	}
	if u.Operation == access.VerifySignature {
		return f.process.AllowsVerify(now)
	}
	if f.process != nil {
		if err := f.allowsProcess(now, u); err != nil {
			return err
		}
	}
	if f.protect != nil {
		return f.protect.AllowsProtect(now)
	}
	return nil
}

// allowsProcess is the state table for the version that processes; a compromised one under its approval only.
func (f *facts) allowsProcess(now time.Time, u *Use) error {
	if f.controlled != nil {
		return f.process.AllowsControlled(now)
	}
	return f.process.AllowsProcess(now, f.in.ProtectedAt, u.AcceptRisk)
}

// perform uses the key.
func (s *Service) perform(ctx context.Context, d *derived, c *call, o *outcome) error {
	f, u := &c.facts, &c.use
	if done, err := s.performStandard(ctx, c, o); done {
		return err
	}
	var plaintext []byte
	switch u.Operation {
	case access.DataKeyPair:
		if err := s.makePair(ctx, c); err != nil {
			return err
		}
		if err := c.private.Use(func(b []byte) error { plaintext = bytes.Clone(b); return nil }); err != nil {
			return err
		}
	case access.DataKey:
		plaintext = make([]byte, u.Bytes)
		rand.Read(plaintext)
	case access.Encrypt:
		plaintext = u.Plaintext
	default:
		var err error
		if plaintext, err = s.ring.Open(ctx, f.processIn, f.process, c.ct.header, c.ct.body, c.context); err != nil {
			return err
		}
	}
	if f.protect == nil {
		o.used = Used{Key: f.key.ID, Version: f.process.Version, Plaintext: plaintext}
		return nil
	}
	sealed, err := s.seal(ctx, c, o.at, plaintext)
	keep := err == nil && u.WithPlain && (u.Operation == access.DataKey || u.Operation == access.DataKeyPair)
	if !keep {
		if u.Operation != access.Encrypt { // an Encrypt's plaintext is the caller's own
			secret.Wipe(plaintext)
		}
		plaintext = nil
	}
	if err != nil {
		return err
	}
	o.used = Used{Key: f.key.ID, Version: f.protect.Version, Ciphertext: sealed, Warning: expiryWarning(f.protect, o.at)}
	if u.Operation == access.DataKeyPair {
		o.used.Public, o.used.Spec = c.public, u.Spec
	}
	if keep {
		o.used.Plaintext, o.used.CacheFor = plaintext, d.policies.CacheFor(string(f.key.Classification))
	}
	return nil
}

func (s *Service) seal(ctx context.Context, c *call, at time.Time, plaintext []byte) ([]byte, error) {
	f := &c.facts
	sealing := dek.Sealing{Instance: s.prefix, Development: s.instance.Mode == Development, At: at, Context: c.context}
	if c.use.Operation == access.Rewrap && c.use.NewContext != nil {
		sealing.Context = dek.HashContext(c.use.NewContext)
	}
	sealed, err := s.ring.Seal(ctx, f.protectIn, f.protect, sealing, plaintext)
	if errors.Is(err, hsm.ErrTooLarge) {
		return nil, invalid("plaintext", fmt.Sprintf("%d bytes", len(plaintext)), fmt.Sprintf("at most %d bytes in this key's keystore; encrypt larger data with a data key", f.protectIn.Capabilities().MaxMessage))
	}
	return sealed, err
}

// expiryWarning tells a caller ahead that the version will stop protecting (keystates.md section 3: 30 and
// 7 days before).
func expiryWarning(v *key.Version, now time.Time) string {
	left := v.OUPEnd.Sub(now)
	if left > 30*key.Day {
		return ""
	}
	return fmt.Sprintf("key version %s stops protecting in %s, on %s", key.VersionID(v.Key, v.Version),
		amount.Of(int(left/key.Day), "day"), v.OUPEnd.Format(time.DateOnly))
}
