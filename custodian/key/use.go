package key

import (
	"fmt"
	"time"
)

// Use is what the permission to use a version depends on besides the version.
type Use struct {
	Now         time.Time
	ProtectedAt time.Time // processing: when the data was protected, authenticated by its ciphertext
	AcceptRisk  bool      // processing while suspended: the caller accepts the risk and gave a reason
	Ceremony    string    // export: the governed ceremony that approved it
}

// Allows answers one cell of the state table for this version: nil, or a *UseError.
func (v *Version) Allows(op Operation, u Use) error {
	if !op.Protects() && !op.Processes() && op != Confirm && op != ExportWrapped {
		return v.deny(CodeOperation, fmt.Sprintf("operation %q is not one of the state table", clip(string(op))))
	}
	if !v.Permits(op) {
		return v.deny(CodeKeyType, fmt.Sprintf("keys of type %q do not %s", v.Type, op))
	}
	switch {
	case op.Protects():
		return v.AllowsProtect(u.Now)
	case op == Verify && len(v.Public) > 0:
		return v.AllowsVerify(u.Now)
	case op.Processes():
		return v.AllowsProcess(u.Now, u.ProtectedAt, u.AcceptRisk)
	}
	switch Permitted(v.State, op) {
	case Free:
		return nil
	case Dual:
		if u.Ceremony == "" {
			return v.deny(CodeKeyGoverned, fmt.Sprintf("%s needs a governed ceremony", op))
		}
		return nil
	}
	return v.denyState()
}

// Permits reports whether an operation fits the version's type; of a pair, the type of either half.
func (v *Version) Permits(op Operation) bool {
	return v.Type.Permits(op) || len(v.Public) > 0 && v.Type.PublicHalf().Permits(op)
}

// PublicState is the state of a pair's public half. Being one record, the halves change state together, but for
// the end: a private half is destroyed, and the public one is deactivated and verifies on, unless the pair was
// never in use or is compromised.
func (v *Version) PublicState() State {
	switch {
	case v.State != Destroyed || len(v.Public) == 0:
		return v.State
	case v.CompromisedBeforeDestroy:
		return Compromised
	}
	for _, t := range v.History {
		if t.To == Active {
			return Deactivated
		}
	}
	return Destroyed
}

// PublicHalfVerifies reports whether the version is a signature pair, whose public half outlives the private one.
func (v *Version) PublicHalfVerifies() bool {
	return len(v.Public) > 0 && v.Type.PublicHalf().Permits(Verify)
}

// AllowsVerify reports whether signatures of the version are verified now, by its public half. A signature does not
// say when it was made, so that none is verified while the version is suspended.
func (v *Version) AllowsVerify(now time.Time) error {
	half := *v
	half.State = v.PublicState()
	return half.AllowsProcess(now, time.Time{}, false)
}

// AllowsProtect reports whether the version may protect now: active, and activation_at ≤ now < oup_end
// (SP 800-57 Part 1 section 5.3.5). It does not rely on any job having run.
func (v *Version) AllowsProtect(now time.Time) error {
	if v.State != Active {
		return v.denyState()
	}
	return v.within(now, v.OUPEnd, CodeKeyOUPEnded, "its originator usage period is over")
}

// within denies before the activation date, and from the end of a usage period on, with its code.
func (v *Version) within(now, end time.Time, code, over string) error {
	switch {
	case v.ActivationAt.IsZero() || end.IsZero():
		return v.deny(CodeKeyDates, "its usage period is not recorded")
	case now.Before(v.ActivationAt):
		return v.deny(CodeKeyNotYet, "its activation date is not reached")
	case !now.Before(end):
		return v.deny(code, over)
	}
	return nil
}

// withinRecipientUse denies outside of the recipient usage period.
func (v *Version) withinRecipientUse(now time.Time) error {
	return v.within(now, v.RUPEnd, CodeKeyRUPEnded, "its recipient usage period is over")
}

// AllowsProcess reports whether the version may process data that was protected at protectedAt: active or
// deactivated until rup_end; suspended only for data from before the suspension, with the risk accepted and
// no compromise suspected.
func (v *Version) AllowsProcess(now, protectedAt time.Time, acceptRisk bool) error {
	if v.State != Active && v.State != Deactivated && v.State != Suspended {
		return v.denyState()
	}
	if err := v.withinRecipientUse(now); err != nil || v.State != Suspended {
		return err
	}
	switch {
	case v.Suspected || v.SuspendedAt == nil:
		return v.deny(CodeKeySuspected, "compromise is suspected: nothing is processed until the finding is closed")
	case protectedAt.IsZero() || !protectedAt.Before(v.SuspendedAt.Truncate(time.Millisecond)):
		// Ciphertexts date themselves in whole milliseconds, rounded down: compare with the suspension rounded down too.
		return v.deny(CodeKeyDuringSuspend, "the data was not protected before the suspension")
	case !acceptRisk:
		return v.deny(CodeKeyRiskAccept, "while suspended it processes only with accept_risk and a reason")
	}
	return nil
}

// denyState names the state that forbids a use.
func (v *Version) denyState() error {
	switch v.State {
	case PreActivation:
		return v.deny(CodeKeyPreActivation, "it is not yet authorised for use")
	case Active:
		return v.deny(CodeOperation, "the state table has no such use")
	case Suspended:
		return v.deny(CodeKeySuspended, "it is on hold until a quorum resumes it")
	case Deactivated:
		return v.deny(CodeKeyDeactivated, "it never protects again; it processes until its recipient usage period ends")
	case Compromised:
		return v.deny(CodeKeyCompromised, "it is used only under a controlled-use approval")
	case Destroyed:
		return v.deny(CodeKeyDestroyed, "its material is gone")
	}
	return v.deny(CodeKeyState, "the state is not one of the table")
}

func (v *Version) deny(code, detail string) error {
	return &UseError{Code: code, Version: VersionID(v.Key, v.Version), State: v.State, Detail: detail}
}
