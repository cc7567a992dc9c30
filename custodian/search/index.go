// Package search finds ledger entries by who, what, which key, which ceremony and how it ended. Its index is derived
// from the ledger, behind it, and can be made anew at any time; it says only where to look. What is found is read from
// the ledger itself and proven to be in it.
package search

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
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

// step bounds what is read and written at once. It is small, since the embedded database has one writer: a commit of
// the ledger never waits for more than this.
const step = 1024

// term is the 64-bit hash under which a value is indexed. Two values with one hash cost a look at entries that do not
// match, nothing else.
func term(field string, values ...string) int64 {
	h := sha256.Sum256([]byte(field + "\x00" + strings.Join(values, "\x00")))
	return int64(binary.BigEndian.Uint64(h[:8]))
}

// Index reads on from where it stopped until it has caught up or ctx ends, and gives way to those who write. Several replicas may do so at once. The
// entries are proven to be in the signed tree.
func Index(ctx context.Context, s *store.Store) error {
	for {
		pace := s.Pace()
		from, err := s.TermsCursor(ctx)
		if err != nil {
			return err
		}
		size := s.View().Head().Size
		if from > size { // restored to an earlier state
			if err := s.ResetTerms(ctx); err != nil {
				return err
			}
			continue
		}
		to := min(size, from+step)
		if from == to {
			return nil
		}
		found := map[store.Term]bool{}
		err = s.Entries(ctx, from, to, func(e *ledger.Entry, _ []byte) error {
			for _, t := range termsOf(e) {
				found[store.Term{Term: t, Block: e.Seq / store.TermBlock}] = true
			}
			return nil
		})
		if err != nil {
			return fmt.Errorf("indexing the ledger: %w", err)
		}
		list := make([]store.Term, 0, len(found))
		for t := range found {
			list = append(list, t)
		}
		if _, err := s.AddTerms(ctx, from, to, list); err != nil {
			return err
		}
		pace.Rest(ctx, to-from)
	}
}

// termsOf is what an entry is found by.
func termsOf(e *ledger.Entry) []int64 {
	actors := []string{e.Actor.ID, e.Actor.String()}
	outcomes := []string{string(e.Outcome)}
	var out []int64
	if e.Target.ID != "" {
		out = append(out, term(fieldTarget, e.Target.ID), term(fieldTarget, e.Target.Type+":"+e.Target.ID))
	}
	if e.Ceremony != "" {
		out = append(out, term(fieldCeremony, e.Ceremony))
	}
	for i, c := range e.Type {
		if c == '.' {
			out = append(out, term(fieldOperation, e.Type[:i]))
		}
	}
	out = append(out, term(fieldOperation, e.Type))
	for _, u := range keysOf(e) {
		out = append(out, term(fieldKey, u.key), term(fieldKey, u.key, u.outcome))
		if !slices.Contains(outcomes, u.outcome) {
			outcomes = append(outcomes, u.outcome)
		}
	}
	for _, outcome := range outcomes {
		out = append(out, term(fieldOutcome, outcome))
		for _, actor := range actors {
			out = append(out, term(fieldActor, actor, outcome))
		}
	}
	for _, actor := range actors {
		out = append(out, term(fieldActor, actor))
	}
	return out
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
