package key

import (
	"fmt"
	"time"
)

// FanOut applies a command on a key to its versions: every version that the table lets move to the state
// asked for moves, the others stay. It returns the changed versions only, in order; t needs no ID. Any guard
// that refuses refuses the whole command, and so does a command that would move nothing.
//
// Commands are Suspended, Active (resume), Deactivated and Compromised; destruction names one version. A
// suspended version whose originator usage period ended meanwhile is resumed to Deactivated, for processing.
func FanOut(versions []*Version, to State, t Transition, f Facts) ([]*Version, error) {
	if to != Suspended && to != Active && to != Deactivated && to != Compromised {
		return nil, &TransitionError{Code: CodeUnknownState, To: to, Detail: "a key is suspended, resumed, deactivated or marked compromised as a whole"}
	}
	var changed []*Version
	var refusal error
	for _, v := range versions {
		rule, err := Between(v.State, target(v, to, normal(t.At)))
		if err != nil || to == Active && v.State != Suspended {
			if err != nil {
				refusal = fmt.Errorf("%s: %w", VersionID(v.Key, v.Version), err)
			}
			continue
		}
		line := t
		line.ID = rule.ID
		next, err := v.Apply(line, f)
		if err != nil {
			return nil, err
		}
		changed = append(changed, next)
	}
	if len(changed) > 0 {
		return changed, nil
	}
	if refusal == nil {
		refusal = &TransitionError{Code: CodeNoChange, To: to, Detail: "no version can move there"}
	}
	return nil, refusal
}

// target is where a command takes one version.
func target(v *Version, to State, at time.Time) State {
	if to == Active && v.State == Suspended && !at.Before(v.OUPEnd) {
		return Deactivated
	}
	return to
}
