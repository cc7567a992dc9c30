package operation

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"conclave/custodian"
	"conclave/custodian/amount"
	"conclave/custodian/identity"
	"conclave/custodian/key"
	"conclave/custodian/store"
	"conclave/hsm"
	"conclave/hsm/secret"
)

// maxResync bounds the key versions that are sent at once; the next run goes on.
const maxResync = 200

type groupResyncParams struct {
	Group  string `json:"group"`
	Reason string `json:"reason"`
}

// groupResync sends the keys of a group to serving members that lack them, wrapped by one that has them. A person asks for
// it, or this node does once a member that lacks something can be asked: what the members are was decided when they joined.
type groupResync struct{}

func (groupResync) Name() string { return "group.resync" }

// stale are serving members whose transport pair is under a secret that was replaced since: they are introduced anew.
func stale(env Env, view *store.View, record *key.Keystore) []string {
	var out []string
	for _, m := range record.Group.Members {
		own, err := keystoreRow(view, "keystore", m.Keystore)
		if err != nil || m.State != key.MemberServing {
			continue
		}
		driver, err := env.Custodian.Keystore(m.Keystore)
		if r, ok := driver.(hsm.Rekeyer); err == nil && ok && !r.Wraps(m.Transport, own.Verifier) {
			out = append(out, m.Keystore)
		}
	}
	return out
}

// unevenIn are the versions that not every serving member holds, and by member how many.
func unevenIn(view *store.View, record *key.Keystore) (out []*key.Version, by map[string]int, err error) {
	versions, err := inKeystore(view, record.ID)
	if err != nil {
		return nil, nil, err
	}
	by = map[string]int{}
	for _, v := range versions {
		lacks := record.Lacking(v)
		for _, id := range lacks {
			by[id]++
		}
		if len(lacks) > 0 {
			out = append(out, v)
		}
	}
	return out, by, nil
}

func (groupResync) read(view *store.View, in Input) (p groupResyncParams, record *key.Keystore, err error) {
	if p, err = decode[groupResyncParams](in); err != nil {
		return p, nil, err
	}
	if p.Reason, err = why("reason", p.Reason, in); err != nil {
		return p, nil, err
	}
	record, err = groupRow(view, "group", p.Group)
	return p, record, err
}

func (o groupResync) Prepare(_ context.Context, env Env, view *store.View, in Input) (Plan, error) {
	p, record, err := o.read(view, in)
	if err != nil {
		return Plan{}, err
	}
	versions, by, err := unevenIn(view, record)
	if err != nil {
		return Plan{}, err
	}
	again := stale(env, view, record)
	plan := keystorePlan(record, fmt.Sprintf("Bring the members of group %s up to date: %s %s sent, wrapped for a member, to those that lack them", record.ID,
		amount.Of(len(versions), "key version"), amount.Verb(len(versions), "is", "are")))
	for _, m := range record.Group.Members {
		if by[m.Keystore] > 0 {
			plan.Lines = append(plan.Lines, Line{Label: "member " + m.Keystore, Before: "lacks " + amount.Of(by[m.Keystore], "key version"), After: "none, each with the check value that it computes itself"})
		}
	}
	for _, id := range again {
		plan.Lines = append(plan.Lines, Line{Label: "transport pair of " + id, Before: "under a secret that was replaced", After: "another"})
	}
	plan.Lines = append(plan.Lines, Line{Label: "reason", After: p.Reason})
	if len(versions) == 0 && len(again) == 0 {
		plan.Deny = append(plan.Deny, refusal("no_change", "every serving member of group "+record.ID+" holds every key version", "nothing to do"))
	}
	if in.Requester.Kind == identity.Node {
		plan.Quorum.Precedent = record.RegisteredBy
	}
	return plan, nil
}

// sent is what was added to the members.
type sent struct {
	Joined []joined     `json:"joined,omitempty"`
	Copies []copiesMade `json:"copies,omitempty"`
	Failed int          `json:"failed"`
	Left   int          `json:"left"` // versions for the next run
	Why    string       `json:"why,omitempty"`
}

type copiesMade struct {
	Key     string     `json:"key"`
	Version uint32     `json:"version"`
	Effect  string     `json:"effect"` // of the version's material
	Copies  []hsm.Copy `json:"copies"`
}

func (o groupResync) Effect(ctx context.Context, env Env, in Input, effectID string, _ *secret.Bytes) (Effect, error) {
	view := env.Custodian.View()
	_, record, err := o.read(view, in)
	if err != nil {
		return Effect{}, err
	}
	out := sent{}
	for _, id := range stale(env, view, record) {
		j, err := reintroduce(ctx, env, record, id)
		if err != nil {
			return Effect{}, err
		}
		out.Joined = append(out.Joined, j)
	}
	if len(out.Joined) > 0 { // keys are sent under what is on record: the next run does
		versions, _, err := unevenIn(view, record)
		if err != nil {
			return Effect{}, err
		}
		out.Left = len(versions)
		return effectOf(effectID, out)
	}
	g, err := groupDriver(env, record.ID)
	if err != nil {
		return Effect{}, err
	}
	versions, _, err := unevenIn(view, record)
	if err != nil {
		return Effect{}, err
	}
	out.Left = max(0, len(versions)-maxResync)
	var last error
	for _, v := range versions[:min(len(versions), maxResync)] {
		added, missing := g.Complete(ctx, v.Material, func() bool { return hasMaterial(env, v) })
		if missing != nil {
			out.Failed, last = out.Failed+1, missing
		}
		if len(added) > 0 {
			out.Copies = append(out.Copies, copiesMade{v.Key, v.Version, v.Material.EffectID, added})
		}
	}
	if len(out.Copies) == 0 && last != nil {
		return Effect{}, fmt.Errorf("no member of group %s could be brought up to date: %s", record.ID, last.Error())
	}
	if last != nil {
		out.Why = shorten(last.Error())
	}
	return effectOf(effectID, out)
}

// hasMaterial asks the newest committed state whether a version still has its material.
func hasMaterial(env Env, v *key.Version) bool {
	now, err := store.Peek[key.Version](env.Custodian.View(), custodian.KindKeyVersion, key.VersionID(v.Key, v.Version))
	return err == nil && now.State.HasMaterial() && now.Material.EffectID == v.Material.EffectID
}

// Recover: what is in a member and not on record is found there when it is sent again.
func (groupResync) Recover(context.Context, Env, Input, string) (Effect, bool, error) {
	return Effect{}, false, nil
}

func (o groupResync) Complete(_ context.Context, env Env, tx *store.Tx, in Input, effect Effect) (Result, error) {
	p, record, err := o.read(tx.View(), in)
	if err != nil {
		return Result{}, err
	}
	done, err := dataOf[sent](effect)
	if err != nil {
		return Result{}, err
	}
	a := act(env, tx, in, p.Reason)
	for _, j := range done.Joined {
		m := record.Group.Member(j.Keystore)
		if m == nil {
			continue // removed meanwhile
		}
		if err := adoptTransport(env, tx.View(), m, j); err != nil {
			return Result{}, err
		}
	}
	by := map[string]int{}
	sink := copySink(a, tx, record, "sent")
	for _, c := range done.Copies {
		next, err := added(env, tx.View(), record, c, by)
		if err != nil {
			return Result{}, err
		}
		if next == nil {
			continue
		}
		if err := sink.put(custodian.KindKeyVersion, key.VersionID(next.Key, next.Version), next); err != nil {
			return Result{}, err
		}
	}
	if err := sink.flush(); err != nil {
		return Result{}, err
	}
	detail := map[string]any{"sent": by, "failed": done.Failed, "left": done.Left}
	if done.Why != "" {
		detail["why"] = done.Why
	}
	e := a.event("group.resync", groupTarget(record), detail)
	out := result(map[string]any{"keystore": record.ID, "sent": by, "failed": done.Failed, "left": done.Left, "why": done.Why})
	if len(done.Joined) == 0 {
		return out, tx.Append(e)
	}
	return out, a.put(tx, custodian.KindKeystore, record.ID, record, e)
}

// added is a version with what was sent of it, nil where it is none of the group's any more: then its members were told
// to destroy it after it was sent.
func added(env Env, view *store.View, record *key.Keystore, c copiesMade, by map[string]int) (*key.Version, error) {
	v, _, err := store.Get[key.Version](view, custodian.KindKeyVersion, key.VersionID(c.Key, c.Version))
	if err != nil {
		return nil, err
	}
	if v.Keystore != record.ID || !v.State.HasMaterial() || v.Material.EffectID != c.Effect {
		return nil, nil
	}
	next := v.Clone()
	for _, one := range c.Copies {
		m := record.Group.Member(one.Member)
		if m == nil || m.State != key.MemberServing || slices.ContainsFunc(next.Material.Copies, func(o hsm.Copy) bool { return o.Member == one.Member }) {
			continue
		}
		if one.CheckValue != v.CheckValue {
			return nil, fmt.Errorf("%s in keystore %s: check value %s, on record is %s: %w", key.VersionID(c.Key, c.Version), one.Member, one.CheckValue, v.CheckValue, hsm.ErrCorrupt)
		}
		if err := wrapsCopy(env, view, one); err != nil {
			return nil, err
		}
		next.Material.Copies = append(next.Material.Copies, one)
		by[one.Member]++
	}
	return next, nil
}

// Undo: a copy that is not on record is found again, or destroyed with its key, by the id of its effect.
func (groupResync) Undo(context.Context, Env, Input, Effect) error { return nil }

// DueResyncs finds groups whose serving members lack keys that can be sent to them now.
func (j Jobs) DueResyncs(view *store.View) ([]Scheduled, error) {
	var out []Scheduled
	var errs []error
	for _, record := range store.All[key.Keystore](view, custodian.KindKeystore) {
		if record.Group == nil || record.Status != key.KeystoreRegistered {
			continue
		}
		due, err := j.resyncable(view, record)
		if err != nil {
			errs = append(errs, fmt.Errorf("bringing group %s up to date: %w", record.ID, err))
		}
		if due {
			out = append(out, Scheduled{Operation: groupResync{}.Name(), Params: custodian.Detail(map[string]any{"group": record.ID}), Reason: "a member lacks keys and can be sent them"})
		}
	}
	return out, errors.Join(errs...)
}

func (j Jobs) resyncable(view *store.View, record *key.Keystore) (bool, error) {
	versions, by, err := unevenIn(view, record)
	if err != nil {
		return false, err
	}
	here := func(id string) bool {
		own, err := keystoreRow(view, "keystore", id)
		return err == nil && len(inactive(j.Env, own)) == 0
	}
	for _, id := range stale(j.Env, view, record) {
		if here(id) {
			return true, nil
		}
	}
	if !slices.ContainsFunc(record.Group.Members, func(m key.GroupMember) bool { return by[m.Keystore] > 0 && here(m.Keystore) }) {
		return false, nil
	}
	return slices.ContainsFunc(versions, func(v *key.Version) bool {
		return slices.ContainsFunc(v.Material.Copies, func(c hsm.Copy) bool { return here(c.Member) })
	}), nil
}

// degraded is what a group's drift says of keys that not every serving member holds; "" for nothing.
func degraded(view *store.View, record *key.Keystore) (string, error) {
	if record.Group == nil {
		return "", nil
	}
	versions, by, err := unevenIn(view, record)
	if err != nil || len(versions) == 0 {
		return "", err
	}
	var lacks []string
	for _, m := range record.Group.Members {
		if by[m.Keystore] > 0 {
			lacks = append(lacks, fmt.Sprintf("%s lacks %d", m.Keystore, by[m.Keystore]))
		}
	}
	return fmt.Sprintf("%s %s not in every serving member: %s", amount.Of(len(versions), "key version"), amount.Verb(len(versions), "is", "are"), join(lacks)), nil
}
