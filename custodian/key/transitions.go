package key

// TransitionRule is one row of the transition table.
type TransitionRule struct {
	ID       string
	From, To State
	// Pair: half a key pair does not make this transition alone.
	Pair bool
	// Governed: needs the ceremony that approved it; the transition cannot be undone, or releases.
	Governed bool
	// AtEnd restricts the transition to types with this disposition; "" for any type.
	AtEnd Disposition
}

// Transitions returns T1 to T15 of SP 800-57 Part 1 section 7 and A1, the annotation of a destroyed key
// that turned out to have been compromised.
func Transitions() []TransitionRule {
	return []TransitionRule{
		{ID: "T1", From: "", To: PreActivation},
		{ID: "T2", From: PreActivation, To: Destroyed, Pair: true, Governed: true},
		{ID: "T3", From: PreActivation, To: Compromised, Pair: true, Governed: true},
		{ID: "T4", From: PreActivation, To: Active},
		{ID: "T5", From: Active, To: Destroyed, Governed: true, AtEnd: SetD},
		{ID: "T6", From: Active, To: Compromised, Pair: true, Governed: true},
		{ID: "T7", From: Active, To: Suspended, Pair: true},
		{ID: "T8", From: Active, To: Deactivated, AtEnd: SetK},
		{ID: "T9", From: Suspended, To: Destroyed, Governed: true, AtEnd: SetD},
		{ID: "T10", From: Suspended, To: Active, Pair: true, Governed: true},
		{ID: "T11", From: Suspended, To: Compromised, Pair: true, Governed: true},
		{ID: "T12", From: Suspended, To: Deactivated, AtEnd: SetK},
		{ID: "T13", From: Deactivated, To: Destroyed, Governed: true},
		{ID: "T14", From: Deactivated, To: Compromised, Pair: true, Governed: true},
		{ID: "T15", From: Compromised, To: Destroyed, Governed: true},
		{ID: "A1", From: Destroyed, To: Destroyed},
	}
}

// Between returns the transition from one state to another, or a *TransitionError that says why there is none.
func Between(from, to State) (TransitionRule, error) {
	for _, r := range Transitions() {
		if r.From == from && r.To == to && from != "" {
			return r, nil
		}
	}
	return TransitionRule{}, forbidden(from, to)
}

// transitionByID returns the row of an id.
func transitionByID(id string) (TransitionRule, bool) {
	for _, r := range Transitions() {
		if r.ID == id {
			return r, true
		}
	}
	return TransitionRule{}, false
}

// forbidden names the rule that a pair of states breaks.
func forbidden(from, to State) *TransitionError {
	e := &TransitionError{From: from, To: to}
	switch {
	case !known(from) || !known(to):
		e.Code, e.Detail = CodeUnknownState, "states are pre-activation, active, suspended, deactivated, compromised, destroyed"
	case to == PreActivation:
		e.Code, e.Detail = CodeToPreActivation, "no version returns to the state before its first activation"
	case from == to:
		e.Code, e.Detail = CodeNoChange, "the version is in this state already"
	case from == PreActivation:
		e.Code, e.Detail = CodeNotInUse, "a version that was never active can be activated, destroyed or marked compromised"
	case from == Deactivated:
		e.Code, e.Detail = CodeDeactivatedReturns, "a deactivated version never protects again and can not be suspended"
	case from == Compromised:
		e.Code, e.Detail = CodeCompromisedReturns, "a compromised version can only be destroyed"
	default:
		e.Code, e.Detail = CodeDestroyedFinal, "a destroyed version is gone for good"
	}
	return e
}

func known(s State) bool {
	for _, k := range States() {
		if s == k {
			return true
		}
	}
	return false
}
