package operation

import (
	"context"
	"fmt"

	"conclave/custodian/key"
	"conclave/custodian/oversight"
	"conclave/custodian/store"
)

type keyResumeParams struct {
	Key     string `json:"key"`
	Version uint32 `json:"version"` // 0: every suspended version
	Finding string `json:"finding"` // how the finding behind the suspension was closed
}

// keyResume releases a suspended key (T10) once the finding is closed. A version whose usage period ended
// meanwhile becomes deactivated instead (T12).
type keyResume struct{}

func (keyResume) Name() string { return "key.resume" }

func (o keyResume) Prepare(_ context.Context, _ Env, view *store.View, in Input) (Plan, error) {
	k, versions, finding, err := o.read(view, in)
	if err != nil {
		return Plan{}, err
	}
	plan := Plan{Target: keyTarget(k), Title: fmt.Sprintf("Resume key %s", k.ID), Quorum: keyQuorum(k),
		Lines: []Line{keyLine(k), {Label: "finding", After: finding}}}
	changed, err := o.apply(versions, foresee(in, finding))
	if plan.Deny, err = refusals(err); err != nil {
		return Plan{}, err
	}
	open, err := findingsOpen(view, findable(k, versions)...)
	if err != nil {
		return Plan{}, err
	}
	plan.Deny = append(plan.Deny, open...)
	plan.Lines = append(plan.Lines, changeLines(versions, changed)...)
	return plan, nil
}

func (keyResume) read(view *store.View, in Input) (k *key.Key, versions []*key.Version, finding string, err error) {
	p, err := decode[keyResumeParams](in)
	if err != nil {
		return nil, nil, "", err
	}
	if finding, err = why("finding", p.Finding, in); err != nil {
		return nil, nil, "", err
	}
	if k, err = keyRow(view, "key", p.Key); err != nil {
		return nil, nil, "", err
	}
	versions, err = versionRows(view, k, p.Version)
	return k, versions, finding, err
}

// findable is what a finding that stands against releasing a key is about.
func findable(k *key.Key, versions []*key.Version) []oversight.Ref {
	out := []oversight.Ref{{Type: "key", ID: k.ID}}
	for _, v := range versions {
		out = append(out, oversight.Ref{Type: "key_version", ID: key.VersionID(v.Key, v.Version)})
	}
	return out
}

// apply releases the versions. That the suspicion is cleared is what the quorum signs; findings on record that are
// open stand against it before.
func (keyResume) apply(versions []*key.Version, a acting) ([]*key.Version, error) {
	return key.FanOut(versions, key.Active, a.transition(""), key.Facts{FindingClosed: true})
}

func (o keyResume) Execute(_ context.Context, env Env, tx *store.Tx, in Input) (Result, error) {
	k, versions, finding, err := o.read(tx.View(), in)
	if err != nil {
		return Result{}, err
	}
	a := act(env, tx, in, finding)
	changed, err := o.apply(versions, a)
	if err != nil {
		return Result{}, err
	}
	return changedResult(k, changed), putChanged(a, tx, "key.resume", k, changed, nil)
}
