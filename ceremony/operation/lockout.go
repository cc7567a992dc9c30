package operation

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"conclave/ceremony/quorum"
	"conclave/custodian"
	"conclave/custodian/key"
	"conclave/custodian/people"
	"conclave/custodian/store"
	"conclave/policies"
)

// after is how things would stand once a change is done. The zero value is no change.
type after struct {
	// change gives how each person would stand: nil for one who would be gone. A nil func changes nobody. What it is
	// given is the caller's own copy, but for what its slices and pointers lead to.
	change func(*people.Person) *people.Person
	// added are people who would be in the register besides.
	added []*people.Person
	// sets are the share sets that would be held otherwise, by id.
	sets map[string]quorum.Holding
	// policies is the bundle that would judge; nil for the one in force.
	policies *policies.Engine
}

// onePerson is the after of a change of one person; nil would for one who would be gone.
func onePerson(id string, would *people.Person) after {
	return after{change: func(p *people.Person) *people.Person {
		if p.ID == id {
			return would
		}
		return p
	}}
}

// lockOut refuses a change after which something that keeps an instance governable would lack a quorum that can be
// reached (DESIGN invariant 12): the activation of a registered keystore and the re-issue of its shares, changes of
// people, changes of policy. It looks at what stays possible, not at who happens to have signed the acknowledgement,
// since everybody can sign their own. What was out of reach before is not held against a change: whoever mends an
// instance that is already short is not stopped by the shortage. Rows that contradict the ledger are nobody's.
func lockOut(ctx context.Context, env Env, view *store.View, in Input, would after) ([]policies.Reason, error) {
	mode := policies.Mode(in.Instance.Mode)
	before, now := registerAfter(view, after{}), quorum.NewTable(env.Policies, mode, in.Now)
	then, table := registerAfter(view, would), now
	if would.policies != nil {
		table = quorum.NewTable(would.policies, mode, in.Now)
	}
	held := holdings(view, would)
	var lost []policies.Reason
	for _, v := range vital(view) {
		lack, err := anySet(ctx, then, table, held, v)
		if err != nil {
			return nil, fmt.Errorf("simulating %s: %w", v.Operation, err)
		}
		if lack == "" {
			continue
		}
		had, err := anySet(ctx, before, now, holdings(view, after{}), v)
		if err != nil {
			return nil, fmt.Errorf("simulating %s: %w", v.Operation, err)
		}
		if had == "" {
			lost = append(lost, lockedOut(fmt.Sprintf("afterwards %s would lack a quorum: %s", v.name(), lack),
				"first make sure that enough people, shares, roles and places are left without what this takes away"))
		}
	}
	return lost, nil
}

// LockOut says why a change that somebody supposes would be refused; then is the bundle that would judge afterwards,
// nil for the one in force.
func LockOut(ctx context.Context, env Env, view *store.View, in Input, s *quorum.Supposition, then *policies.Engine) ([]policies.Reason, error) {
	return lockOut(ctx, env, view, in, after{change: s.Change, added: s.Added(), sets: s.Holdings(), policies: then})
}

func lockedOut(message, remedy string) policies.Reason {
	return policies.Reason{Rule: "operation", Code: "lock_out", Controls: []string{"nist-800-53r5:AC-5"}, Message: message, Remedy: remedy}
}

// matter is something that must stay possible.
type matter struct {
	Operation  string
	TargetType string
	sets       []string // any of these sets will do; nil where no shares are brought
	keystore   string
}

func (m matter) name() string {
	if m.keystore != "" {
		return fmt.Sprintf("%s of keystore %s", m.Operation, m.keystore)
	}
	return m.Operation
}

// vital is what keeps an instance governable. A new person or a released one is judged as somebody who takes no part
// in it, which is what subjects do.
func vital(view *store.View) []matter {
	out := []matter{
		{Operation: "custodian.add", TargetType: "person"}, {Operation: "custodian.resume", TargetType: "person"},
		{Operation: "role.change", TargetType: "person"}, {Operation: "credential.recover", TargetType: "person"},
		{Operation: "policy.activate", TargetType: "policy"},
	}
	var all []string
	for _, ks := range store.All[key.Keystore](view, custodian.KindKeystore) {
		if ks.Status != key.KeystoreRegistered || ks.ShareSet == "" {
			continue
		}
		all = append(all, ks.ShareSet)
		out = append(out, matter{"keystore.activate", "keystore", []string{ks.ShareSet}, ks.ID},
			matter{"shares.reissue", "share_set", []string{ks.ShareSet}, ks.ID})
	}
	if len(all) > 0 {
		out = append(out, matter{"policy.recover", "policy", all, ""})
	}
	return out
}

// anySet is what a matter lacks, with the set that lacks least.
func anySet(ctx context.Context, r *quorum.Register, t *quorum.Table, held map[string]quorum.Holding, m matter) (string, error) {
	c := quorum.Case{Operation: m.Operation, TargetType: m.TargetType}
	if len(m.sets) == 0 {
		return r.Lack(ctx, t, c)
	}
	lack := ""
	for _, set := range m.sets {
		var err error
		c.Set, c.Threshold, c.Total = set, held[set].Threshold, held[set].Total
		if lack, err = r.Lack(ctx, t, c); lack == "" || err != nil {
			return "", err
		}
	}
	return lack, nil
}

// registerAfter is the register as it would be.
func registerAfter(view *store.View, would after) *quorum.Register {
	all := slices.Clone(would.added)
	for _, p := range store.All[people.Person](view, custodian.KindPerson) {
		if would.change != nil {
			p = would.change(p)
		}
		if p != nil {
			all = append(all, p)
		}
	}
	return quorum.NewRegister(all, holdings(view, would), time.Time{})
}

// holdings are the share sets as they would be held.
func holdings(view *store.View, would after) map[string]quorum.Holding {
	var sets []*people.ShareSet
	var shares []*people.Share
	for _, set := range store.All[people.ShareSet](view, custodian.KindShareSet) {
		sets = append(sets, set)
	}
	for _, s := range store.All[people.Share](view, custodian.KindShare) {
		shares = append(shares, s)
	}
	out := quorum.Holdings(sets, shares)
	maps.Copy(out, would.sets)
	return out
}

// unreleasable refuses a suspension after which custodian.resume would lack a quorum (DESIGN invariant 12), and
// nothing else: restricting is never the dangerous direction. Whoever suspends now, and whoever suspended somebody
// who still is, does not count in the simulation: otherwise one officer, or several together, could suspend
// everybody else and then withhold the approvals that undo it. A row that contradicts the ledger is nobody's: it
// stands neither for a voice left nor in the way of restricting. away are people who will be suspended before, and count
// as if they were.
func unreleasable(ctx context.Context, env Env, view *store.View, suspend string, away map[string]bool, in Input) ([]policies.Reason, error) {
	out := map[string]bool{suspend: true, in.Requester.ID: true}
	for _, p := range store.All[people.Person](view, custodian.KindPerson) {
		out[silencedBy(p)] = true
	}
	left := registerAfter(view, after{change: func(p *people.Person) *people.Person {
		if out[p.ID] || away[p.ID] {
			p.Status = people.StatusSuspended // still somebody's manager
		}
		return p
	}})
	lack, err := left.Lack(ctx, quorum.NewTable(env.Policies, policies.Mode(in.Instance.Mode), in.Now),
		quorum.Case{Operation: custodianResume{}.Name(), TargetType: "person"})
	if err != nil {
		return nil, fmt.Errorf("simulating the release of %s: %w", suspend, err)
	}
	if lack == "" {
		return nil, nil
	}
	return []policies.Reason{lockedOut(
		fmt.Sprintf("without %s nobody could be released any more: not counting those who suspended others, %s", suspend, lack),
		"have those released who are suspended (custodian.resume), or let an officer act who suspended nobody")}, nil
}

// silencedBy is who took a person's voice alone: by suspension, or by revoking the last key of somebody else, which is
// as good as one. "" for nobody.
func silencedBy(p *people.Person) string {
	if p.Status == people.StatusSuspended {
		return p.SuspendedBy
	}
	last := ""
	for _, c := range p.ApprovalKeys {
		if p.Status != people.StatusActive || !c.Revoked {
			return ""
		}
		if c.RevokedBy != p.ID {
			last = c.RevokedBy
		}
	}
	return last
}
