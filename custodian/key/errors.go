package key

import "fmt"

// Stable codes of refused transitions.
const (
	CodeUnknownState       = "unknown-state"
	CodeUnknownTransition  = "unknown-transition"
	CodeToPreActivation    = "returns-to-pre-activation"
	CodeNoChange           = "state-unchanged"
	CodeNotInUse           = "pre-activation-not-in-use"
	CodeDeactivatedReturns = "deactivated-returns"
	CodeCompromisedReturns = "compromised-returns"
	CodeDestroyedFinal     = "destroyed-is-final"
	CodeWrongFrom          = "transition-does-not-start-here"
	CodeHalfPair           = "half-a-pair"
	CodeType               = "type-ends-otherwise"
	CodeCeremonyMissing    = "ceremony-missing"
	CodeReasonMissing      = "reason-missing"
	CodeActorMissing       = "actor-missing"
	CodeTime               = "time-before-history"
	CodeNotDue             = "not-due"
	CodePeriodOver         = "usage-period-over"
	CodeUnconfirmed        = "import-unconfirmed"
	CodePlacement          = "keystore-does-not-fit"
	CodeAcknowledgement    = "custodians-not-acknowledged"
	CodeFindingOpen        = "finding-open"
	CodeUsed               = "version-was-used"
	CodeDependents         = "data-or-children-depend"
	CodeNoReplacement      = "replacement-not-active"
	CodeLegalHold          = "legal-hold"
	CodeWait               = "waiting-period"
	CodeReprotection       = "re-protection-unfinished"
	CodeReview             = "review-date"
	CodeHistory            = "history-does-not-replay"
)

// TransitionError refuses a change of state. Callers decide by Code.
type TransitionError struct {
	Code     string
	ID       string // transition, "" where no row of the table joins the two states
	Version  string // VersionID, "" where no version is concerned
	From, To State
	Detail   string
}

func (e *TransitionError) Error() string {
	s := fmt.Sprintf("%s to %s is refused (%s): %s", e.From, e.To, e.Code, e.Detail)
	if e.ID != "" {
		s = e.ID + ", " + s
	}
	if e.Version != "" {
		s = e.Version + ": " + s
	}
	return s
}

// Stable codes of refused uses.
const (
	CodeKeyPreActivation = "key-pre-activation"
	CodeKeySuspended     = "key-suspended"
	CodeKeySuspected     = "key-suspected"
	CodeKeyDeactivated   = "key-deactivated"
	CodeKeyCompromised   = "key-compromised"
	CodeKeyDestroyed     = "key-destroyed"
	CodeKeyState         = "key-state-unknown"
	CodeKeyNotYet        = "key-not-yet-active"
	CodeKeyOUPEnded      = "key-oup-ended"
	CodeKeyRUPEnded      = "key-rup-ended"
	CodeKeyDates         = "key-dates-missing"
	CodeKeyType          = "key-type-mismatch"
	CodeKeyRiskAccept    = "key-suspended-accept-risk"
	CodeKeyDuringSuspend = "key-data-from-suspension"
	CodeKeyGoverned      = "key-needs-ceremony"
	CodeOperation        = "operation-unknown"
)

// UseError refuses an operation with a key version. Callers decide by Code.
type UseError struct {
	Code    string
	Version string // VersionID
	State   State
	Detail  string
}

func (e *UseError) Error() string {
	return fmt.Sprintf("%s is %s (%s): %s", e.Version, e.State, e.Code, e.Detail)
}
