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

// together is what keystores can do as one.
func together(id string, drivers []hsm.Member) hsm.Capabilities {
	var members []group.Member
	for n, d := range drivers {
		members = append(members, group.Member{ID: fmt.Sprint(n), Driver: d})
	}
	g, err := group.New(group.Config{ID: id, Members: func() []group.Member { return members }})
	if err != nil {
		return hsm.Capabilities{}
	}
	return g.Capabilities()
}

// groupAdd brings another keystore without keys into a group; it gets the group's keys by group.resync.
type groupAdd struct{}

func (groupAdd) Name() string { return "group.add" }

func (groupAdd) read(ctx context.Context, env Env, view *store.View, in Input) (p groupMemberParams, record, joins *key.Keystore, deny []policies.Reason, err error) {
	if p, err = decode[groupMemberParams](in); err != nil {
		return p, nil, nil, nil, err
	}
	if p.Reason, err = why("reason", p.Reason, in); err != nil {
		return p, nil, nil, nil, err
	}
	if record, err = groupRow(view, "group", p.Group); err != nil {
		return p, nil, nil, nil, err
	}
	if joins, err = keystoreRow(view, "keystore", p.Keystore); err != nil {
		return p, nil, nil, nil, err
	}
	if record.Group.Member(joins.ID) != nil {
		return p, nil, nil, nil, &custodian.InputError{Field: "keystore", Problem: joins.ID + " is a member already", Allowed: "a keystore that is in no group"}
	}
	if n := len(record.Group.Members); n >= key.MostMembers {
		deny = append(deny, refusal("group_full", fmt.Sprintf("group %s has %d members", record.ID, n), fmt.Sprintf("at most %d; remove one first (group.remove)", key.MostMembers)))
	}
	like, err := keystoreRow(view, "group", record.Group.Members[0].Keystore)
	if err != nil {
		return p, nil, nil, nil, err
	}
	against, err := unfit(env, view, joins, like)
	if err != nil {
		return p, nil, nil, nil, err
	}
	deny = append(deny, against...)
	for _, id := range record.Group.IDs() { // each has to be told of the new one
		m, err := keystoreRow(view, "group", id)
		if err != nil {
			return p, nil, nil, nil, err
		}
		deny = append(deny, inactive(env, m)...)
	}
	after := *record
	after.Group = record.Group.Clone()
	after.Group.Members = append(after.Group.Members, key.GroupMember{Keystore: joins.ID, State: key.MemberServing})
	in2 := *joins
	in2.MemberOf = record.ID
	strands, err := strandedIn(ctx, env, view, &after, &in2)
	return p, record, joins, append(deny, strands...), err
}

func (o groupAdd) Prepare(ctx context.Context, env Env, view *store.View, in Input) (Plan, error) {
	p, record, joins, deny, err := o.read(ctx, env, view, in)
	if err != nil {
		return Plan{}, err
	}
	versions, err := inKeystore(view, record.ID)
	if err != nil {
		return Plan{}, err
	}
	members := []*key.Keystore{joins}
	for _, id := range record.Group.IDs() {
		m, err := keystoreRow(view, "group", id)
		if err != nil {
			return Plan{}, err
		}
		members = append(members, m)
	}
	plan := keystorePlan(record, fmt.Sprintf("Bring keystore %s into group %s: %d key versions are sent to it", joins.ID, record.ID, len(versions)))
	plan.Deny = deny
	plan.Lines = append(plan.Lines, Line{Label: "members", Before: join(record.Group.IDs()), After: join(append(record.Group.IDs(), joins.ID))},
		Line{Label: "new member", Before: "by itself", After: describeKeystore(joins, in.Now)})
	plan.Lines = append(append(plan.Lines, boundaryLines(env, members)...), Line{Label: "reason", After: p.Reason})
	return plan, nil
}

func (o groupAdd) Effect(ctx context.Context, env Env, in Input, effectID string, _ *secret.Bytes) (Effect, error) {
	p, record, joins, deny, err := o.read(ctx, env, env.Custodian.View(), in)
	if err != nil {
		return Effect{}, err
	}
	if err := errRefused("joining group "+p.Group, deny); err != nil {
		return Effect{}, err
	}
	driver, err := memberDriver(env, joins.ID)
	if err != nil {
		return Effect{}, err
	}
	own, err := driver.Introduce(ctx, record.ID)
	if err != nil {
		return Effect{}, err
	}
	all := []joined{{joins.ID, own}}
	for _, m := range record.Group.Members {
		other := joined{m.Keystore, m.Transport}
		if err := acquaint(ctx, env, record.ID, all[0], other); err != nil {
			return Effect{}, err
		}
		if m.State == key.MemberServing {
			all = append(all, other)
		}
	}
	if err := prove(ctx, env, record.ID, effectID, all); err != nil {
		return Effect{}, err
	}
	return effectOf(effectID, all[0])
}

// Recover does it again, which comes to the same.
func (o groupAdd) Recover(ctx context.Context, env Env, in Input, effectID string) (Effect, bool, error) {
	effect, err := o.Effect(ctx, env, in, effectID, nil)
	return effect, err == nil, err
}

func (o groupAdd) Complete(ctx context.Context, env Env, tx *store.Tx, in Input, effect Effect) (Result, error) {
	p, record, joins, deny, err := o.read(ctx, env, tx.View(), in)
	if err != nil {
		return Result{}, err
	}
	if err := errRefused("joining group "+p.Group, deny); err != nil {
		return Result{}, err
	}
	own, err := dataOf[joined](effect)
	if err != nil {
		return Result{}, err
	}
	driver, err := memberDriver(env, joins.ID)
	if err != nil {
		return Result{}, err
	}
	if err := underRecord(env, tx.View(), driver, joins, &own.Transport); err != nil {
		return Result{}, err
	}
	a := act(env, tx, in, p.Reason)
	record.Group.Members = append(record.Group.Members, memberRow(own, a))
	record.GovRevision++
	if err := putMembership(tx, joins, record.ID); err != nil {
		return Result{}, err
	}
	e := a.event("group.add", groupTarget(record), map[string]any{"member": joins.ID, "members": record.Group.IDs(), "check_value": own.Transport.CheckValue})
	return result(map[string]any{"keystore": record.ID, "members": record.Group.IDs(), "next": "its keys are sent to it (group.resync)"}), a.put(tx, custodian.KindKeystore, record.ID, record, e)
}

// Undo takes back what the keystore, and the members about it, were told.
func (groupAdd) Undo(ctx context.Context, env Env, in Input, _ Effect) error {
	p, err := decode[groupMemberParams](in)
	if err != nil {
		return err
	}
	record, err := groupRow(env.Custodian.View(), "group", p.Group)
	if err != nil {
		return err
	}
	if record.Group.Member(p.Keystore) != nil { // another ceremony brought it in
		return nil
	}
	return forget(ctx, env, record, p.Keystore)
}

// forget takes back what one keystore has of a group, and the others of it.
func forget(ctx context.Context, env Env, record *key.Keystore, id string) error {
	errs := []error{leave(ctx, env, record.ID, id, record.Group.IDs())}
	return errors.Join(append(errs, distrusted(ctx, env, record, id)...)...)
}

func distrusted(ctx context.Context, env Env, record *key.Keystore, id string) []error {
	var errs []error
	for _, other := range record.Group.IDs() {
		if other == id {
			continue
		}
		driver, err := memberDriver(env, other)
		if err == nil {
			err = driver.Distrust(ctx, record.ID, id)
		}
		errs = append(errs, err)
	}
	return errs
}

type groupRemoveParams struct {
	Group    string `json:"group"`
	Keystore string `json:"keystore"`
	Lost     bool   `json:"lost"` // it can not be asked any more: copies of keys stay in it
	Reason   string `json:"reason"`
}

// groupRemove takes a member out of a group, and destroys the copies of the group's keys in it.
type groupRemove struct{}

func (groupRemove) Name() string { return "group.remove" }

func (groupRemove) read(env Env, view *store.View, in Input) (p groupRemoveParams, record *key.Keystore, deny []policies.Reason, err error) {
	if p, err = decode[groupRemoveParams](in); err != nil {
		return p, nil, nil, err
	}
	if p.Reason, err = why("reason", p.Reason, in); err != nil {
		return p, nil, nil, err
	}
	if record, err = groupRow(view, "group", p.Group); err != nil {
		return p, nil, nil, err
	}
	m, err := memberOf(record, p.Keystore)
	if err != nil {
		return p, nil, nil, err
	}
	if m.State == key.MemberServing { // a drained one gets no keys while its copies are destroyed
		deny = append(deny, refusal("group_member_serving", fmt.Sprintf("member %s of group %s serves", m.Keystore, record.ID), "drain it first (group.drain)"))
	}
	if n := len(record.Group.Members); n <= key.LeastMembers {
		deny = append(deny, refusal("group_too_small", fmt.Sprintf("group %s would have %d member", record.ID, n-1), "add another member first (group.add), or move its keys elsewhere and retire the group"))
	}
	few, err := tooFew(view, record, p.Keystore, group.LeastCopies)
	if err != nil {
		return p, nil, nil, err
	}
	deny = append(deny, few...)
	if !p.Lost {
		own, err := keystoreRow(view, "keystore", p.Keystore)
		if err != nil {
			return p, nil, nil, err
		}
		deny = append(deny, inactive(env, own)...)
	}
	return p, record, deny, nil
}

func (o groupRemove) Prepare(_ context.Context, env Env, view *store.View, in Input) (Plan, error) {
	p, record, deny, err := o.read(env, view, in)
	if err != nil {
		return Plan{}, err
	}
	versions, err := inKeystore(view, record.ID)
	if err != nil {
		return Plan{}, err
	}
	held := 0
	for _, v := range versions {
		if _, has := v.Material.In(p.Keystore); has {
			held++
		}
	}
	plan := keystorePlan(record, fmt.Sprintf("Take keystore %s out of group %s", p.Keystore, record.ID))
	plan.Deny = deny
	after := fmt.Sprintf("destroyed in %s; the others keep theirs", p.Keystore)
	if p.Lost {
		after = fmt.Sprintf("stay in %s, which can not be asked: whoever has it and its shares has the keys", p.Keystore)
	}
	plan.Lines = append(plan.Lines, Line{Label: "members", Before: join(record.Group.IDs()), After: join(slices.DeleteFunc(record.Group.IDs(), func(id string) bool { return id == p.Keystore }))},
		Line{Label: fmt.Sprintf("copies of %d key versions", held), After: after}, Line{Label: "reason", After: p.Reason})
	return plan, nil
}

func (o groupRemove) Effect(ctx context.Context, env Env, in Input, effectID string, _ *secret.Bytes) (Effect, error) {
	view := env.Custodian.View()
	p, record, deny, err := o.read(env, view, in)
	if err != nil {
		return Effect{}, err
	}
	if err := errRefused("leaving group "+p.Group, deny); err != nil {
		return Effect{}, err
	}
	if p.Lost {
		for _, err := range distrusted(ctx, env, record, p.Keystore) {
			if err != nil {
				return Effect{}, err
			}
		}
		return Effect{ID: effectID}, nil
	}
	g, err := groupDriver(env, record.ID)
	if err != nil {
		return Effect{}, err
	}
	versions, err := inKeystore(view, record.ID)
	if err != nil {
		return Effect{}, err
	}
	for _, v := range versions {
		if err := g.DestroyIn(ctx, v.Material, p.Keystore); err != nil {
			return Effect{}, err
		}
	}
	if err := forget(ctx, env, record, p.Keystore); err != nil {
		return Effect{}, err
	}
	return Effect{ID: effectID}, nil
}

// Recover does it again: destroying twice is destroying once.
func (o groupRemove) Recover(ctx context.Context, env Env, in Input, effectID string) (Effect, bool, error) {
	effect, err := o.Effect(ctx, env, in, effectID, nil)
	return effect, err == nil, err
}

func (o groupRemove) Complete(_ context.Context, env Env, tx *store.Tx, in Input, _ Effect) (Result, error) {
	p, record, deny, err := o.read(env, tx.View(), in)
	if err != nil {
		return Result{}, err
	}
	if err := errRefused("leaving group "+p.Group, deny); err != nil {
		return Result{}, err
	}
	a := act(env, tx, in, p.Reason)
	versions, err := inKeystore(tx.View(), record.ID)
	if err != nil {
		return Result{}, err
	}
	sink, dropped := copySink(a, tx, record, p.Keystore+" left"), 0
	for _, v := range versions {
		if _, has := v.Material.In(p.Keystore); !has {
			continue
		}
		next := v.Clone()
		next.Material.Copies = slices.DeleteFunc(next.Material.Copies, func(c hsm.Copy) bool { return c.Member == p.Keystore })
		if err := sink.put(custodian.KindKeyVersion, key.VersionID(v.Key, v.Version), next); err != nil {
			return Result{}, err
		}
		dropped++
	}
	if err := sink.flush(); err != nil {
		return Result{}, err
	}
	record.Group.Members = slices.DeleteFunc(record.Group.Members, func(m key.GroupMember) bool { return m.Keystore == p.Keystore })
	record.Group.Former = append(record.Group.Former, p.Keystore)
	record.GovRevision++
	own, err := keystoreRow(tx.View(), "keystore", p.Keystore)
	if err != nil {
		return Result{}, err
	}
	if err := putMembership(tx, own, ""); err != nil {
		return Result{}, err
	}
	e := a.event("group.remove", groupTarget(record), map[string]any{"member": p.Keystore, "members": record.Group.IDs(), "copies": dropped, "lost": p.Lost})
	return result(map[string]any{"keystore": record.ID, "members": record.Group.IDs(), "copies": dropped, "copies_left_in_it": p.Lost}), a.put(tx, custodian.KindKeystore, record.ID, record, e)
}

// Undo: nothing is brought back here. The keystore is drained; what it lacks is found and sent again when it is to serve
// (group.undrain).
func (o groupRemove) Undo(context.Context, Env, Input, Effect) error { return nil }
