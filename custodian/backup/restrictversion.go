package backup

import (
	"fmt"
	"slices"

	"conclave/custodian/key"
)

// restrictVersion moves a version to the state that it had, by the table of transitions: what is in between is gone
// through at once. Guards that ask for what a quorum decided in the lost range are taken as decided.
func restrictVersion(v *key.Version, f Fact, act Act) (Applied, error) {
	id, to := key.VersionID(v.Key, v.Version), key.State(f.State)
	if v.State == to && f.Suspected && !v.Suspected {
		return Applied{Note: fmt.Sprintf("key version %s was suspected of compromise; the backup has it suspended without that", id)}, nil
	}
	if f.State == "" || v.State == to || v.State == key.Destroyed || (v.State == key.Compromised && to != key.Destroyed) ||
		(v.State == key.Deactivated && to == key.Suspended) {
		return Applied{}, nil
	}
	way := path(v, to)
	if way == nil {
		return Applied{Note: fmt.Sprintf("key version %s was %s; from %s no way leads there", id, to, v.State)}, nil
	}
	next := v.Clone()
	if slices.Contains(way, "T4") { // it had been in use: its day had come
		if !act.At.Before(v.OUPEnd) {
			return Applied{Note: fmt.Sprintf("key version %s was %s; it stays in %s for good, since its usage period is over", id, to, v.State)}, nil
		}
		if next.ActivationAt.IsZero() || next.ActivationAt.After(act.At) {
			next.ActivationAt = act.At
		}
	}
	for _, step := range way {
		t := key.Transition{ID: step, At: act.At, Actor: act.Actor, Ceremony: act.Ceremony, Reason: "recorded before the recovery, applied again"}
		if step == "T7" {
			t.Suspected = f.Suspected
		}
		var err error
		if next, err = next.Apply(t, key.Facts{PlacementFits: true, CustodiansAcknowledged: true, NeverUsed: true, NoDependents: true, ReplacementActive: true,
			FindingClosed: true, NoLegalHold: true, Reprotected: true, PairMoves: true, ApprovedAt: act.At.Add(-key.MinDestroyWait)}); err != nil {
			return Applied{}, fmt.Errorf("applying %s to %s: %w", f.State, id, err)
		}
	}
	return changed(next, f.State), nil
}

// path is the shortest way through the table that this version's type allows; nil when there is none.
func path(v *key.Version, to key.State) []string {
	type step struct {
		state key.State
		ids   []string
	}
	seen := map[key.State]bool{v.State: true}
	for queue := []step{{state: v.State}}; len(queue) > 0; queue = queue[1:] {
		at := queue[0]
		if at.state == to {
			return at.ids
		}
		for _, r := range key.Transitions() {
			if r.From != at.state || seen[r.To] || !leads(v, r, to) {
				continue
			}
			seen[r.To] = true
			queue = append(queue, step{r.To, append(slices.Clone(at.ids), r.ID)})
		}
	}
	return nil
}

// leads: a restoration takes this step on the way to a state. What releases is no way to a restriction, but for the
// activation of what has to be in use before it can be suspended or deactivated, in the same transaction; and nothing
// becomes compromised or destroyed on the way elsewhere.
func leads(v *key.Version, r key.TransitionRule, to key.State) bool {
	held := r.AtEnd == key.SetK && (v.Type == key.Master || len(v.Public) > 0)
	switch {
	case r.From == "" || r.ID == "T10" || r.ID == "A1":
		return false
	case r.ID == "T4":
		return to == key.Suspended || to == key.Deactivated
	case r.To == key.Compromised && to != key.Compromised:
		return false
	}
	return r.AtEnd == "" || r.AtEnd == v.Type.AtEnd() || held
}
