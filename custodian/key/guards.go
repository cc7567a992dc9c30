package key

import (
	"fmt"
	"strings"
	"time"
)

// guardRecord checks what every transition's record must carry (SP 800-57 Part 1 section 7: times and reasons).
func (v *Version) guardRecord(r TransitionRule, t Transition) error {
	switch {
	case strings.TrimSpace(t.Actor) == "":
		return v.refuse(r, CodeActorMissing, "the record names who acted")
	case strings.TrimSpace(t.Reason) == "" && r.ID != "T1" && r.ID != "T4":
		return v.refuse(r, CodeReasonMissing, "the record carries a reason")
	case r.Governed && t.Ceremony == "":
		return v.refuse(r, CodeCeremonyMissing, "it needs the ceremony that approved it")
	case t.At.IsZero() || t.At.Before(v.History[len(v.History)-1].At):
		return v.refuse(r, CodeTime, "the history holds a later time: the clock moved back")
	case r.ID != "T7" && (t.Suspected || t.ReviewBy != nil):
		return v.refuse(r, CodeReview, "suspicion and review date belong to a suspension (T7)")
	}
	if err := CheckText("reason", t.Reason, 500, true); err != nil {
		return fmt.Errorf("recording %s: %w", r.ID, err)
	}
	return nil
}

// guard checks the guards of the transition table.
func (v *Version) guard(r TransitionRule, t Transition, f Facts) error {
	// A record with its public half in it is a whole pair: its halves change together by being one.
	if r.Pair && v.Type.Pair() && len(v.Public) == 0 && !f.PairMoves {
		return v.refuse(r, CodeHalfPair, "both halves of a pair change together")
	}
	if r.AtEnd != "" && v.Type.AtEnd() != r.AtEnd && !(r.AtEnd == SetK && v.heldAtEnd()) {
		return v.refuse(r, CodeType, fmt.Sprintf("keys of type %q do not end this way", v.Type))
	}
	switch r.ID {
	case "T2":
		return v.require(r, f.NeverUsed, CodeUsed, "the record shows a use")
	case "T4":
		return v.guardActivation(r, t.At, f)
	case "T5", "T9":
		return v.guardEndOfUse(r, t, f)
	case "T7":
		latest := t.At.Add(MaxSuspension)
		return v.require(r, t.ReviewBy.After(t.At) && !t.ReviewBy.After(latest), CodeReview,
			fmt.Sprintf("a suspension is reviewed within %d days", MaxSuspension/Day))
	case "T8":
		return v.require(r, !t.At.Before(v.OUPEnd) || f.ReplacementActive || t.Ceremony != "", CodeNotDue,
			"before the end of its usage period a version without a replacement is deactivated by ceremony only")
	case "T10":
		if !t.At.Before(v.OUPEnd) {
			return v.refuse(r, CodePeriodOver, "its originator usage period is over")
		}
		return v.require(r, f.FindingClosed, CodeFindingOpen, "the finding behind the suspension is open")
	case "T12":
		if v.Suspected && !f.FindingClosed {
			return v.refuse(r, CodeFindingOpen, "suspected compromise is neither confirmed nor cleared")
		}
		return v.require(r, !t.At.Before(v.OUPEnd) || t.Ceremony != "", CodeNotDue,
			"before the end of its usage period a suspended version is deactivated by ceremony only")
	case "T13":
		return v.guardDestruction(r, t, f, f.NoDependents, CodeDependents, "data protected by it is outstanding and not waived")
	case "T15":
		return v.guardDestruction(r, t, f, f.Reprotected, CodeReprotection, "data protected by it is not protected anew, nor is that waived")
	}
	return nil
}

func (v *Version) guardActivation(r TransitionRule, at time.Time, f Facts) error {
	switch {
	case v.ActivationAt.IsZero() || at.Before(v.ActivationAt):
		return v.refuse(r, CodeNotDue, "its activation date is not reached")
	case !at.Before(v.OUPEnd):
		return v.refuse(r, CodePeriodOver, "its originator usage period is over")
	case v.Unconfirmed():
		return v.refuse(r, CodeUnconfirmed, "nobody has confirmed the check value of the imported key")
	case !f.PlacementFits:
		return v.refuse(r, CodePlacement, "its keystore does not fit the key")
	}
	return v.require(r, f.CustodiansAcknowledged, CodeAcknowledgement, "custodians of its keystore have not acknowledged their duty")
}

// guardEndOfUse guards the destruction of set D types straight out of use: the period ended or the key was
// replaced, and nothing hangs on it.
func (v *Version) guardEndOfUse(r TransitionRule, t Transition, f Facts) error {
	switch {
	case v.Suspected && !f.FindingClosed:
		return v.refuse(r, CodeFindingOpen, "suspected compromise is neither confirmed nor cleared")
	case t.At.Before(v.OUPEnd) && !f.ReplacementActive:
		return v.refuse(r, CodeNoReplacement, "its usage period runs and no replacement is active")
	}
	return v.guardDestruction(r, t, f, f.NoDependents, CodeDependents, "keys or data depend on it")
}

func (v *Version) guardDestruction(r TransitionRule, t Transition, f Facts, free bool, code, detail string) error {
	switch {
	case !free:
		return v.refuse(r, code, detail)
	case !f.NoLegalHold:
		return v.refuse(r, CodeLegalHold, "a legal hold is set")
	case f.ApprovedAt.IsZero() || t.At.Sub(f.ApprovedAt) < MinDestroyWait:
		return v.refuse(r, CodeWait, fmt.Sprintf("it waits %d days after approval, cancellable", MinDestroyWait/Day))
	}
	return nil
}

func (v *Version) require(r TransitionRule, holds bool, code, detail string) error {
	if holds {
		return nil
	}
	return v.refuse(r, code, detail)
}
