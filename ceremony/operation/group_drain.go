package operation

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"conclave/custodian"
	"conclave/custodian/key"
	"conclave/custodian/store"
	"conclave/hsm"
	"conclave/hsm/group"
	"conclave/hsm/secret"
	"conclave/policies"
)

// groupDrain has nothing asked of a member any more, at once: for maintenance, or because something is wrong with it. The
// others go on. It comes back by a quorum (group.undrain), since nobody saw what was done to it meanwhile.
type groupDrain struct{}

func (groupDrain) Name() string { return "group.drain" }

func (groupDrain) read(env Env, view *store.View, in Input) (p groupMemberParams, record *key.Keystore, m *key.GroupMember, deny []policies.Reason, err error) {
	if p, record, m, err = namedMember(view, in); err != nil {
		return p, nil, nil, nil, err
	}
	if m.State == key.MemberDrained {
		return p, record, m, []policies.Reason{refusal("no_change", fmt.Sprintf("member %s of group %s is drained", m.Keystore, record.ID), "nothing to do")}, nil
	}
	others := slices.DeleteFunc(slices.Clone(record.Group.Members), func(o key.GroupMember) bool {
		if o.Keystore == m.Keystore || o.State != key.MemberServing {
			return true
		}
		own, err := keystoreRow(view, "keystore", o.Keystore)
		return err != nil || len(inactive(env, own)) > 0
	})
	if len(others) == 0 { // restricting is one person's, stopping everything is not
		deny = append(deny, refusal("group_last_member", fmt.Sprintf("no other member of group %s serves here", record.ID), "activate another, bring one back (group.undrain), or close the group (keystore.deactivate)"))
	}
	few, err := tooFew(view, record, m.Keystore, 1)
	return p, record, m, append(deny, few...), err
}

func (o groupDrain) Prepare(_ context.Context, env Env, view *store.View, in Input) (Plan, error) {
	p, record, m, deny, err := o.read(env, view, in)
	if err != nil {
		return Plan{}, err
	}
	plan := keystorePlan(record, fmt.Sprintf("Drain member %s of group %s: nothing is asked of it, the others go on", m.Keystore, record.ID))
	plan.Deny = deny
	plan.Lines = append(plan.Lines, Line{Label: "member " + m.Keystore, Before: m.State, After: key.MemberDrained})
	serving := 0
	for _, x := range record.Group.Members {
		if x.State == key.MemberServing && x.Keystore != m.Keystore {
			serving++
		}
	}
	if serving < group.LeastCopies {
		plan.Lines = append(plan.Lines, Line{Label: "meanwhile", After: fmt.Sprintf("no new keys and versions: fewer than %d members serve", group.LeastCopies)})
	}
	plan.Lines = append(plan.Lines, Line{Label: "reason", After: p.Reason})
	return plan, nil
}

func (o groupDrain) Execute(_ context.Context, env Env, tx *store.Tx, in Input) (Result, error) {
	p, record, m, deny, err := o.read(env, tx.View(), in)
	if err != nil {
		return Result{}, err
	}
	if err := errRefused("draining "+p.Keystore, deny); err != nil {
		return Result{}, err
	}
	a := act(env, tx, in, p.Reason)
	m.State, m.Since, m.Ceremony = key.MemberDrained, a.at, in.Ceremony
	record.GovRevision++
	e := a.event("group.drain", groupTarget(record), map[string]any{"member": m.Keystore})
	return result(map[string]any{"keystore": record.ID, "member": m.Keystore, "state": m.State}), a.put(tx, custodian.KindKeystore, record.ID, record, e)
}

// groupUndrain has a member serve again, after it has shown of every key that it holds the right one.
type groupUndrain struct{}

func (groupUndrain) Name() string { return "group.undrain" }

func (groupUndrain) read(env Env, view *store.View, in Input) (p groupMemberParams, record *key.Keystore, m *key.GroupMember, deny []policies.Reason, err error) {
	if p, record, m, err = namedMember(view, in); err != nil {
		return p, nil, nil, nil, err
	}
	if m.State == key.MemberServing {
		deny = append(deny, refusal("no_change", fmt.Sprintf("member %s of group %s serves", m.Keystore, record.ID), "nothing to do"))
	}
	own, err := keystoreRow(view, "keystore", p.Keystore)
	if err != nil {
		return p, nil, nil, nil, err
	}
	return p, record, m, append(deny, inactive(env, own)...), nil
}

func (o groupUndrain) Prepare(_ context.Context, env Env, view *store.View, in Input) (Plan, error) {
	p, record, m, deny, err := o.read(env, view, in)
	if err != nil {
		return Plan{}, err
	}
	versions, err := inKeystore(view, record.ID)
	if err != nil {
		return Plan{}, err
	}
	plan := keystorePlan(record, fmt.Sprintf("Have member %s of group %s serve again", m.Keystore, record.ID))
	plan.Deny = deny
	plan.Lines = append(plan.Lines, Line{Label: "member " + m.Keystore, Before: "drained since " + m.Since.UTC().Format(dateTime), After: key.MemberServing},
		Line{Label: fmt.Sprintf("%d key versions", len(versions)), After: "it computes the check value of every one that it holds; what it lacks, or has another of, is sent to it anew"},
		Line{Label: "reason", After: p.Reason})
	return plan, nil
}

// proved is what a member showed.
type proved struct {
	Joined joined   `json:"joined"`
	Wrong  []string `json:"wrong,omitempty"` // ids of versions that it has no right copy of
	Right  int      `json:"right"`
}

func (o groupUndrain) Effect(ctx context.Context, env Env, in Input, effectID string, _ *secret.Bytes) (Effect, error) {
	view := env.Custodian.View()
	p, record, _, deny, err := o.read(env, view, in)
	if err != nil {
		return Effect{}, err
	}
	if err := errRefused("bringing back "+p.Keystore, deny); err != nil {
		return Effect{}, err
	}
	g, err := groupDriver(env, record.ID)
	if err != nil {
		return Effect{}, err
	}
	out := proved{}
	if out.Joined, err = reintroduce(ctx, env, record, p.Keystore); err != nil {
		return Effect{}, err
	}
	versions, err := inKeystore(view, record.ID)
	if err != nil {
		return Effect{}, err
	}
	for _, v := range versions {
		if _, has := v.Material.In(p.Keystore); !has {
			continue
		}
		switch err := g.Prove(ctx, v.Material, p.Keystore); {
		case hsm.Waits(err):
			return Effect{}, err
		case err != nil:
			out.Wrong = append(out.Wrong, key.VersionID(v.Key, v.Version))
		default:
			out.Right++
		}
	}
	return effectOf(effectID, out)
}

// reintroduce makes sure that a member and all others that can be asked know each other: its pair, or theirs of it, may be
// gone. Where nothing is stored in it, it gets another pair.
func reintroduce(ctx context.Context, env Env, record *key.Keystore, id string) (joined, error) {
	driver, err := memberDriver(env, id)
	if err != nil {
		return joined{}, err
	}
	own, err := driver.Introduce(ctx, record.ID)
	if err != nil {
		return joined{}, err
	}
	out := joined{id, own}
	for _, m := range record.Group.Members {
		if m.Keystore == id {
			continue
		}
		if err := acquaint(ctx, env, record.ID, out, joined{m.Keystore, m.Transport}); err != nil && !hsm.Waits(err) {
			return joined{}, err
		}
	}
	return out, nil
}

// Recover does it again: to look changes nothing.
func (o groupUndrain) Recover(ctx context.Context, env Env, in Input, effectID string) (Effect, bool, error) {
	effect, err := o.Effect(ctx, env, in, effectID, nil)
	return effect, err == nil, err
}

func (o groupUndrain) Complete(_ context.Context, env Env, tx *store.Tx, in Input, effect Effect) (Result, error) {
	p, record, m, deny, err := o.read(env, tx.View(), in)
	if err != nil {
		return Result{}, err
	}
	if err := errRefused("bringing back "+p.Keystore, deny); err != nil {
		return Result{}, err
	}
	saw, err := dataOf[proved](effect)
	if err != nil {
		return Result{}, err
	}
	a := act(env, tx, in, p.Reason)
	if err := adoptTransport(env, tx.View(), m, saw.Joined); err != nil {
		return Result{}, err
	}
	versions, err := inKeystore(tx.View(), record.ID)
	if err != nil {
		return Result{}, err
	}
	sink := copySink(a, tx, record, p.Keystore+" has no right copy")
	for _, v := range versions {
		if !slices.Contains(saw.Wrong, key.VersionID(v.Key, v.Version)) {
			continue
		}
		next := v.Clone()
		next.Material.Copies = slices.DeleteFunc(next.Material.Copies, func(c hsm.Copy) bool { return c.Member == p.Keystore })
		if len(next.Material.Copies) == 0 {
			return Result{}, fmt.Errorf("%s would be in no member: %s is the only one on record and shows another key", key.VersionID(v.Key, v.Version), p.Keystore)
		}
		if err := sink.put(custodian.KindKeyVersion, key.VersionID(v.Key, v.Version), next); err != nil {
			return Result{}, err
		}
	}
	if err := sink.flush(); err != nil {
		return Result{}, err
	}
	m.State, m.Since, m.Ceremony = key.MemberServing, a.at, in.Ceremony
	record.GovRevision++
	e := a.event("group.undrain", groupTarget(record), map[string]any{"member": m.Keystore, "right": saw.Right, "wrong": len(saw.Wrong)})
	return result(map[string]any{"keystore": record.ID, "member": m.Keystore, "state": m.State, "right": saw.Right, "wrong": len(saw.Wrong)}), a.put(tx, custodian.KindKeystore, record.ID, record, e)
}

// adoptTransport records the pair under which keys are sent to a member from now on.
func adoptTransport(env Env, view *store.View, m *key.GroupMember, j joined) error {
	own, err := keystoreRow(view, "keystore", m.Keystore)
	if err != nil {
		return err
	}
	driver, err := Driver(env, own)
	if err != nil {
		return err
	}
	if err := underRecord(env, view, driver, own, &j.Transport); err != nil {
		return err
	}
	if j.Keystore != m.Keystore || j.Transport.Key == "" {
		return errors.New("the pair of another keystore")
	}
	m.Transport = j.Transport
	return nil
}

// Undo: nothing was changed that would have to be.
func (groupUndrain) Undo(context.Context, Env, Input, Effect) error { return nil }
