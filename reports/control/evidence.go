package control

import (
	"slices"
	"time"

	"conclave/custodian"
	"conclave/custodian/access"
	"conclave/custodian/backup"
	"conclave/custodian/key"
	"conclave/custodian/oversight"
	"conclave/custodian/people"
	"conclave/custodian/segment"
	"conclave/custodian/store"
)

// Ref names one revision of an authority row and the ledger entry that wrote it.
type Ref struct {
	Kind     string `json:"kind"`
	ID       string `json:"id"`
	Revision uint64 `json:"revision"`
	Hash     string `json:"hash"` // lower-case hex SHA-256 of the row's canonical body
	Seq      uint64 `json:"seq"`
}

// Record is an authority row, decoded.
type Record[T any] struct {
	Ref   Ref
	Value T
}

// Instance is what genesis fixed of the instance.
type Instance struct {
	ID           string `json:"id"` // hex SHA-256 of the genesis file
	Name         string `json:"name"`
	Mode         string `json:"mode"` // "production", "development"
	PolicyDigest string `json:"policy_digest"`
	// Begins is the time of the ledger's entry 0: nothing from before it is on record.
	Begins time.Time `json:"begins"`
}

// Development says that the instance was made for trying out, with a lowered floor.
func (i Instance) Development() bool { return i.Mode != "production" }

// Ceremony is what evaluators read of a governed operation. Rows of that kind belong to a sibling package,
// so the members that matter here are read from the row's body by name; others are passed over.
type Ceremony struct {
	ID        string   `json:"id"`
	Operation string   `json:"operation"`
	Class     string   `json:"class"` // G, S, P, A, D of the operations table
	State     string   `json:"state"`
	Title     string   `json:"title"`
	Subjects  []string `json:"subjects"`
	Target    struct {
		Type string `json:"type"`
		ID   string `json:"id"`
	} `json:"target"`
	Reason  string `json:"reason"`
	Outcome string `json:"outcome"`
	// Administrator led it by its script; "" for a ceremony without.
	Administrator string `json:"administrator"`
	Lines         []struct {
		Label  string `json:"label"`
		Before string `json:"before"`
		After  string `json:"after"`
	} `json:"lines"`
	Requester struct {
		Kind string `json:"kind,case:ignore"`
		ID   string `json:"id,case:ignore"`
		// CalledBy is the person who called for a node's ceremony.
		CalledBy string `json:"called_by"`
	} `json:"requester"`
	Takes struct {
		Approvals int `json:"approvals"`
	} `json:"takes"`
	ShareSet  string `json:"share_set"`
	Threshold int    `json:"threshold"`
	Votes     []struct {
		Person     string    `json:"person"`
		Credential string    `json:"credential"`
		Decision   string    `json:"decision"`
		At         time.Time `json:"at"`
	} `json:"votes"`
	Shares []struct {
		Person string    `json:"person"`
		Index  int       `json:"index"`
		At     time.Time `json:"at"`
	} `json:"shares"`
	// Approvers are the people whose approvals counted when it ran, by the roles and acknowledgements of then.
	Approvers  []string   `json:"approvers"`
	ProposedAt time.Time  `json:"proposed_at"`
	EndedAt    *time.Time `json:"ended_at"`
	ReviewBy   *time.Time `json:"review_by"` // when somebody who took no part must have reviewed it
	Deviations []string   `json:"deviations"`
	FirstSeq   uint64     `json:"first_seq"`
	LastSeq    uint64     `json:"last_seq"`
	Cites      string     `json:"cites"`
}

// Evidence is what a report looks at: the authority rows at one checkpoint, and what happened in a period.
// Lists are in order of id. Evaluators do not change it.
type Evidence struct {
	Instance Instance
	// Framework is the one that is judged; statements of people name it.
	Framework string
	Scope     Scope     // which keys the framework that is judged is about
	From, To  time.Time // the period: From ≤ event < To
	Whole     bool      // a register is made: its lists keep all rows
	Ahead     time.Time // zero, or the instant after which everything is ahead: what the service does by itself is taken as done
	Now       time.Time // the instant as of which state is judged: the earlier of To and the checkpoint's time

	Keys         []Record[key.Key]
	Versions     []Record[key.Version]
	Keystores    []Record[key.Keystore]
	People       []Record[people.Person]
	ShareSets    []Record[people.ShareSet]
	Shares       []Record[people.Share]
	Applications []Record[access.Application]
	Grants       []Record[access.Grant]
	Ceremonies   []Record[Ceremony]
	Holds        []Record[oversight.Hold]
	Reviews      []Record[oversight.Review]
	Findings     []Record[oversight.Finding]
	Exceptions   []Record[oversight.Exception]
	Drifts       []Record[key.Drift]
	BreakGlass   []Record[oversight.BreakGlass]
	Retentions   []Record[oversight.Retention]
	Backups      []Record[backup.Copy]
	Tokens       []Record[access.Token]
	Activities   []Record[people.Activity]
	Duties       []Record[people.Duty]
	Assets       []Record[key.Asset]
	ShareForms   []Record[people.ShareForm]
	Custody      []Record[people.CustodyEntry]
	Drills       []Record[people.Drill]
	Schedules    []Record[backup.Schedule]
	Policies     []Record[custodian.PolicyInForce] // one: which bundle is in force
	Attestations []Record[oversight.Attestation]
	LogDays      []Record[oversight.LogDay]
	Segments     []Record[segment.Segment] // in the order of their entries
	// Damaged rows contradict the ledger; they were left out of the lists above.
	Damaged []Ref

	Events *Events
}

// ScopedKeys lists the keys in scope that existed at Now.
func (ev *Evidence) ScopedKeys() []Record[key.Key] {
	var out []Record[key.Key]
	for _, k := range ev.Keys {
		if ev.Scope.Covers(k.Value) && !k.Value.CreatedAt.After(ev.Now) {
			out = append(out, k)
		}
	}
	return out
}

// VersionsOf lists the versions of a key that existed at Now, in order of version.
func (ev *Evidence) VersionsOf(id string) []Record[key.Version] {
	var out []Record[key.Version]
	for _, v := range ev.Versions {
		if v.Value.Key == id && !v.Value.GeneratedAt.After(ev.Now) {
			out = append(out, v)
		}
	}
	slices.SortFunc(out, func(a, b Record[key.Version]) int { return int(a.Value.Version) - int(b.Value.Version) })
	return out
}

// Keystore finds a keystore; nil when there is none.
func (ev *Evidence) Keystore(id string) *Record[key.Keystore] { return find(ev.Keystores, id) }

// Person finds a person; nil when there is none.
func (ev *Evidence) Person(id string) *Record[people.Person] { return find(ev.People, id) }

// ShareSet finds a share set; nil when there is none.
func (ev *Evidence) ShareSet(id string) *Record[people.ShareSet] { return find(ev.ShareSets, id) }

// Key finds a key; nil when there is none.
func (ev *Evidence) Key(id string) *Record[key.Key] { return find(ev.Keys, id) }

// Ceremony finds a ceremony; nil when there is none.
func (ev *Evidence) Ceremony(id string) *Record[Ceremony] { return find(ev.Ceremonies, id) }

// CurrentShares lists the shares of a set's epoch in force, in order of index; none of a set that opens nothing, since
// it is pending or was replaced.
func (ev *Evidence) CurrentShares(set people.ShareSet) []Record[people.Share] {
	var out []Record[people.Share]
	if !set.InForce() {
		return nil
	}
	for _, s := range ev.Shares {
		if s.Value.Set == set.ID && s.Value.Epoch == set.Epoch && s.Value.Status != people.ShareRetired {
			out = append(out, s)
		}
	}
	slices.SortFunc(out, func(a, b Record[people.Share]) int { return a.Value.Index - b.Value.Index })
	return out
}

// Copies is the register of shares and backups, by which it is said what is left of what was destroyed. As of Now, as
// far as backups go: one made later is not in it, one deleted later is.
func (ev *Evidence) Copies() *custodian.CopyRegister {
	r := &custodian.CopyRegister{Sets: valuesOf(ev.ShareSets), Shares: valuesOf(ev.Shares), Keystores: valuesOf(ev.Keystores)}
	for _, c := range valuesOf(ev.Backups) {
		if c.GoneAt != nil && c.GoneAt.After(ev.Now) {
			c.Status = backup.CopyPresent
		}
		if !c.At.After(ev.Now) {
			r.Backups = append(r.Backups, c)
		}
	}
	for _, ref := range ev.Damaged {
		r.Damaged = r.Damaged || slices.Contains(custodian.CopyKinds(), store.Kind(ref.Kind))
	}
	return r
}

// valuesOf copies the values out of records.
func valuesOf[T any](records []Record[T]) []*T {
	out := make([]*T, len(records))
	for i := range records {
		v := records[i].Value
		out[i] = &v
	}
	return out
}

// InPeriod says whether an instant lies in the report's period.
func (ev *Evidence) InPeriod(at time.Time) bool { return !at.Before(ev.From) && at.Before(ev.To) }

func find[T any](records []Record[T], id string) *Record[T] {
	i, found := slices.BinarySearchFunc(records, id, func(r Record[T], id string) int {
		switch {
		case r.Ref.ID < id:
			return -1
		case r.Ref.ID > id:
			return 1
		}
		return 0
	})
	if !found {
		return nil
	}
	return &records[i]
}

// StateAt is the state of a version at an instant, from its history.
func StateAt(v key.Version, at time.Time) key.State {
	state := v.State
	for i, t := range v.History {
		if t.At.After(at) {
			if i == 0 {
				return key.PreActivation
			}
			break
		}
		state = t.To
	}
	return state
}

// Inactive lists the spans in which a version, once activated, was not active; the last may be open.
func Inactive(v key.Version) []Span {
	var out []Span
	was := false
	for _, t := range v.History {
		switch {
		case t.To == key.Active:
			if n := len(out); n > 0 && out[n-1].Until.IsZero() {
				out[n-1].Until = t.At
			}
			was = true
		case was && t.From == key.Active:
			out = append(out, Span{From: t.At, State: t.To})
		}
	}
	return out
}

// Span is a stretch of time; a zero Until means that it goes on.
type Span struct {
	From, Until time.Time
	State       key.State // state at its beginning
}

// Holds says whether an instant lies within, its beginning excluded: an entry of the very instant may come
// before the change in the ledger.
func (s Span) Holds(at time.Time) bool {
	return at.After(s.From) && (s.Until.IsZero() || at.Before(s.Until))
}
