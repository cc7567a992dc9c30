package operation

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/go-json-experiment/json"

	"conclave/custodian"
	"conclave/custodian/key"
	"conclave/custodian/ledger"
	"conclave/custodian/store"
	"conclave/hsm"
	"conclave/hsm/group"
	"conclave/policies"
)

// Keystore groups: keys live in every member, and calls go to whichever can serve. What all operations on them share.

type groupMemberParams struct {
	Group    string `json:"group"`
	Keystore string `json:"keystore"`
	Reason   string `json:"reason"`
}

// groupRow reads a group that takes keys.
func groupRow(view *store.View, field, id string) (*key.Keystore, error) {
	record, err := keystoreRow(view, field, id)
	if err != nil {
		return nil, err
	}
	if record.Group == nil {
		return nil, &custodian.InputError{Field: field, Problem: fmt.Sprintf("keystore %s is no group", record.ID), Allowed: "a keystore group (group.create)"}
	}
	if record.Status != key.KeystoreRegistered {
		return nil, &custodian.InputError{Field: field, Problem: fmt.Sprintf("group %s is %s", record.ID, record.Status), Allowed: "a registered one"}
	}
	own := *record
	own.Group = record.Group.Clone()
	return &own, nil
}

func groupTarget(record *key.Keystore) ledger.Target {
	return ledger.Target{Type: "keystore", ID: record.ID}
}

// memberOf makes sure that a keystore is a member of a group.
func memberOf(record *key.Keystore, id string) (*key.GroupMember, error) {
	m := record.Group.Member(id)
	if m == nil {
		return nil, &custodian.InputError{Field: "keystore", Problem: fmt.Sprintf("%q is no member of group %s", clean(id), record.ID), Allowed: "one of " + list(record.Group.IDs())}
	}
	return m, nil
}

// namedMember reads the member of a group that parameters name.
func namedMember(view *store.View, in Input) (p groupMemberParams, record *key.Keystore, m *key.GroupMember, err error) {
	if p, err = decode[groupMemberParams](in); err != nil {
		return p, nil, nil, err
	}
	if p.Reason, err = why("reason", p.Reason, in); err != nil {
		return p, nil, nil, err
	}
	if record, err = groupRow(view, "group", p.Group); err != nil {
		return p, nil, nil, err
	}
	m, err = memberOf(record, p.Keystore)
	return p, record, m, err
}

// groupDriver is the driver of a group on this node.
func groupDriver(env Env, id string) (*group.Keystore, error) {
	driver, err := Current(env, id)
	if err != nil {
		return nil, err
	}
	g, ok := driver.(*group.Keystore)
	if !ok {
		return nil, fmt.Errorf("keystore %s is no group: %w", id, hsm.ErrUnsupported)
	}
	return g, nil
}

// memberDriver is the driver of one member, or of a keystore that is to be one.
func memberDriver(env Env, id string) (hsm.Member, error) {
	driver, err := Current(env, id)
	if err != nil {
		return nil, err
	}
	m, ok := driver.(hsm.Member)
	if !ok {
		return nil, fmt.Errorf("keystore %s can be in no group: %w", id, hsm.ErrUnsupported)
	}
	return m, nil
}

// unfit is what keeps a keystore out of a group that others are in, or are to be in.
func unfit(env Env, view *store.View, record, like *key.Keystore) ([]policies.Reason, error) {
	deny, err := notEmpty(view, record) // keys that are there now do not leave it: the group is formed before there are any
	if err != nil {
		return nil, err
	}
	add := func(code, message, remedy string) { deny = append(deny, refusal(code, message, remedy)) }
	switch {
	case record.Status != key.KeystoreRegistered:
		add("keystore_retired", "keystore "+record.ID+" is "+record.Status, "take a registered one")
	case record.Group != nil:
		add("group_nested", "keystore "+record.ID+" is a group itself", "take keystores that hold keys themselves")
	case record.MemberOf != "":
		add("keystore_in_group", "keystore "+record.ID+" is a member of group "+record.MemberOf, "take another, or remove it there first (group.remove)")
	}
	for _, fact := range []struct{ name, is, must string }{
		{"driver", record.Driver, like.Driver}, {"environment", record.Environment, like.Environment}, {"custody model", string(record.Custody), string(like.Custody)},
	} {
		if fact.is != fact.must {
			add("group_differs", fmt.Sprintf("the %s of keystore %s is %s, that of %s is %s", fact.name, record.ID, fact.is, like.ID, fact.must), "members of a group are alike in driver, environment and custody model")
		}
	}
	if driver, err := env.Custodian.Keystore(record.ID); err == nil {
		if _, can := driver.(hsm.Member); !can {
			add("group_unsupported", "the driver of keystore "+record.ID+" can not share keys", "take keystores of another driver")
		}
	}
	return append(deny, inactive(env, record)...), nil
}

// boundaryLines say what a group means for where keys can be.
func boundaryLines(env Env, members []*key.Keystore) []Line {
	level, spread := 9, map[string]bool{}
	for _, m := range members {
		level = min(level, m.FIPSLevel)
		spread[m.Jurisdiction] = true
	}
	var jurisdictions []string
	for j := range spread {
		jurisdictions = append(jurisdictions, j)
	}
	out := []Line{
		{Label: "boundary", After: "the members are one boundary: keys made in the group are in each of them, and pass between them wrapped for a member, in no other form"},
		{Label: "keys of members made before or outside", After: "none; such keys never leave their keystore"},
		{Label: "counts as", After: fmt.Sprintf("the weakest member: FIPS level %d; every jurisdiction must be allowed to a key: %s", level, list(jurisdictions))},
	}
	for _, m := range members {
		if driver, err := env.Custodian.Keystore(m.ID); err == nil {
			if d, ok := driver.(hsm.Member); ok {
				out = append(out, Line{Label: "strength of keys in it", After: fmt.Sprintf("at most %d bits: what they travel under", d.TransportBits())})
				break
			}
		}
	}
	if level >= key.NoExportLevel {
		out = append(out, Line{Label: "export", After: "none: a transfer to a member is no export, and there is no other"})
	}
	return out
}

// joined is what one member brings into a group; nothing in it is secret.
type joined struct {
	Keystore  string       `json:"keystore"`
	Transport hsm.Material `json:"transport"`
}

func (j joined) peer() hsm.Peer { return hsm.Peer{Member: j.Keystore, Public: j.Transport.Public} }

// acquaint has two members trust each other for a group.
func acquaint(ctx context.Context, env Env, id string, a, b joined) error {
	for _, pair := range [][2]joined{{a, b}, {b, a}} {
		driver, err := memberDriver(env, pair[0].Keystore)
		if err != nil {
			return err
		}
		if err := driver.Trust(ctx, id, pair[1].peer()); err != nil {
			return err
		}
	}
	return nil
}

// prove sends a key that is made for it from each of these members to all others, compares check values, and destroys it.
func prove(ctx context.Context, env Env, id, effectID string, members []joined) error {
	var all []group.Member
	for _, j := range members {
		driver, err := memberDriver(env, j.Keystore)
		if err != nil {
			return err
		}
		all = append(all, group.Member{ID: j.Keystore, Driver: driver, Serving: true, Transport: j.Transport})
	}
	for n := range all {
		order := append(slices.Clone(all[n:]), all[:n]...)
		g, err := group.New(group.Config{ID: id, Members: func() []group.Member { return order }})
		if err != nil {
			return err
		}
		m, err := g.Create(ctx, id, 1, hsm.AES256, fmt.Sprintf("%s-proof-%d", effectID, n))
		if err == nil && len(m.Copies) != len(all) {
			err = fmt.Errorf("a key reached %d of %d members: %w", len(m.Copies), len(all), hsm.ErrUnavailable)
		}
		if err == nil {
			err = g.Destroy(ctx, m)
		}
		if err != nil {
			return fmt.Errorf("proving that keystore %s shares keys: %w", order[0].ID, err)
		}
	}
	return nil
}

func effectOf(effectID string, data any) (Effect, error) {
	raw, err := json.Marshal(data)
	if err != nil {
		return Effect{}, fmt.Errorf("encoding effect %s: %w", effectID, err)
	}
	return Effect{ID: effectID, Data: raw}, nil
}

// dataOf reads what effectOf wrote.
func dataOf[T any](effect Effect) (out T, err error) {
	if err = json.Unmarshal(effect.Data, &out, json.RejectUnknownMembers(true)); err != nil {
		err = fmt.Errorf("reading effect %s: %w", effect.ID, err)
	}
	return out, err
}

// strandedIn is what a group's keys have against it with other members: in a place where one of them may not be it is not
// sent.
func strandedIn(ctx context.Context, env Env, view *store.View, after *key.Keystore, joins *key.Keystore) ([]policies.Reason, error) {
	changes, err := supposing(ctx, env, view, func(id string) (*policies.PlacementKeystore, error) {
		var c policies.PlacementKeystore
		switch id {
		case after.ID:
			c = env.Custodian.CandidateWith(view, after, joins)
		case joins.ID:
			c = env.Custodian.CandidateWith(view, joins)
		default:
			return nil, nil
		}
		return &c, nil
	})
	if err != nil {
		return nil, fmt.Errorf("judging which keys of group %s may not be in keystore %s: %w", after.ID, joins.ID, err)
	}
	s := summarise(changes)
	if n := s.Stranded + s.NoNew; n > 0 {
		var codes []string
		for _, c := range changes {
			if c.Worse() {
				codes = append(codes, c.After.Codes()...)
			}
		}
		slices.Sort(codes)
		return []policies.Reason{refusal("group_strands_keys", fmt.Sprintf("%d keys of group %s may not be in keystore %s (%s): %s", n, after.ID, joins.ID, list(slices.Compact(codes)), list(s.Keys)),
			"take a keystore that fits them, or move them elsewhere first (key.move)")}, nil
	}
	return nil, nil
}

// tooFew refuses what would leave versions in fewer members than it takes.
func tooFew(view *store.View, record *key.Keystore, without string, least int) ([]policies.Reason, error) {
	versions, err := inKeystore(view, record.ID)
	if err != nil {
		return nil, err
	}
	var left []string
	for _, v := range versions {
		n := 0
		for _, m := range record.Group.Members {
			if _, has := v.Material.In(m.Keystore); has && m.Keystore != without && m.State == key.MemberServing {
				n++
			}
		}
		if n < least {
			left = append(left, key.VersionID(v.Key, v.Version))
		}
	}
	if len(left) == 0 {
		return nil, nil
	}
	return []policies.Reason{refusal("group_copies_missing", fmt.Sprintf("%d key versions would be in fewer than %d serving members of group %s: %s%s", len(left), least, record.ID,
		list(left[:min(len(left), keysNamed)]), more(len(left))), "bring the other members up to date first (group.resync)")}, nil
}

// copySink stores versions whose copies changed.
func copySink(a acting, tx *store.Tx, record *key.Keystore, why string) rowSink {
	part := 0
	return rowSink{tx: tx, event: func(n int) ledger.Entry {
		part++
		return a.part().event("group.copies", groupTarget(record), map[string]any{"why": why, "versions": n, "part": part})
	}}
}

// wrapsCopy refuses a copy that is wrapped under another secret than its member's record names.
func wrapsCopy(env Env, view *store.View, c hsm.Copy) error {
	record, err := keystoreRow(view, "keystore", c.Member)
	if err != nil {
		return err
	}
	driver, err := Driver(env, record)
	if err != nil {
		return err
	}
	if r, ok := driver.(hsm.Rekeyer); ok && !r.Wraps(hsm.Material{Blob: c.Blob, Wrapping: c.Wrapping}, record.Verifier) {
		return fmt.Errorf("the activation secret of keystore %s was replaced meanwhile: %w", record.ID, ErrOvertaken)
	}
	return nil
}

// errRefused turns reasons into the error of a record that can not be made.
func errRefused(what string, deny []policies.Reason) error {
	if err := refused(deny); err != nil {
		return errors.New(what + ": " + err.Error())
	}
	return nil
}
