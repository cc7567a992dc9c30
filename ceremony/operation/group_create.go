package operation

import (
	"context"
	"fmt"

	"conclave/custodian"
	"conclave/custodian/key"
	"conclave/custodian/store"
	"conclave/hsm"
	"conclave/hsm/secret"
	"conclave/policies"
)

type groupCreateParams struct {
	ID         string   `json:"id"`
	Members    []string `json:"members"` // keystores, in order of preference
	Location   string   `json:"location"`
	Controller string   `json:"controller"`
	Reason     string   `json:"reason"`
}

// groupCreate makes one keystore of several that hold no keys yet: each makes a pair inside that keys are sent to it under,
// and is told by its security officer to trust the others' public halves and no other.
type groupCreate struct{}

func (groupCreate) Name() string { return "group.create" }

func (groupCreate) read(env Env, view *store.View, in Input) (p groupCreateParams, members []*key.Keystore, deny []policies.Reason, err error) {
	if p, err = decode[groupCreateParams](in); err != nil {
		return p, nil, nil, err
	}
	if p.Reason, err = why("reason", p.Reason, in); err != nil {
		return p, nil, nil, err
	}
	err = key.First([]error{vacant(view, custodian.KindKeystore, "id", p.ID, "keystore"), key.CheckText("location", p.Location, 128, false),
		key.CheckRange("members", len(p.Members), key.LeastMembers, key.MostMembers, "keystores")})
	if err != nil {
		return p, nil, nil, err
	}
	if _, err = presentPerson(view, "controller", p.Controller); err != nil {
		return p, nil, nil, err
	}
	seen := map[string]bool{}
	for n, id := range p.Members {
		field := fmt.Sprintf("members[%d]", n)
		record, err := keystoreRow(view, field, id)
		if err != nil {
			return p, nil, nil, err
		}
		if seen[id] {
			return p, nil, nil, &custodian.InputError{Field: field, Problem: id + " repeats", Allowed: "each keystore once"}
		}
		seen[id] = true
		members = append(members, record)
		against, err := unfit(env, view, record, members[0])
		if err != nil {
			return p, nil, nil, err
		}
		deny = append(deny, against...)
	}
	return p, members, deny, nil
}

func (o groupCreate) Prepare(_ context.Context, env Env, view *store.View, in Input) (Plan, error) {
	p, members, deny, err := o.read(env, view, in)
	if err != nil {
		return Plan{}, err
	}
	plan := Plan{Target: Target{Type: "keystore", ID: p.ID}, Title: fmt.Sprintf("Make one keystore, group %s, of %s", p.ID, join(p.Members)), Deny: deny,
		Quorum: policies.QuorumInput{Target: policies.QuorumTarget{Type: "keystore", ID: p.ID, Owner: p.Controller}}}
	for n, m := range members {
		plan.Lines = append(plan.Lines, Line{Label: fmt.Sprintf("member %d", n+1), Before: "by itself", After: describeKeystore(m, in.Now)})
	}
	plan.Lines = append(plan.Lines, boundaryLines(env, members)...)
	plan.Lines = append(plan.Lines,
		Line{Label: "in each member", After: "a transport pair is made inside; the public halves of the others are the only ones that keys of the group are wrapped under; a key is sent each way to prove it"},
		Line{Label: "controller", After: p.Controller}, Line{Label: "reason", After: p.Reason})
	return plan, nil
}

// formed is what the effect leaves for the record.
type formed struct {
	Members []joined `json:"members"`
}

func (o groupCreate) Effect(ctx context.Context, env Env, in Input, effectID string, _ *secret.Bytes) (Effect, error) {
	p, _, deny, err := o.read(env, env.Custodian.View(), in)
	if err != nil {
		return Effect{}, err
	}
	if err := errRefused("forming group "+p.ID, deny); err != nil {
		return Effect{}, err
	}
	var out formed
	for _, id := range p.Members {
		driver, err := memberDriver(env, id)
		if err != nil {
			return Effect{}, err
		}
		own, err := driver.Introduce(ctx, p.ID)
		if err != nil {
			return Effect{}, err
		}
		out.Members = append(out.Members, joined{id, own})
	}
	for n, a := range out.Members {
		for _, b := range out.Members[n+1:] {
			if err := acquaint(ctx, env, p.ID, a, b); err != nil {
				return Effect{}, err
			}
		}
	}
	if err := prove(ctx, env, p.ID, effectID, out.Members); err != nil {
		return Effect{}, err
	}
	return effectOf(effectID, out)
}

// Recover does it again, which comes to the same: what is there already is found, what is not recorded opens nothing.
func (o groupCreate) Recover(ctx context.Context, env Env, in Input, effectID string) (Effect, bool, error) {
	effect, err := o.Effect(ctx, env, in, effectID, nil)
	return effect, err == nil, err
}

func (o groupCreate) Complete(_ context.Context, env Env, tx *store.Tx, in Input, effect Effect) (Result, error) {
	p, members, deny, err := o.read(env, tx.View(), in)
	if err != nil {
		return Result{}, err
	}
	if err := errRefused("forming group "+p.ID, deny); err != nil {
		return Result{}, err
	}
	made, err := dataOf[formed](effect)
	if err != nil {
		return Result{}, err
	}
	a := act(env, tx, in, p.Reason)
	first := members[0]
	record := &key.Keystore{ID: p.ID, Driver: key.DriverGroup, Make: "keystore group", Custody: first.Custody, Jurisdiction: first.Jurisdiction, Environment: first.Environment,
		Location: p.Location, Controller: p.Controller, Status: key.KeystoreRegistered, GovRevision: 1, RegisteredAt: a.at, RegisteredBy: in.Ceremony, Group: &key.Group{}}
	checks := map[string]string{}
	var drivers []hsm.Member
	for n, j := range made.Members {
		driver, err := memberDriver(env, j.Keystore)
		if err != nil {
			return Result{}, err
		}
		if err := underRecord(env, tx.View(), driver, members[n], &j.Transport); err != nil {
			return Result{}, err
		}
		drivers = append(drivers, driver)
		record.Group.Members = append(record.Group.Members, memberRow(j, a))
		checks[j.Keystore] = j.Transport.CheckValue
	}
	record.SetCapabilities(together(p.ID, drivers))
	if err := record.Validate(); err != nil {
		return Result{}, err
	}
	for _, m := range members {
		if err := putMembership(tx, m, p.ID); err != nil {
			return Result{}, err
		}
	}
	e := a.event("group.create", groupTarget(record), map[string]any{"members": p.Members, "transport": made.Members[0].Transport.Spec, "transport_bits": drivers[0].TransportBits(), "check_values": checks, "driver": first.Driver})
	return result(map[string]any{"keystore": record.ID, "members": p.Members, "makes": record.Capabilities.Makes()}), a.put(tx, custodian.KindKeystore, record.ID, record, e)
}

// memberRow is the record of a member that joins.
func memberRow(j joined, a acting) key.GroupMember {
	m := key.GroupMember{Keystore: j.Keystore, State: key.MemberServing, Since: a.at, Ceremony: a.ceremony, Transport: j.Transport}
	return m
}

// putMembership records that a keystore is a member of a group, or of none.
func putMembership(tx *store.Tx, record *key.Keystore, group string) error {
	own := *record
	own.MemberOf = group
	own.GovRevision++
	return tx.Put(custodian.KindKeystore, own.ID, own)
}

// Settle makes the driver of the group; other processes make theirs when they look after keystores.
func (groupCreate) Settle(_ context.Context, env Env, in Input, _ Effect) error {
	p, err := decode[groupCreateParams](in)
	if err != nil {
		return err
	}
	_, err = Current(env, p.ID)
	return err
}

// Undo: what the members have of a group that is not on record is taken back.
func (groupCreate) Undo(ctx context.Context, env Env, in Input, _ Effect) error {
	p, err := decode[groupCreateParams](in)
	if err != nil {
		return err
	}
	for _, id := range p.Members {
		if err := leave(ctx, env, p.ID, id, p.Members); err != nil {
			return err
		}
	}
	return nil
}

// leave takes back what one keystore has of a group and of its other members.
func leave(ctx context.Context, env Env, group, id string, members []string) error {
	driver, err := memberDriver(env, id)
	if err != nil {
		return err
	}
	for _, other := range members {
		if other != id {
			if err := driver.Distrust(ctx, group, other); err != nil {
				return err
			}
		}
	}
	return driver.Leave(ctx, group)
}
