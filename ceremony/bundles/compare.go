package bundles

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"conclave/ceremony/placement"
	"conclave/custodian"
	"conclave/custodian/key"
	"conclave/custodian/store"
	"conclave/policies"
)

// alike are keys about which a question is the same.
type alike struct {
	facts string
	input any
	count int
	keys  []string
	words string // what the bundle in force says
}

// comparison asks both bundles the same about all keys, once for those that are alike.
func (t *trial) comparison(ctx context.Context, point policies.Point, question func(k *key.Key) (facts string, input any, words string, err error),
	words func(k string, decision json.RawMessage) string) ([]KeyChange, int, error) {
	var order []*alike
	seen := map[string]*alike{}
	for _, k := range store.All[key.Key](t.view, custodian.KindKey) {
		facts, input, says, err := question(k)
		if err != nil {
			return nil, 0, err
		}
		a := seen[facts]
		if a == nil {
			a = &alike{facts: facts, input: input, words: says}
			seen[facts], order = a, append(order, a)
		}
		if a.count++; len(a.keys) < maxKeysNamed {
			a.keys = append(a.keys, k.ID)
		}
	}
	out, total := []KeyChange{}, 0
	for chunk := range slices.Chunk(order, policies.MaxQuestions) {
		var inputs []any
		for _, a := range chunk {
			inputs = append(inputs, a.input)
		}
		answers, err := t.ask(ctx, point, inputs)
		if err != nil {
			return nil, 0, err
		}
		for i, a := range chunk {
			then := "no answer, which is a refusal"
			if answers[i].Problem == "" {
				then = words(a.facts, answers[i].Decision)
			}
			if then == a.words {
				continue
			}
			if total += a.count; len(out) < maxDifferences {
				out = append(out, KeyChange{Facts: a.facts, Count: a.count, Keys: a.keys, Before: a.words, After: then})
			}
		}
	}
	return out, total, nil
}

// placements compares where every key may live.
func (t *trial) placements(ctx context.Context, r *Report) error {
	changes, err := t.strands(ctx)
	if err != nil {
		return err
	}
	r.Placements = []KeyChange{}
	for _, c := range changes {
		if r.PlacementsCount += len(c.Before.Keys); len(r.Placements) < maxDifferences {
			r.Placements = append(r.Placements, KeyChange{Facts: c.Facts(), Count: len(c.Before.Keys), Keys: c.Before.Keys[:min(len(c.Before.Keys), maxKeysNamed)],
				Before: c.Before.Words(), After: c.After.Words()})
		}
	}
	return nil
}

// Strands says how keys would stand under a kept bundle that stand otherwise under the one in force: as its back-test
// does, without the recorded decisions. Errors: store.ErrNotFound, ErrBusy.
func (k *Keeper) Strands(ctx context.Context, digest string) ([]placement.Change, error) {
	view := k.door.View()
	_, files, err := custodian.StoredPolicy(view, digest)
	if err != nil {
		return nil, err
	}
	inForce := k.door.PoliciesOf(view)
	if err := inForce.Problem(); err != nil {
		return nil, err
	}
	if !k.checking.TryLock() {
		return nil, ErrBusy
	}
	defer k.checking.Unlock()
	t := &trial{k: k, view: view, inForce: inForce, files: texts(files), mode: policies.Mode(k.door.Instance().Mode)}
	return t.strands(ctx)
}

// strands is how keys would stand under the proposal that stand otherwise under the bundle in force.
func (t *trial) strands(ctx context.Context) ([]placement.Change, error) {
	facts, err := t.k.door.PlacementInput(t.view, policies.PlacementKey{})
	if err != nil {
		return nil, err
	}
	groups, err := placement.Groups(t.view, facts.Exceptions)
	if err != nil {
		return nil, err
	}
	return placement.Compare(ctx, placement.World{Facts: facts, Ask: placement.By(t.inForce)}, placement.World{Facts: facts, Ask: t.place}, groups)
}

// place has questions about placement answered by the proposal.
func (t *trial) place(ctx context.Context, questions []policies.PlacementInput) ([]placement.Answer, error) {
	inputs := make([]any, len(questions))
	for i, q := range questions {
		inputs[i] = q
	}
	answers, err := t.ask(ctx, policies.PointPlace, inputs)
	if err != nil {
		return nil, err
	}
	out := make([]placement.Answer, len(answers))
	for i, a := range answers {
		if out[i].Problem = a.Problem; a.Problem == "" && json.Unmarshal(a.Decision, &out[i].Decision) != nil {
			out[i].Problem = noDecision
		}
	}
	return out, nil
}

// lifecycles compares how every key's cryptoperiods are judged.
func (t *trial) lifecycles(ctx context.Context, r *Report) (err error) {
	tell := func(d policies.LifecycleDecision) string {
		if !d.Allow && len(d.Reasons) > 0 {
			return "refused (" + d.Reasons[0].Code + ")"
		}
		return fmt.Sprintf("protects %d of at most %d days, processes %d, rotated after %d, destroyed after %d days of waiting",
			d.OUPDays, d.MaxOUPDays, d.RUPDays, d.RotateDays, d.DestroyWaitDays)
	}
	r.Lifecycles, r.LifecyclesCount, err = t.comparison(ctx, policies.PointLifecycle, func(k *key.Key) (string, any, string, error) {
		in := policies.LifecycleInput{Now: t.view.Time(), Mode: t.mode, Type: string(k.Type), Classification: string(k.Classification),
			OUPDays: k.OUPDays, RUPDays: k.RUPDays, RotateDays: k.RotateDays}
		facts := fmt.Sprintf("%s, %s, %d, %d and %d days", k.Type, k.Classification, k.OUPDays, k.RUPDays, k.RotateDays)
		d, err := t.inForce.Lifecycle(ctx, in)
		if err != nil {
			return facts, in, "no answer, which is a refusal", nil
		}
		return facts, in, tell(d), nil
	}, func(_ string, raw json.RawMessage) string {
		var d policies.LifecycleDecision
		if json.Unmarshal(raw, &d) != nil {
			return noDecision
		}
		return tell(d)
	})
	return err
}

// quorums compares what every operation takes, for keys of every class. Shares are those of a set of 3 in 5.
func (t *trial) quorums(ctx context.Context, r *Report) error {
	var inputs []any
	var asked []policies.QuorumInput
	for _, name := range operations() {
		for _, class := range policies.Classifications() {
			in := policies.QuorumInput{Now: t.view.Time(), Mode: t.mode, Operation: name, Precedent: "an earlier decision",
				Requester: policies.Requester{Kind: "human", ID: "requester", Roles: policies.RequesterRoles()},
				Target:    policies.QuorumTarget{Type: "target", ID: "target", Owner: "requester", Classifications: []string{class}, Threshold: 3, Total: 5}}
			asked, inputs = append(asked, in), append(inputs, in)
		}
	}
	var answers []policies.Answer
	for chunk := range slices.Chunk(inputs, policies.MaxQuestions) {
		some, err := t.ask(ctx, policies.PointQuorum, chunk)
		if err != nil {
			return err
		}
		answers = append(answers, some...)
	}
	for i, in := range asked {
		before := "no answer, which is a refusal"
		if d, err := t.inForce.Quorum(ctx, in); err == nil {
			before = d.Words()
		}
		after := "no answer, which is a refusal"
		var d policies.QuorumDecision
		if answers[i].Problem == "" && json.Unmarshal(answers[i].Decision, &d) == nil {
			after = d.Words()
		}
		if before == after {
			continue
		}
		class := in.Target.Classifications[0]
		if n := len(r.Quorums); n > 0 && r.Quorums[n-1].Operation == in.Operation && r.Quorums[n-1].Before == before && r.Quorums[n-1].After == after {
			r.Quorums[n-1].Classes = append(r.Quorums[n-1].Classes, class)
			continue
		}
		r.Quorums = append(r.Quorums, Quorum{Operation: in.Operation, Classes: []string{class}, Before: before, After: after})
	}
	return nil
}
