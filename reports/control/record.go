package control

import (
	"net"
	"strings"
	"time"

	"conclave/custodian/identity"
	"conclave/custodian/ledger"
	"conclave/custodian/usage"
)

// Doer is who did something to what. Of uses of keys What is the key, of other entries it is empty.
type Doer struct{ Kind, ID, What string }

// Tally counts what one doer did in the period.
type Tally struct {
	Allowed, Denied int
	First, Last     uint64 // first and last entry
	FirstAt, LastAt time.Time
}

// maxDoers bounds the doers kept of one type; the rest are counted together.
const maxDoers = 5_000

// Others are the doers beyond the bound.
var others = Doer{Kind: "others"}

// tallied: types of which it matters who did them, and that come in any number.
func tallied(kind string) bool {
	switch kind {
	case "ledger.read", "report.create", "decision.explain", "auth.failure":
		return true
	}
	return strings.HasPrefix(kind, usePrefix)
}

func (ev *Events) tally(e *ledger.Entry) {
	if !tallied(e.Type) {
		return
	}
	who := Doer{Kind: string(e.Actor.Kind), ID: e.Actor.ID}
	if e.Type == "auth.failure" {
		who = Doer{Kind: "source", ID: source(e.Actor.Origin)}
	}
	if !strings.HasPrefix(e.Type, usePrefix) {
		ev.count(e.Type, who, e, e.Outcome != ledger.Deny)
		return
	}
	for _, item := range usage.Items(e) {
		who.What = item.Key
		ev.count(usePrefix, who, e, item.Outcome == ledger.Allow)
	}
}

// source is an origin without its port.
func source(origin string) string {
	if host, _, err := net.SplitHostPort(origin); err == nil {
		return host
	}
	return origin
}

func (ev *Events) count(kind string, who Doer, e *ledger.Entry, allowed bool) {
	t := ev.tallyOf(kind, who, e.Seq, e.At)
	if allowed {
		t.Allowed++
	} else {
		t.Denied++
	}
	t.saw(e.Seq, e.At, e.Seq, e.At)
}

// saw moves the first and the last entry: days are not read in order.
func (t *Tally) saw(first uint64, firstAt time.Time, last uint64, lastAt time.Time) {
	if first < t.First {
		t.First, t.FirstAt = first, firstAt
	}
	if last >= t.Last {
		t.Last, t.LastAt = last, lastAt
	}
}

// tallyOf is the line of a doer, begun with an entry where there is none.
func (ev *Events) tallyOf(kind string, who Doer, first uint64, at time.Time) *Tally {
	of := ev.tallies[kind]
	if of == nil {
		of = map[Doer]*Tally{}
		ev.tallies[kind] = of
	}
	t := of[who]
	if t == nil && len(of) >= maxDoers {
		who = others
		t = of[who]
	}
	if t == nil {
		who = Doer{strings.Clone(who.Kind), strings.Clone(who.ID), strings.Clone(who.What)}
		t = &Tally{First: first, FirstAt: at}
		of[who] = t
	}
	return t
}

// Doers is who did things of a type in the period: of the types that evaluators ask for, and of uses of keys together
// under [Uses].
func (ev *Events) Doers(kind string) map[Doer]*Tally { return ev.tallies[kind] }

// Uses asks Doers for the uses of keys, one line an actor and key.
const Uses = usePrefix

// Lack counts entries of one kind, as those that miss one of the fields that PCI DSS 4.0.1, 10.2.2 and AU-3 ask for.
type Lack struct {
	Count int
	Seqs  []uint64 // the first few
}

// Lacking is what entries of the period miss, by field.
func (ev *Events) Lacking() map[string]*Lack { return ev.lacking }

// fields looks whether an entry has the six fields. Origination is the caller's address where the caller came over the
// network, and the node that acted where it was the node.
func (ev *Events) fields(e *ledger.Entry) {
	ev.lack("user", e.Actor.ID == "" || e.Actor.Kind == "", e.Seq)
	ev.lack("type of event", e.Type == "", e.Seq)
	ev.lack("date and time", e.At.IsZero(), e.Seq)
	ev.lack("success or failure", e.Outcome == "", e.Seq)
	ev.lack("origination", e.Actor.Origin == "" && e.Node == "" && e.Actor.Kind != identity.Node, e.Seq)
	ev.lack("what was affected", e.Target.ID == "" && e.Target.Type == "" && len(e.Detail) == 0 && e.Actor.Kind != identity.Node, e.Seq)
}

func (ev *Events) lack(field string, missing bool, seq uint64) {
	if !missing {
		return
	}
	l := ev.lacking[field]
	if l == nil {
		l = &Lack{}
		ev.lacking[field] = l
	}
	l.add(seq)
}

// refuse counts an entry that records a refusal.
func (ev *Events) refuse(e *ledger.Entry) {
	l := ev.refused[e.Type]
	if l == nil {
		l = &Lack{}
		ev.refused[strings.Clone(e.Type)] = l
	}
	l.add(e.Seq)
}

// Refused is how many entries of the period record a refusal, by type: of those that were read one by one. A batch of
// uses is refused whole or not at all here; its single items are counted by [Events.Doers].
func (ev *Events) Refused() map[string]*Lack { return ev.refused }

// order looks whether an entry is older than the one before it. Days that are read out of order are not compared.
func (ev *Events) order(e *ledger.Entry) {
	if e.Seq > ev.lastSeq && e.At.Before(ev.lastAt) {
		ev.backwards.add(e.Seq)
	}
	if e.Seq >= ev.lastSeq {
		ev.lastSeq, ev.lastAt = e.Seq, e.At
	}
}

// Backwards are the entries of the period that are older than one before them.
func (ev *Events) Backwards() Lack { return ev.backwards }

func (l *Lack) add(seq uint64) {
	if l.Count++; len(l.Seqs) < keptMisuses {
		l.Seqs = append(l.Seqs, seq)
	}
}
