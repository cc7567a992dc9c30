// Package search finds ledger entries by who, what, which key, which ceremony and how it ended. Its index is derived
// from the ledger, behind it, and can be made anew at any time; it says only where to look. What is found is read from
// the ledger itself and proven to be in it.
package search

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"slices"
	"strings"

	"conclave/custodian/ledger"
	"conclave/custodian/store"
	"conclave/custodian/usage"
)

// Fields that are indexed.
const (
	fieldActor     = "actor"     // id of who acted
	fieldKey       = "key"       // key acted on, or used in an item of a batch
	fieldTarget    = "target"    // id of anything acted on
	fieldCeremony  = "ceremony"  // ceremony that the entry belongs to
	fieldOperation = "operation" // type of the entry, and everything above it: key, key.use, key.use.decrypt
	fieldOutcome   = "outcome"
)

// term is the 64-bit hash under which a value is indexed. Two values with one hash cost a look at entries that do not
// match, nothing else.
func term(field string, values ...string) int64 {
	return hashed(appendTerm(nil, field, values...))
}

func appendTerm(b []byte, field string, values ...string) []byte {
	b = append(b, field...)
	for _, v := range values {
		b = append(append(b, 0), v...)
	}
	return b
}

func hashed(text []byte) int64 {
	h := sha256.Sum256(text)
	return int64(binary.BigEndian.Uint64(h[:8]))
}

// Indexer gathers what entries of one span are found by, see [store.TermSpan].
type Indexer struct {
	blocks  map[string]*uint64 // of the span, by term
	span    uint64
	scratch []byte
}

// NewIndexer has gathered nothing.
func NewIndexer() *Indexer { return &Indexer{blocks: map[string]*uint64{}} }

// Add gathers an entry.
func (x *Indexer) Add(e *ledger.Entry) {
	x.span = e.Seq / store.TermSpan
	block := uint64(1) << (e.Seq % store.TermSpan / store.TermBlock)
	eachTerm(e, func(field string, values ...string) {
		x.scratch = appendTerm(x.scratch[:0], field, values...)
		known := x.blocks[string(x.scratch)]
		if known == nil {
			known = new(uint64)
			x.blocks[string(x.scratch)] = known
		}
		*known |= block
	})
}

// Terms are what was gathered, in order of their place in the database.
func (x *Indexer) Terms() []store.Term {
	byHash := make(map[int64]uint64, len(x.blocks))
	for text, blocks := range x.blocks {
		byHash[hashed([]byte(text))] |= *blocks
	}
	out := make([]store.Term, 0, len(byHash))
	for term, blocks := range byHash {
		out = append(out, store.Term{Span: x.span, Term: term, Blocks: blocks})
	}
	slices.SortFunc(out, func(a, b store.Term) int { return cmp.Compare(a.Term, b.Term) })
	return out
}

// eachTerm names what an entry is found by.
func eachTerm(e *ledger.Entry, add func(field string, values ...string)) {
	actor := e.Actor.String()
	if e.Target.ID != "" {
		add(fieldTarget, e.Target.ID)
		add(fieldTarget, e.Target.Type+":"+e.Target.ID)
	}
	if e.Ceremony != "" {
		add(fieldCeremony, e.Ceremony)
	}
	for i, c := range e.Type {
		if c == '.' {
			add(fieldOperation, e.Type[:i])
		}
	}
	add(fieldOperation, e.Type)
	add(fieldActor, e.Actor.ID)
	add(fieldActor, actor)
	ended := func(outcome string) {
		add(fieldOutcome, outcome)
		add(fieldActor, e.Actor.ID, outcome)
		add(fieldActor, actor, outcome)
	}
	ended(string(e.Outcome))
	for _, u := range keysOf(e) {
		add(fieldKey, u.key)
		add(fieldKey, u.key, u.outcome)
		if u.outcome != string(e.Outcome) {
			ended(u.outcome)
		}
	}
}

// keyUse is one key that an entry is about, and how that ended.
type keyUse struct{ key, outcome string }

// keysOf are the keys that an entry is about: its target's, and those of the items of a batch.
func keysOf(e *ledger.Entry) []keyUse {
	if !strings.HasPrefix(e.Type, usage.Prefix) {
		if e.Target.Type == "key" && e.Target.ID != "" {
			return []keyUse{{e.Target.ID, string(e.Outcome)}}
		}
		return nil
	}
	var out []keyUse
	for _, item := range usage.Items(e) {
		if item.Key != "" {
			out = append(out, keyUse{item.Key, string(item.Outcome)})
		}
	}
	return out
}
