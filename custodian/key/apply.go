package key

import (
	"fmt"
	"slices"
	"time"

	"conclave/hsm"
)

const (
	// Day is the unit of cryptoperiods: 24 hours, all times are UTC.
	Day = 24 * time.Hour
	// MaxSuspension is the longest time to the review of a suspension (ours).
	MaxSuspension = 30 * Day
	// MinDestroyWait is the least time between the approval of a destruction and its execution, in which
	// one person may cancel it (ours).
	MinDestroyWait = 7 * Day
)

// Facts is what guards need and a version cannot know by itself. Its zero value refuses.
type Facts struct {
	PlacementFits          bool      // T4: the key may live in its keystore, judged now
	CustodiansAcknowledged bool      // T4: those who hold the keystore's shares have signed for their duty
	NeverUsed              bool      // T2: the record shows no use
	NoDependents           bool      // T5, T9, T13: no child key and no data outstanding, or a signed waiver
	ReplacementActive      bool      // T5, T8, T9: a newer version of the key is active
	FindingClosed          bool      // T10, and T12 after suspicion: what led to the suspension is closed
	NoLegalHold            bool      // T13, T15
	Reprotected            bool      // T15: everything is protected anew, or that is waived
	PairMoves              bool      // the other half of the pair makes the same transition in the same transaction
	ApprovedAt             time.Time // T5, T9, T13, T15: when the destruction was approved; its wait counts from here
}

// Apply returns the version after one transition; the receiver is never changed. t carries ID, At, Actor,
// Ceremony and Reason, and for T7 Suspected and ReviewBy (MaxSuspension after At where nil); From and To
// come from the table. A refusal is a *TransitionError; a reason that is not a line of text is a *FieldError.
func (v *Version) Apply(t Transition, f Facts) (*Version, error) {
	if err := v.CheckHistory(); err != nil {
		return nil, err
	}
	rule, ok := transitionByID(t.ID)
	if !ok {
		return nil, v.refuse(TransitionRule{ID: t.ID, From: v.State}, CodeUnknownTransition, "ids are T1 to T15 and A1")
	}
	if rule.From != v.State {
		if _, err := Between(v.State, rule.To); err != nil {
			e := forbidden(v.State, rule.To)
			e.ID, e.Version = t.ID, VersionID(v.Key, v.Version)
			return nil, e
		}
		return nil, v.refuse(rule, CodeWrongFrom, fmt.Sprintf("it starts from %s", rule.From))
	}
	t.From, t.To, t.At = rule.From, rule.To, normal(t.At)
	if t.ID == "T7" && t.ReviewBy == nil {
		by := t.At.Add(MaxSuspension)
		t.ReviewBy = &by
	}
	if err := v.guardRecord(rule, t); err != nil {
		return nil, err
	}
	if err := v.guard(rule, t, f); err != nil {
		return nil, err
	}
	next := v.Clone()
	next.step(t)
	return next, nil
}

// step brings the state that one history line leaves behind.
func (v *Version) step(t Transition) {
	v.History = append(v.History, t)
	v.State = t.To
	v.SuspendedAt, v.Suspected, v.ReviewBy = nil, false, nil
	switch {
	case t.ID == "A1":
		v.CompromisedBeforeDestroy = true
	case t.To == Suspended:
		v.SuspendedAt, v.Suspected, v.ReviewBy = clone(&t.At), t.Suspected, clone(t.ReviewBy)
	case t.To == Destroyed:
		v.DestroyedAt = clone(&t.At)
		v.Material = hsm.Material{}
		v.CompromisedBeforeDestroy = t.From == Compromised
	}
}

// CheckHistory replays the history and compares: a state that its history does not explain is refused.
func (v *Version) CheckHistory() error {
	bad := func(format string, a ...any) error {
		return v.refuse(TransitionRule{From: v.State, To: v.State}, CodeHistory, fmt.Sprintf(format, a...))
	}
	replay := Version{}
	for i, t := range v.History {
		rule, ok := transitionByID(t.ID)
		switch {
		case !ok || rule.From != t.From || rule.To != t.To:
			return bad("line %d is not a transition of the table", i+1)
		case rule.From != replay.State:
			return bad("line %d starts from %s, the state was %q", i+1, t.From, replay.State)
		case t.At.IsZero() || i > 0 && t.At.Before(v.History[i-1].At):
			return bad("line %d is dated before the line above it", i+1)
		case t.ID != "T7" && (t.Suspected || t.ReviewBy != nil):
			return bad("line %d carries the fields of a suspension", i+1)
		}
		replay.step(t)
	}
	switch {
	case len(v.History) == 0:
		return bad("it is empty")
	case replay.State != v.State:
		return bad("it ends in %s", replay.State)
	case !same(replay.SuspendedAt, v.SuspendedAt), !same(replay.ReviewBy, v.ReviewBy), replay.Suspected != v.Suspected:
		return bad("the suspension differs")
	case !same(replay.DestroyedAt, v.DestroyedAt), replay.CompromisedBeforeDestroy != v.CompromisedBeforeDestroy:
		return bad("the destruction differs")
	case v.State == Destroyed && len(v.Material.Blob) > 0:
		return bad("it ends in destroyed, material remains")
	}
	return nil
}

// Clone returns an independent copy.
func (v *Version) Clone() *Version {
	c := *v
	c.Material.Blob, c.Public = slices.Clone(v.Material.Blob), slices.Clone(v.Public)
	c.Material.Copies = slices.Clone(v.Material.Copies)
	c.SuspendedAt, c.ReviewBy, c.DestroyedAt = clone(v.SuspendedAt), clone(v.ReviewBy), clone(v.DestroyedAt)
	c.History, c.Import = slices.Clone(v.History), v.Import.clone()
	for i := range c.History {
		c.History[i].ReviewBy = clone(c.History[i].ReviewBy)
	}
	return &c
}

func clone(t *time.Time) *time.Time {
	if t == nil {
		return nil
	}
	c := *t
	return &c
}

func same(a, b *time.Time) bool {
	return a == nil && b == nil || a != nil && b != nil && a.Equal(*b)
}

// normal is the form in which times are recorded: UTC, whole microseconds as in the ledger.
func normal(t time.Time) time.Time { return t.UTC().Round(0).Truncate(time.Microsecond) }

func (v *Version) refuse(r TransitionRule, code, detail string) *TransitionError {
	return &TransitionError{Code: code, ID: r.ID, Version: VersionID(v.Key, v.Version), From: v.State, To: r.To, Detail: detail}
}
