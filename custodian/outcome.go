package custodian

import (
	"errors"
	"fmt"
	"time"

	"conclave/custodian/access"
	"conclave/custodian/dek"
	"conclave/custodian/key"
	"conclave/custodian/ledger"
	"conclave/custodian/store"
	"conclave/hsm"
	"conclave/hsm/secret"
	"conclave/policies"
)

type ledgerOutcome = ledger.Outcome

const (
	allowed = ledger.Allow
	denied  = ledger.Deny
	failed  = ledger.Failed
)

// CodeKeystoreInactive is the one reason to refuse that time alone may cure.
const CodeKeystoreInactive = "keystore_inactive"

// CodeBusy: what was asked for takes long, and others are at it.
const CodeBusy = "busy"

// CodeKeystoreUnavailable: the keystore, a device or a service elsewhere, does not answer just now.
const CodeKeystoreUnavailable = "keystore_unavailable"

const codeGrantMissing = "grant_missing"

// outcome is one attempt: what to record, and what to answer once that is durable.
type outcome struct {
	at     time.Time // when it was judged
	target ledger.Target
	result ledgerOutcome
	used   Used
	err    error // answered after the record; *Denied gets its decision id then
	cause  error // for the operator's log, where err says less
}

func (o *outcome) wipe() { secret.Wipe(o.used.Plaintext) }

// answer gives the result its decision id, now that there is one.
func (o *outcome) answer(decision string) (Used, error) {
	if o.err != nil {
		o.wipe()
		var refusal *Denied
		if errors.As(o.err, &refusal) {
			refusal.Decision = decision
		}
		return Used{}, o.err
	}
	o.used.Decision = decision
	return o.used, nil
}

// reasons are those of a refusal.
func (o *outcome) reasons() []policies.Reason {
	if o.err == nil {
		return nil
	}
	var refusal *Denied
	if errors.As(o.err, &refusal) {
		return refusal.Reasons
	}
	return nil
}

// fail turns what went wrong into what is recorded and answered. The cases that only an operator can do
// something about keep their cause for the log.
func (o *outcome) fail(err error) {
	var (
		refusal  *Denied
		input    *InputError
		tampered *store.TamperedError
		use      *key.UseError
		grant    *access.GrantError
		mismatch *PolicyMismatch
	)
	o.result = denied
	switch {
	case errors.As(err, &refusal):
		o.err = refusal
	case errors.Is(err, store.ErrNotFound):
		o.err = noGrant(o.target.ID)
	case errors.As(err, &tampered):
		o.cause = err
		o.err = denial(policies.Reason{Rule: "door", Code: "integrity",
			Message: "a record that this call depends on contradicts the ledger", Remedy: "an operator must restore the record"})
	case errors.As(err, &use):
		o.err = denial(policies.Reason{Rule: "door", Code: use.Code, Message: use.Detail,
			Remedy: "use a key version whose state and dates allow it"})
	case errors.As(err, &grant):
		o.err = denial(policies.Reason{Rule: "door", Code: grant.Code, Message: grant.Detail, Remedy: "ask the key's owner for a grant"})
	case errors.Is(err, policies.ErrPolicy), errors.Is(err, policies.ErrInput), errors.As(err, &mismatch):
		o.cause = err
		o.err = denial(policies.Reason{Rule: "door", Code: "policy_error",
			Message: "policy reached no decision, which is a refusal", Remedy: "the operator finds the cause in the service's log"})
	case errors.Is(err, dek.ErrMaterial):
		o.result, o.cause, o.err = failed, err, fmt.Errorf("%w: %w", ErrKeystore, err)
	case errors.Is(err, hsm.ErrCorrupt):
		o.result, o.err = failed, ErrBadCiphertext
	case errors.Is(err, ErrBadCiphertext), errors.Is(err, ErrNotThisKey), errors.Is(err, ErrForeign),
		errors.Is(err, hsm.ErrInactive), errors.Is(err, ErrBusy), errors.As(err, &input):
		o.result, o.err = failed, err
	case errors.Is(err, hsm.ErrUnavailable):
		o.result, o.cause, o.err = failed, err, err
	default:
		o.result, o.cause, o.err = failed, err, fmt.Errorf("%w: %w", ErrKeystore, err)
	}
}

// noGrant is the answer for a key that is not there, the same as for one without a grant: whether a key exists
// is nobody else's business.
func noGrant(keyID string) *Denied {
	return denial(policies.Reason{Rule: "door", Code: codeGrantMissing,
		Message: fmt.Sprintf("no grant lets this caller use key %q", keyID), Remedy: "ask the key's owner for a grant"})
}

func denial(reasons ...policies.Reason) *Denied {
	d := &Denied{Code: "denied", Reasons: reasons}
	if len(reasons) > 0 {
		d.Code = reasons[0].Code
		d.Retryable = len(reasons) == 1 && d.Code == CodeKeystoreInactive
	}
	return d
}

// reason is the code under which a refusal or failure is recorded, "" for a success.
func (o *outcome) reason() string {
	if o.err == nil {
		return ""
	}
	return codeOf(o.err)
}

// codeOf is the stable code under which a refusal or failure is recorded.
func codeOf(err error) string {
	var refusal *Denied
	var input *InputError
	switch {
	case errors.As(err, &refusal):
		return refusal.Code
	case errors.As(err, &input):
		return "invalid_field"
	case errors.Is(err, ErrBadCiphertext):
		return "bad_ciphertext"
	case errors.Is(err, ErrNotThisKey):
		return "wrong_key"
	case errors.Is(err, ErrForeign):
		return "foreign_ciphertext"
	case errors.Is(err, hsm.ErrInactive):
		return CodeKeystoreInactive
	case errors.Is(err, hsm.ErrUnavailable):
		return CodeKeystoreUnavailable
	case errors.Is(err, ErrBusy):
		return CodeBusy
	}
	return "keystore_error"
}
