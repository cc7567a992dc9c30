package control

import (
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json"

	"conclave/custodian/key"
	"conclave/custodian/ledger"
	"conclave/custodian/usage"
)

// Event is what is kept of a control-plane entry.
type Event struct {
	Seq        uint64
	At         time.Time
	Type       string
	ActorKind  string
	Actor      string
	TargetType string
	Target     string
	Version    uint32
	Outcome    ledger.Outcome
	Reason     string
	Ceremony   string
	CheckValue string // of a key version made, "" where the entry names none
	Subject    string // whom and what an alert is about, "" of other entries
	Quorums    Quorums
}

// Quorums is what an entry about quorums says: which matters (operations with their target) have fewer people than before,
// and which more.
type Quorums struct {
	Worse, Better []string // "matter: level", in order of matter, as many as the entry names
	// Unnamed: it counts more matters than it names, or its list gave way to its digest.
	Unnamed bool
}

// Matter is what a line of [Quorums] is about, without the level.
func Matter(line string) string {
	if i := strings.LastIndex(line, ": "); i >= 0 {
		return line[:i]
	}
	return line
}

// Use is what the data plane did with one key version in the period.
type Use struct {
	Protects  int // data keys made, payloads encrypted, ciphertexts rewrapped to this version
	Processes int // ciphertexts decrypted
	Denied    int
	First     uint64 // first and last entry of any outcome
	Last      uint64
	// AfterEnd and WhileInactive are protecting uses that should not have been: at or after the end of the
	// originator usage period, and while the version was not active. The first few of each are kept.
	AfterEnd      Misuse
	WhileInactive Misuse
}

// Misuse counts uses and keeps the first few.
type Misuse struct {
	Count int
	Seqs  []uint64
}

// keptMisuses of one kind and version; more would prove nothing more.
const keptMisuses = 10

func (m *Misuse) add(seq uint64) {
	if m.Count++; len(m.Seqs) < keptMisuses {
		m.Seqs = append(m.Seqs, seq)
	}
}

// maxEvents bounds the events kept of one type, so that memory does not grow with the ledger.
const maxEvents = 20_000

// Events is what evaluators know of the ledger's entries: control-plane entries by type up to the report's
// instant, and the period's data-plane entries as one line a key version. Its size does not grow with calls.
type Events struct {
	byType  map[string][]Event
	dropped map[string]int
	counts  map[string]int
	uses    map[string]*Use
	limits  map[string]limit
	unread  int
	tallies map[string]map[Doer]*Tally
	lacking map[string]*Lack
	rolled  int
	refused map[string]*Lack
	// backwards are entries that are older than one before them, among those read in the order of the ledger.
	backwards Lack
	lastSeq   uint64
	lastAt    time.Time
}

type limit struct {
	end      time.Time
	inactive []Span
}

// NewEvents is ready to observe entries about the versions given.
func NewEvents(versions []Record[key.Version]) *Events {
	ev := &Events{
		byType: map[string][]Event{}, dropped: map[string]int{}, counts: map[string]int{},
		uses: map[string]*Use{}, limits: map[string]limit{}, tallies: map[string]map[Doer]*Tally{}, lacking: map[string]*Lack{}, refused: map[string]*Lack{},
	}
	for _, v := range versions {
		ev.limits[key.VersionID(v.Value.Key, v.Value.Version)] = limit{end: v.Value.OUPEnd, inactive: append(beforeActive(v.Value), Inactive(v.Value)...)}
	}
	return ev
}

// beforeActive is the span before a version first became active; open where it never did.
func beforeActive(v key.Version) []Span {
	for _, t := range v.History {
		if t.To == key.Active {
			return []Span{{Until: t.At, State: key.PreActivation}}
		}
	}
	return []Span{{State: key.PreActivation}}
}

// Before takes in a control-plane entry from before the period: it is kept, not counted.
func (ev *Events) Before(e *ledger.Entry) {
	if keep(e.Type) {
		ev.keep(e)
	}
}

// Observe takes in one entry of the period.
func (ev *Events) Observe(e *ledger.Entry) {
	ev.counts[e.Type]++
	ev.fields(e)
	ev.tally(e)
	ev.order(e)
	if e.Outcome == ledger.Deny {
		ev.refuse(e)
	}
	switch {
	case strings.HasPrefix(e.Type, usePrefix):
		ev.use(e)
	case keep(e.Type):
		ev.keep(e)
	}
}

// usePrefix begins the types of data-plane entries.
const usePrefix = usage.Prefix

// keep: types of which evaluators read single entries. Heartbeats, refusals and votes come in any number
// and are only counted.
func keep(kind string) bool {
	if strings.HasPrefix(kind, usePrefix) {
		return false
	}
	switch kind {
	case "ledger.heartbeat", "policy.deny", "ceremony.propose", "ceremony.approve", "ceremony.reject", "ceremony.attend", "ceremony.share":
		return false
	}
	return true
}

func (ev *Events) keep(e *ledger.Entry) {
	if len(ev.byType[e.Type]) >= maxEvents {
		ev.dropped[e.Type]++
		return
	}
	ev.byType[e.Type] = append(ev.byType[e.Type], Event{
		Seq: e.Seq, At: e.At, Type: strings.Clone(e.Type), ActorKind: string(e.Actor.Kind), Actor: e.Actor.ID,
		TargetType: e.Target.Type, Target: e.Target.ID, Version: e.Target.Version,
		Outcome: e.Outcome, Reason: e.Reason, Ceremony: e.Ceremony, CheckValue: checkValue(e), Subject: subject(e), Quorums: quorums(e),
	})
}

// checkValue reads the check value from the detail of an entry that records a key's making.
func checkValue(e *ledger.Entry) string {
	if !slices.Contains([]string{"key.create", "key.rotate", "key.move", "key.import"}, e.Type) {
		return ""
	}
	var detail struct {
		CheckValue string `json:"check_value"`
	}
	if json.Unmarshal(e.Detail, &detail) != nil {
		return "" // an entry without a readable detail names no check value
	}
	return detail.CheckValue
}

// subject reads from the detail of an alert what its rule means and whom and what it found.
func subject(e *ledger.Entry) string {
	if e.Type != "monitor.alert" {
		return ""
	}
	var detail struct {
		Title   string `json:"title"`
		Subject string `json:"subject"`
	}
	if json.Unmarshal(e.Detail, &detail) != nil {
		return ""
	}
	return strings.Trim(detail.Title+": "+detail.Subject, ": ")
}

// quorums reads what an entry about quorums says.
func quorums(e *ledger.Entry) Quorums {
	if e.Type != "quorum.worse" && e.Type != "quorum.better" {
		return Quorums{}
	}
	var detail struct {
		Worse       []string `json:"worse"`
		Better      []string `json:"better"`
		WorseCount  int      `json:"worse_count"`
		BetterCount int      `json:"better_count"`
	}
	if json.Unmarshal(e.Detail, &detail) != nil {
		return Quorums{Unnamed: true}
	}
	q := Quorums{Worse: detail.Worse, Better: detail.Better}
	q.Unnamed = len(q.Worse)+len(q.Better) == 0 || detail.WorseCount > len(q.Worse) || detail.BetterCount > len(q.Better)
	return q
}

func (ev *Events) use(e *ledger.Entry) {
	if protects(e.Type) && usage.Unread(e) {
		ev.unread++
	}
	for _, item := range usage.Items(e) {
		ev.useOne(e, item)
	}
}

func (ev *Events) useOne(e *ledger.Entry, item usage.Item) {
	id := key.VersionID(item.Key, item.Version)
	if item.Version == 0 {
		return // refused before a version was found
	}
	u := ev.useOf(id, e.Seq)
	u.First, u.Last = min(u.First, e.Seq), max(u.Last, e.Seq)
	switch {
	case item.Outcome != ledger.Allow:
		u.Denied++
	case protects(e.Type):
		u.Protects++
		ev.hold(id, u, e)
	default:
		u.Processes++
	}
}

// useOf is the line of a key version, begun with an entry where there is none.
func (ev *Events) useOf(id string, first uint64) *Use {
	u := ev.uses[id]
	if u == nil {
		u = &Use{First: first}
		ev.uses[id] = u
	}
	return u
}

// protects: the entry of a rewrap names the version that protects the result.
func protects(kind string) bool {
	switch strings.TrimPrefix(kind, usePrefix) {
	case "datakey", "datakeypair", "encrypt", "rewrap", "sign", "mac":
		return strings.HasPrefix(kind, usePrefix)
	}
	return false
}

func (ev *Events) hold(id string, u *Use, e *ledger.Entry) {
	l, known := ev.limits[id]
	if !known {
		return
	}
	if !l.end.IsZero() && !e.At.Before(l.end) {
		u.AfterEnd.add(e.Seq)
	}
	for _, span := range l.inactive {
		if span.Holds(e.At) {
			u.WhileInactive.add(e.Seq)
			return
		}
	}
}

// Of lists the kept events of a type, oldest first.
func (ev *Events) Of(kind string) []Event { return ev.byType[kind] }

// Dropped is the number of events of the types given that are not kept. Where it is not zero, whoever judges
// by single events has not seen all.
func (ev *Events) Dropped(kinds ...string) int {
	n := 0
	for _, k := range kinds {
		n += ev.dropped[k]
	}
	return n
}

// UnreadBatches is the number of protecting batches of the period whose list gave way to its digest, and that
// used more than one key version: whoever judges by uses has not seen all of them.
func (ev *Events) UnreadBatches() int { return ev.unread }

// Counts is how many entries of each type the period has.
func (ev *Events) Counts() map[string]int { return ev.counts }

// UseOf is what was done with a key version in the period; the zero Use when nothing was.
func (ev *Events) UseOf(v key.Version) Use {
	if u := ev.uses[key.VersionID(v.Key, v.Version)]; u != nil {
		return *u
	}
	return Use{}
}

// About lists the kept events of the types given whose target has an id, in order of type as given.
func (ev *Events) About(target string, kinds ...string) []Event {
	var out []Event
	for _, k := range kinds {
		for _, e := range ev.byType[k] {
			if e.Target == target {
				out = append(out, e)
			}
		}
	}
	return out
}
