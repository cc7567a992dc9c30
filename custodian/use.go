package custodian

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"conclave/custodian/access"
	"conclave/custodian/dek"
	"conclave/custodian/identity"
	"conclave/custodian/key"
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

// outcome is one attempt: what to record, and what to answer once that is durable.
type outcome struct {
	result  ledgerOutcome
	reasons []policies.Reason
	used    Used
	err     error // answered after the record; *Denied gets its decision id then
}

func (o *outcome) wipe() { secret.Wipe(o.used.Plaintext) }

// Use authorises one data-plane call, does it, records it, and answers: in that order. Errors: *InputError
// (nothing recorded: nothing was asked that could be judged), *Denied, ErrBadCiphertext, ErrNotThisKey,
// ErrForeign, hsm.ErrInactive, store.ErrUnavailable. Whenever an error is returned, no secret is.
func (s *Service) Use(ctx context.Context, p identity.Principal, u Use) (Used, error) {
	ct, err := s.check(&u)
	if err != nil {
		return Used{}, err
	}
	for range maxDecides {
		view := s.store.View()
		o := s.attempt(ctx, view, p, &u, ct)
		receipt, err := s.record(ctx, view, p, &u, &o)
		if errors.Is(err, store.ErrEpochChanged) {
			o.wipe()
			continue
		}
		if err != nil {
			o.wipe()
			return Used{}, fmt.Errorf("recording %s: %w", u.Operation, err)
		}
		return o.answer(receipt)
	}
	return Used{}, fmt.Errorf("authority changed %d times during one call: %w", maxDecides, store.ErrUnavailable)
}

// answer gives the result its decision id, now that there is one.
func (o *outcome) answer(r store.Receipt) (Used, error) {
	id := DecisionID(r)
	if o.err != nil {
		o.wipe()
		var denied *Denied
		if errors.As(o.err, &denied) {
			denied.Decision = id
		}
		return Used{}, o.err
	}
	o.used.Decision = id
	return o.used, nil
}

// check validates what can be judged from the request alone and parses its ciphertext.
func (s *Service) check(u *Use) (*ciphertext, error) {
	if err := checkContext("context", u.Context); err != nil {
		return nil, err
	}
	switch u.Operation {
	case access.DataKey:
		if u.Bytes < MinDataKey || u.Bytes > MaxDataKey {
			return nil, &InputError{"bytes", fmt.Sprintf("%d", u.Bytes), fmt.Sprintf("%d to %d", MinDataKey, MaxDataKey)}
		}
	case access.Encrypt:
		if len(u.Plaintext) > MaxPlaintext {
			return nil, &InputError{"plaintext", fmt.Sprintf("%d bytes", len(u.Plaintext)), fmt.Sprintf("at most %d bytes; encrypt larger data with a data key", MaxPlaintext)}
		}
	case access.Decrypt, access.Rewrap:
		if err := checkContext("new_context", u.NewContext); err != nil {
			return nil, err
		}
		ct := &ciphertext{}
		var err error
		if ct.Header, ct.header, ct.body, err = dek.Parse(u.Ciphertext); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrBadCiphertext, err)
		}
		return ct, nil
	default:
		return nil, &InputError{"operation", fmt.Sprintf("%q is unknown", u.Operation), "datakey, encrypt, decrypt, rewrap"}
	}
	return nil, nil
}

func checkContext(field string, encryption map[string]string) error {
	err := dek.ValidateContext(encryption)
	var fe *dek.FieldError
	if errors.As(err, &fe) {
		return &InputError{field + fe.Field[len("context"):], fe.Problem, fe.Allowed}
	}
	return err
}

// attempt judges the call under one view and, when allowed, does it. Nothing is recorded or answered yet.
func (s *Service) attempt(ctx context.Context, view *store.View, p identity.Principal, u *Use, ct *ciphertext) outcome {
	d, changed := s.memo.of(view)
	if changed {
		s.forgetDestroyed(view)
	}
	keyID := u.Key
	if ct != nil {
		switch {
		case ct.Instance != s.prefix:
			return failedWith(ErrForeign)
		case keyID == "":
			keyID = ct.Key
		case keyID != ct.Key:
			return failedWith(ErrNotThisKey)
		}
	}
	now := s.clock.Now()
	f, err := s.gather(view, d, p, u, keyID, ct, now)
	if err != nil {
		return outcomeOf(keyID, err)
	}
	decision, err := s.authorise(ctx, d, f)
	if err != nil {
		return outcomeOf(keyID, err)
	}
	if !decision.Allow {
		return deniedFor(decision.Reasons)
	}
	if err := f.backstop(now, u.AcceptRisk); err != nil {
		return outcomeOf(keyID, err)
	}
	return s.perform(ctx, f, u, ct, now)
}

// authorise asks policy, or what policy said before where that still holds.
func (s *Service) authorise(ctx context.Context, d *derived, f *facts) (*policies.Decision, error) {
	var scratch [768]byte
	memoKey := s.policies.AppendMemoKey(scratch[:0], &f.in)
	if kept := d.lookup(memoKey, f.in.Now, f.in.PayloadBytes); kept != nil {
		return kept, nil
	}
	decision, err := s.policies.Authorise(ctx, f.in)
	if err != nil {
		return nil, err
	}
	if decision.Allow {
		d.keep(memoKey, decision)
	}
	return &decision, nil
}

// backstop is the state table in Go, under the policy: a bundle may ask for more, never for less.
func (f *facts) backstop(now time.Time, acceptRisk bool) error {
	if f.process != nil {
		if err := f.process.AllowsProcess(now, f.in.ProtectedAt, acceptRisk); err != nil {
			return err
		}
	}
	if f.protect != nil {
		return f.protect.AllowsProtect(now)
	}
	return nil
}

// perform uses the key.
func (s *Service) perform(ctx context.Context, f *facts, u *Use, ct *ciphertext, now time.Time) outcome {
	var plaintext []byte
	var err error
	switch u.Operation {
	case access.DataKey:
		plaintext = make([]byte, u.Bytes)
		rand.Read(plaintext)
	case access.Encrypt:
		plaintext = u.Plaintext
	default:
		if plaintext, err = s.ring.Open(ctx, f.driver, f.process, ct.header, ct.body, u.Context); err != nil {
			return outcomeOf(f.key.ID, err)
		}
	}
	o := outcome{result: allowed, used: Used{Key: f.key.ID}}
	if f.protect == nil {
		o.used.Version, o.used.Plaintext = f.process.Version, plaintext
		return o
	}
	o.used.Version = f.protect.Version
	o.used.Warning = expiryWarning(f.protect, now)
	sealing := dek.Sealing{Instance: s.prefix, Development: s.instance.Mode == Development, At: now, Context: u.Context}
	if u.Operation == access.Rewrap && u.NewContext != nil {
		sealing.Context = u.NewContext
	}
	o.used.Ciphertext, err = s.ring.Seal(ctx, f.driver, f.protect, sealing, plaintext)
	keep := err == nil && u.Operation == access.DataKey && u.WithPlain
	switch {
	case keep:
		o.used.Plaintext = plaintext
		o.used.CacheFor = cacheFor(f.key.Classification)
	case u.Operation != access.Encrypt: // an Encrypt's plaintext is the caller's own
		secret.Wipe(plaintext)
	}
	if err != nil {
		return outcomeOf(f.key.ID, err)
	}
	return o
}

// expiryWarning tells a caller ahead that the version will stop protecting (keystates.md section 3: 30 and
// 7 days before).
func expiryWarning(v *key.Version, now time.Time) string {
	const day = 24 * time.Hour
	left := v.OUPEnd.Sub(now)
	if left > 30*day {
		return ""
	}
	return fmt.Sprintf("key version %s stops protecting in %d days, on %s", key.VersionID(v.Key, v.Version),
		int(left/day), v.OUPEnd.Format(time.DateOnly))
}

// cacheFor is how long a client may reuse one data key: not at all where the data is regulated, so that
// every use is on record; five minutes elsewhere (ours).
func cacheFor(c key.Classification) time.Duration {
	switch c {
	case key.Public, key.Internal, key.Confidential:
		return 5 * time.Minute
	}
	return 0
}

// outcomeOf turns what went wrong into what is recorded and answered.
func outcomeOf(keyID string, err error) outcome {
	var tampered *store.TamperedError
	var use *key.UseError
	switch {
	case errors.Is(err, store.ErrNotFound):
		// The same answer as for a key one has no grant on: whether a key exists is nobody else's business.
		return deniedFor([]policies.Reason{{Rule: "door", Code: "grant_missing",
			Message: fmt.Sprintf("no grant lets this caller use key %q", keyID), Remedy: "ask the key's owner for a grant"}})
	case errors.As(err, &tampered):
		return deniedFor([]policies.Reason{{Rule: "door", Code: "integrity",
			Message: "a record that this call depends on contradicts the ledger", Remedy: "an operator must restore the record"}})
	case errors.As(err, &use):
		return deniedFor([]policies.Reason{{Rule: "door", Code: use.Code, Message: use.Detail, Remedy: "use a key version whose state and dates allow it"}})
	case errors.Is(err, policies.ErrPolicy):
		return deniedFor([]policies.Reason{{Rule: "door", Code: "policy_error",
			Message: "policy reached no decision, which is a refusal", Remedy: "the operator finds the cause in the service's log"}})
	case errors.Is(err, hsm.ErrCorrupt):
		return failedWith(ErrBadCiphertext)
	}
	return failedWith(err)
}

func failedWith(err error) outcome { return outcome{result: failed, err: err} }

func deniedFor(reasons []policies.Reason) outcome {
	d := &Denied{Code: "denied", Reasons: reasons}
	if len(reasons) > 0 {
		d.Code = reasons[0].Code
		d.Retryable = len(reasons) == 1 && d.Code == CodeKeystoreInactive
	}
	return outcome{result: denied, reasons: reasons, err: d}
}

// CodeKeystoreInactive is the one reason to refuse that time alone may cure.
const CodeKeystoreInactive = "keystore_inactive"
