package backup

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"conclave/custodian/access"
	"conclave/custodian/key"
	"conclave/custodian/oversight"
	"conclave/custodian/people"
)

// Kinds of rows that facts name themselves. The names are those of package custodian.
const (
	kindPerson      = "person"
	kindShareSet    = "share_set"
	kindApplication = "application"
	kindToken       = "token"
	kindGrant       = "grant"
	kindNode        = "node"
	kindHold        = "hold"
	kindFinding     = "finding"
	kindDuty        = "duty"
	kindBackup      = "backup"
	kindPolicy      = "policy"
)

// Fact is what a row of the live instance said that restricts: who had left, what was revoked, held or destroyed. Facts
// hold no secret and no key material. A journal of facts can only restrict: whoever forges one releases nothing.
type Fact struct {
	Kind     string `json:"kind"`
	ID       string `json:"id"`
	Revision uint64 `json:"rev"`
	// State is the row's own word: a version's or person's state, "revoked", "lost", "suspended", "retired",
	// "deleted", "held", "open"; "" where nothing restricts.
	State      string            `json:"state,omitempty"`
	Suspected  bool              `json:"suspected,omitempty"`  // a version suspended on suspicion
	Roles      []string          `json:"roles,omitempty"`      // a person's roles: others are withdrawn
	Keys       []string          `json:"keys,omitempty"`       // a person's approval keys in force: others are revoked
	ShareKeys  []string          `json:"share_keys,omitempty"` // keys that shares are sealed to: others were given up
	Operations []string          `json:"operations,omitempty"` // a grant's operations
	Context    map[string]string `json:"context,omitempty"`    // fields that a grant demands
	Until      *time.Time        `json:"until,omitempty"`      // end of a token, grant, exception or emergency access
	Epoch      uint32            `json:"epoch,omitempty"`      // of a share set
	Class      *Class            `json:"class,omitempty"`      // how a key is governed
	Exposed    *key.Exposure     `json:"exposed,omitempty"`    // a keystore's secret counts as known to others
	Drained    []string          `json:"drained,omitempty"`    // members of a keystore group that serve no more, or are none any more
	Digest     string            `json:"digest,omitempty"`     // of the policy bundle in force
	// Body is the whole row of what must be made again where the backup lacks it: holds, findings, duties, copies.
	Body jsontext.Value `json:"body,omitempty"`
}

// Class is how a key is governed.
type Class struct {
	Classification key.Classification `json:"classification"`
	Impact         key.Impact         `json:"impact"`
	Frameworks     []string           `json:"frameworks,omitempty"`
	OUPDays        int                `json:"oup_days"`
	RUPDays        int                `json:"rup_days"`
	RotateDays     int                `json:"rotate_days"`
}

// States of facts that no row type has.
const (
	factRevoked = "revoked"
	factDeleted = "deleted"
	factClosed  = "closed"
	factHeld    = "held"
	factOpen    = "open"
)

// inForce is the row that names the policy bundle in force; its type is of a package above this one.
type inForce interface{ BundleInForce() string }

// revocable is the row of a node; its type is of a package above this one.
type revocable interface {
	Revoked() bool
	Revoke(at time.Time, by, reason string) bool
}

// FactOf states what a row says; false for kinds that restrict nothing. value nil: the row was deleted.
func FactOf(kind, id string, revision uint64, value any) (Fact, bool) {
	f := Fact{Kind: kind, ID: id, Revision: revision}
	if value == nil {
		f.State = factDeleted
		return f, slices.Contains([]string{kindPerson, kindToken, kindGrant, kindApplication, kindNode}, kind)
	}
	return f, f.ofAccess(value) || f.ofKeys(value) || f.ofOversight(value)
}

// ofAccess: who may do what.
func (f *Fact) ofAccess(value any) bool {
	switch v := value.(type) {
	case *people.Person:
		f.ofPerson(v)
	case *people.Share:
		f.state(v.Status == people.ShareLost, string(v.Status))
	case *people.ShareSet:
		f.Epoch = v.Epoch
	case *people.Invitation:
		f.state(v.Status == people.InvitationUsed || v.Status == people.InvitationWithdrawn, string(v.Status))
	case *access.Application:
		f.state(v.Status != "active", v.Status)
	case revocable:
		f.state(v.Revoked(), factRevoked)
	case *access.Token:
		f.Until = &v.ExpiresAt
		f.state(v.RevokedAt != nil, factRevoked)
	case *access.Grant:
		f.Until, f.Context = &v.ExpiresAt, v.Context
		for _, op := range v.Operations {
			f.Operations = append(f.Operations, string(op))
		}
		f.state(v.RevokedAt != nil, factRevoked)
	default:
		return false
	}
	return true
}

// ofKeys: keys, where they live, under which rules.
func (f *Fact) ofKeys(value any) bool {
	switch v := value.(type) {
	case *key.Version:
		switch v.State {
		case key.Destroyed, key.Compromised, key.Suspended, key.Deactivated:
			f.State, f.Suspected = string(v.State), v.Suspected
		}
	case *key.Key:
		f.Class = &Class{v.Classification, v.Impact, v.Frameworks, v.OUPDays, v.RUPDays, v.RotateDays}
	case *key.Keystore:
		f.state(v.Status != key.KeystoreRegistered, v.Status)
		f.Exposed = v.SecretExposed
		if v.Group != nil {
			f.Drained = slices.Clone(v.Group.Former)
			for _, m := range v.Group.Members {
				if m.State != key.MemberServing {
					f.Drained = append(f.Drained, m.Keystore)
				}
			}
		}
	case *key.Template:
		f.state(v.Status != key.StatusActive, v.Status)
	case inForce:
		f.Digest = v.BundleInForce()
	default:
		return false
	}
	return true
}

// ofOversight: what is answered for, and copies.
func (f *Fact) ofOversight(value any) bool {
	switch v := value.(type) {
	case *oversight.Exception:
		f.Until = &v.ExpiresAt
		f.state(v.RevokedAt != nil, factRevoked)
	case *oversight.BreakGlass:
		f.Until = &v.ExpiresAt
		f.state(v.ClosedAt != nil, factClosed)
	case *oversight.Hold:
		f.state(v.InForce(), factHeld)
		return v.InForce() == f.whole(v.InForce(), v)
	case *oversight.Finding:
		f.state(v.Open(), factOpen)
		return v.Open() == f.whole(v.Open(), v)
	case *people.Duty:
		f.state(v.Open(), factOpen)
		return v.Open() == f.whole(v.Open(), v)
	case *Schedule:
		f.state(v.Status != ScheduleActive, v.Status)
	case *Copy:
		f.State = string(v.Status)
		return f.whole(true, v)
	default:
		return false
	}
	return true
}

func (f *Fact) state(holds bool, word string) {
	if holds {
		f.State = word
	}
}

// whole puts the row itself into the fact; false where it is not needed or, which rows of the store never are, no JSON.
func (f *Fact) whole(needed bool, v any) bool {
	if !needed {
		return false
	}
	raw, err := json.Marshal(v, json.Deterministic(true))
	f.Body = raw
	return err == nil
}

func (f *Fact) ofPerson(p *people.Person) {
	f.state(p.Status != people.StatusActive, string(p.Status))
	for _, r := range p.Roles {
		f.Roles = append(f.Roles, string(r))
	}
	for _, c := range p.ApprovalKeys {
		if !c.Revoked {
			f.Keys = append(f.Keys, c.ID)
		}
	}
	f.ShareKeys = p.ShareKeyIDs()
}

// severity orders states: of two the more severe holds.
func severity(state string) int {
	return slices.Index([]string{"", factOpen, factHeld, string(CopyPresent), string(CopyExpired), ScheduleStopped, string(key.Suspended), string(key.Deactivated),
		string(key.Compromised), factClosed, string(people.InvitationWithdrawn), string(people.InvitationUsed), "retired", string(people.ShareLost),
		string(people.StatusLeft), factRevoked, factDeleted, string(key.Destroyed)}, state)
}

// final states are never left again: any fact of one counts, whatever came later.
func (f *Fact) final() bool { return severity(f.State) >= severity(string(key.Compromised)) }

// Newest puts facts of one history together: of each row the newest, but never less than a final one. They come in the
// order in which they were recorded.
func Newest(facts []Fact) []Fact {
	byRow := map[string]Fact{}
	last := map[string]Fact{}
	for _, f := range facts {
		k := f.row()
		if old, seen := byRow[k]; !seen || f.Revision >= old.Revision {
			byRow[k] = f
		}
		if f.final() && severity(f.State) >= severity(last[k].State) {
			last[k] = f
		}
	}
	for k, end := range last {
		if f := byRow[k]; severity(f.State) < severity(end.State) {
			f.State = end.State
			byRow[k] = f
		}
	}
	return inOrder(byRow)
}

func (f *Fact) row() string { return f.Kind + "\x00" + f.ID }

func inOrder(byRow map[string]Fact) []Fact {
	out := slices.Collect(maps.Values(byRow))
	slices.SortFunc(out, func(a, b Fact) int { return cmp.Or(strings.Compare(a.Kind, b.Kind), strings.Compare(a.ID, b.ID)) })
	return out
}

// merge puts histories together that went on from the same place: a ledger that was restored, and what was left behind
// then. Revisions of two histories say nothing about each other; of each row the more restrictive of both holds.
func merge(histories [][]Fact) []Fact {
	if len(histories) == 1 {
		return histories[0]
	}
	byRow := map[string]Fact{}
	for _, facts := range histories {
		for _, f := range facts {
			if old, seen := byRow[f.row()]; seen {
				f = stricter(old, f)
			}
			byRow[f.row()] = f
		}
	}
	return inOrder(byRow)
}

func stricter(a, b Fact) Fact {
	out := b
	if severity(a.State) > severity(b.State) {
		out.State, out.Body = a.State, a.Body
	}
	out.Revision, out.Suspected, out.Epoch = max(a.Revision, b.Revision), a.Suspected || b.Suspected, max(a.Epoch, b.Epoch)
	out.Roles, out.Keys = common(a.Roles, b.Roles), common(a.Keys, b.Keys)
	out.Operations, out.ShareKeys = common(a.Operations, b.Operations), common(a.ShareKeys, b.ShareKeys)
	if a.Until != nil && (b.Until == nil || a.Until.Before(*b.Until)) {
		out.Until = a.Until
	}
	var fits bool
	if out.Context, fits = both(a.Context, b.Context); !fits {
		out.State = factRevoked
	}
	if a.Exposed != nil && (b.Exposed == nil || a.Exposed.At.After(b.Exposed.At)) {
		out.Exposed = a.Exposed
	}
	if a.Class != nil && (b.Class == nil || b.Class.key().Raises(a.Class.key())) {
		out.Class = a.Class
	}
	return out
}

func (c *Class) key() *key.Key {
	return &key.Key{Classification: c.Classification, Impact: c.Impact, Frameworks: c.Frameworks}
}

// common is what stands in both; where one says nothing, the other counts.
func common(a, b []string) []string {
	switch {
	case a == nil:
		return b
	case b == nil:
		return a
	}
	return slices.DeleteFunc(slices.Clone(b), func(s string) bool { return !slices.Contains(a, s) })
}

// both is the context that satisfies two demands; false where none can.
func both(a, b map[string]string) (map[string]string, bool) {
	out := maps.Clone(a)
	if out == nil {
		out = map[string]string{}
	}
	for name, value := range b {
		if old, also := out[name]; also && old != value {
			return nil, false
		}
		out[name] = value
	}
	return out, true
}

// Line says for people what a fact restricts; "" for a state of affairs that restricts nothing by itself.
func (f *Fact) Line() string {
	row := fmt.Sprintf("%s %s", strings.ReplaceAll(f.Kind, "_", " "), f.ID)
	switch {
	case f.Kind == kindPolicy && f.Digest != "":
		return "policy bundle in force: " + f.Digest
	case f.Exposed != nil && f.Exposed.Until == nil:
		return row + ": its activation secret counts as known to others"
	case f.State == "" || f.Kind == kindBackup:
		return ""
	}
	return row + ": " + f.State
}
