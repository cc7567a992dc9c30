package backup

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"conclave/custodian/access"
	"conclave/custodian/key"
	"conclave/custodian/people"
)

// Kinds of rows whose restrictions survive a restore. The names are those of package custodian.
const (
	kindPerson      = "person"
	kindShare       = "share"
	kindShareSet    = "share_set"
	kindKeyVersion  = "key_version"
	kindKeystore    = "keystore"
	kindApplication = "application"
	kindToken       = "token"
	kindGrant       = "grant"
	kindNode        = "node"
)

// Fact is what a row of the live instance said that restricts: who had left, what was revoked or destroyed. Facts hold
// no secret, no name and no key material. A journal of facts can only restrict: whoever forges one releases nothing.
type Fact struct {
	Kind     string `json:"kind"`
	ID       string `json:"id"`
	Revision uint64 `json:"rev"`
	// State is the row's own word: a version's or person's state, "revoked", "lost", "suspended", "retired",
	// "deleted"; "" where nothing restricts.
	State      string     `json:"state,omitempty"`
	Suspected  bool       `json:"suspected,omitempty"`  // a version suspended on suspicion
	Roles      []string   `json:"roles,omitempty"`      // a person's roles: others are withdrawn
	Keys       []string   `json:"keys,omitempty"`       // a person's approval keys in force: others are revoked
	Operations []string   `json:"operations,omitempty"` // a grant's operations
	Until      *time.Time `json:"until,omitempty"`      // end of a token or grant
	Epoch      uint32     `json:"epoch,omitempty"`      // of a share set
}

// States of facts that no row type has.
const (
	factRevoked = "revoked"
	factDeleted = "deleted"
)

// FactOf states what a row says; false for kinds that restrict nothing. value nil: the row was deleted.
func FactOf(kind, id string, revision uint64, value any) (Fact, bool) {
	f := Fact{Kind: kind, ID: id, Revision: revision}
	if value == nil {
		f.State = factDeleted
		return f, slices.Contains([]string{kindPerson, kindToken, kindGrant, kindApplication, kindNode}, kind)
	}
	switch v := value.(type) {
	case *people.Person:
		f.ofPerson(v)
	case *people.Share:
		if v.Status == people.ShareLost {
			f.State = string(v.Status)
		}
	case *people.ShareSet:
		f.Epoch = v.Epoch
	case *key.Version:
		switch v.State {
		case key.Destroyed, key.Compromised, key.Suspended, key.Deactivated:
			f.State, f.Suspected = string(v.State), v.Suspected
		}
	case *key.Keystore:
		if v.Status != key.KeystoreRegistered {
			f.State = v.Status
		}
	case *access.Application:
		if v.Status != "active" {
			f.State = v.Status
		}
	case *access.Token:
		f.Until = &v.ExpiresAt
		if v.RevokedAt != nil {
			f.State = factRevoked
		}
	case *access.Grant:
		f.Until = &v.ExpiresAt
		for _, op := range v.Operations {
			f.Operations = append(f.Operations, string(op))
		}
		if v.RevokedAt != nil {
			f.State = factRevoked
		}
	default:
		return f, false
	}
	return f, true
}

func (f *Fact) ofPerson(p *people.Person) {
	if p.Status != people.StatusActive {
		f.State = string(p.Status)
	}
	for _, r := range p.Roles {
		f.Roles = append(f.Roles, string(r))
	}
	for _, c := range p.ApprovalKeys {
		if !c.Revoked {
			f.Keys = append(f.Keys, c.ID)
		}
	}
}

// final states are never left again: any fact of one counts, whatever came later.
func (f *Fact) final() bool {
	switch f.State {
	case factRevoked, factDeleted, string(people.ShareLost), string(people.StatusLeft), string(key.Destroyed), string(key.Compromised), "retired":
		return true
	}
	return false
}

// Newest puts facts together: of each row the newest, but never less than a final one. They come in the order in
// which they were recorded; where a ledger was recovered before, revisions of two histories may repeat.
func Newest(facts []Fact) []Fact {
	byRow := map[string]Fact{}
	last := map[string]Fact{}
	for _, f := range facts {
		k := f.Kind + "\x00" + f.ID
		old, seen := byRow[k]
		switch {
		case !seen || f.Revision >= old.Revision:
			byRow[k] = f
		}
		if f.final() && (last[k].State != string(key.Destroyed)) {
			last[k] = f
		}
	}
	var out []Fact
	for k, f := range byRow {
		if end, ended := last[k]; ended && !f.final() {
			f.State = end.State
		} else if ended && end.State == string(key.Destroyed) {
			f.State = end.State
		}
		out = append(out, f)
	}
	slices.SortFunc(out, func(a, b Fact) int { return cmp.Or(strings.Compare(a.Kind, b.Kind), strings.Compare(a.ID, b.ID)) })
	return out
}

// Act is who applies restrictions again, and when.
type Act struct {
	Actor    string // as histories name it
	Ceremony string // the recovery
	At       time.Time
}

// Restrict applies a fact to the row as the backup has it. It returns the row as it must stand and in words what
// changed; nil where nothing does. remove: the row is to be deleted.
func Restrict(value any, f Fact, act Act) (next any, what string, err error) {
	switch v := value.(type) {
	case *people.Person:
		return restrictPerson(v, f, act)
	case *people.Share:
		if f.State != string(people.ShareLost) || v.Status == people.ShareLost || v.Status == people.ShareRetired {
			return nil, "", nil
		}
		v.Status = people.ShareLost
		return v, "reported lost", nil
	case *key.Version:
		return restrictVersion(v, f, act)
	case *key.Keystore:
		if f.State != key.KeystoreRetired || v.Status == f.State {
			return nil, "", nil
		}
		v.Status = f.State
		v.GovRevision++
		return v, f.State, nil
	case *access.Application:
		if f.State == "" || v.Status == "suspended" {
			return nil, "", nil
		}
		v.Status, v.SuspendedAt = "suspended", &act.At
		return v, "suspended (it was " + f.State + ")", nil
	case *access.Token:
		return restrictUntil(v, f, act, &v.RevokedAt, &v.ExpiresAt)
	case *access.Grant:
		return restrictGrant(v, f, act)
	}
	return nil, "", nil
}

func restrictUntil(v any, f Fact, act Act, revoked **time.Time, until *time.Time) (any, string, error) {
	switch {
	case *revoked != nil:
		return nil, "", nil
	case f.State != "":
		*revoked = &act.At
		return v, factRevoked, nil
	case f.Until != nil && f.Until.Before(*until):
		*until = *f.Until
		return v, "ends " + f.Until.Format(time.RFC3339), nil
	}
	return nil, "", nil
}

func restrictGrant(g *access.Grant, f Fact, act Act) (any, string, error) {
	next, what, err := restrictUntil(g, f, act, &g.RevokedAt, &g.ExpiresAt)
	if err != nil || g.RevokedAt != nil || f.State != "" {
		return next, what, err
	}
	kept := slices.DeleteFunc(slices.Clone(g.Operations), func(op access.Operation) bool { return !slices.Contains(f.Operations, string(op)) })
	switch {
	case len(kept) == len(g.Operations):
		return next, what, nil
	case len(kept) == 0:
		g.RevokedAt = &act.At
		return g, factRevoked, nil
	}
	g.Operations = kept
	return g, strings.Trim(what+", operations withdrawn", ", "), nil
}

func restrictPerson(p *people.Person, f Fact, act Act) (any, string, error) {
	var what []string
	status := people.Status(f.State)
	if f.State == factDeleted {
		status = people.StatusLeft
	}
	switch {
	case status == people.StatusLeft && p.Status != people.StatusLeft:
		p.Status, p.LeftAt, p.LeftBy, p.LeftReason = people.StatusLeft, &act.At, act.Ceremony, "left before the recovery "+act.Ceremony
		what = append(what, "left")
	case status == people.StatusSuspended && p.Status == people.StatusActive:
		p.Status, p.SuspendedAt, p.SuspendedReason = people.StatusSuspended, &act.At, "suspended before the recovery "+act.Ceremony
		what = append(what, "suspended")
	}
	if f.State != factDeleted {
		what = append(what, withdraw(p, f, act)...)
	}
	if len(what) == 0 {
		return nil, "", nil
	}
	return p, strings.Join(what, ", "), nil
}

// withdraw takes roles and approval keys that the person no longer had. Who would be left without a role has none
// that counts.
func withdraw(p *people.Person, f Fact, act Act) []string {
	var what []string
	roles := slices.DeleteFunc(slices.Clone(p.Roles), func(r people.Role) bool { return !slices.Contains(f.Roles, string(r)) })
	switch {
	case len(roles) == len(p.Roles):
	case len(roles) == 0:
		if p.Status != people.StatusLeft {
			p.Status, p.LeftAt, p.LeftBy, p.LeftReason = people.StatusLeft, &act.At, act.Ceremony, "no role remained before the recovery "+act.Ceremony
			what = append(what, "left: no role of theirs remains")
		}
	default:
		p.Roles = roles
		what = append(what, "roles withdrawn")
	}
	keys := slices.Clone(p.ApprovalKeys)
	for i := range keys {
		if !keys[i].Revoked && !slices.Contains(f.Keys, keys[i].ID) {
			keys[i].Revoked, keys[i].RevokedAt, keys[i].RevokedReason = true, &act.At, "revoked before the recovery "+act.Ceremony
			what = append(what, "approval key revoked")
		}
	}
	p.ApprovalKeys = keys
	return what
}

// restrictVersion moves a version to the state that it had, by the table of transitions: what is in between is gone
// through at once. Guards that ask for what a quorum decided in the lost range are taken as decided.
func restrictVersion(v *key.Version, f Fact, act Act) (any, string, error) {
	to := key.State(f.State)
	if f.State == "" || v.State == to || v.State == key.Destroyed || (v.State == key.Compromised && to != key.Destroyed) ||
		(v.State == key.Deactivated && to == key.Suspended) {
		return nil, "", nil
	}
	next := v
	for _, id := range path(v, to) {
		t := key.Transition{ID: id, At: act.At, Actor: act.Actor, Ceremony: act.Ceremony, Reason: "recorded before the recovery, applied again"}
		if id == "T7" {
			t.Suspected = f.Suspected
		}
		var err error
		if next, err = next.Apply(t, key.Facts{PlacementFits: true, CustodiansAcknowledged: true, NeverUsed: true, NoDependents: true, ReplacementActive: true,
			FindingClosed: true, NoLegalHold: true, Reprotected: true, PairMoves: true, ApprovedAt: act.At.Add(-key.MinDestroyWait)}); err != nil {
			return nil, "", fmt.Errorf("applying %s to %s: %w", f.State, key.VersionID(v.Key, v.Version), err)
		}
	}
	if next == v {
		return nil, "", nil
	}
	return next, f.State, nil
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
			held := v.Type == key.Master && r.AtEnd == key.SetK
			allowed := r.AtEnd == "" || r.AtEnd == v.Type.AtEnd() || held
			// What releases is no way to a restriction, and nothing becomes compromised on the way elsewhere.
			if r.To == key.Compromised && to != key.Compromised {
				continue
			}
			if r.From != at.state || seen[r.To] || !allowed || r.ID == "T4" || r.ID == "T10" || r.From == "" {
				continue
			}
			seen[r.To] = true
			queue = append(queue, step{r.To, append(slices.Clone(at.ids), r.ID)})
		}
	}
	return nil
}
