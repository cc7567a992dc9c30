package store

import (
	"cmp"
	"hash/maphash"
	"slices"
	"sync"
)

// shards bounds what one change copies: a 128th of a kind's rows.
const shards = 128

// table holds the rows of one kind. Once published it is never changed: a change clones the table and the
// shards that it touches. A nil table is empty.
type table struct {
	seed   maphash.Seed
	shard  [shards]map[string]*Row
	shared [shards]bool // shard belongs to an older table and is copied before a change

	shelf       *shelf // rows of which memory keeps no content
	shelfShared bool   // shelf belongs to an older table too

	active       map[string]*Row // those that the kind's Active picks
	activeShared bool            // active belongs to an older table too

	once   sync.Once
	sorted []*Row // live rows by id, made at the first walk

	activeOnce   sync.Once
	activeSorted []*Row // the same of active
}

// clone returns a table to change, sharing all shards.
func (t *table) clone() *table {
	next := &table{}
	if t == nil {
		next.seed = maphash.MakeSeed()
		return next
	}
	next.seed, next.shard = t.seed, t.shard
	next.active, next.activeShared = t.active, true
	next.shelf, next.shelfShared = t.shelf, true
	for i := range next.shared {
		next.shared[i] = true
	}
	return next
}

func (t *table) index(id string) uint64 { return maphash.String(t.seed, id) % shards }

func (t *table) get(id string) *Row {
	if t == nil {
		return nil
	}
	return t.shard[t.index(id)][id]
}

// archived returns what memory keeps of an archived row.
func (t *table) archived(id string) (stub, bool) {
	if t == nil {
		return stub{}, false
	}
	return t.shelf.get(t.seed, id)
}

// eachArchived walks what is archived, in no order.
func (t *table) eachArchived(yield func(id string, v stub) bool) {
	if t != nil {
		t.shelf.walk(yield)
	}
}

// archive keeps of r only what binds it. Only for a table that is not published yet.
func (t *table) archive(r *Row) {
	if i := t.index(r.ID); t.shard[i][r.ID] != nil {
		t.ownShard(i)
		delete(t.shard[i], r.ID)
	}
	t.ownShelf().put(t.seed, r.ID, stub{bound: r.bound(), mark: r.mark})
}

func (t *table) ownShelf() *shelf {
	if t.shelf == nil || t.shelfShared {
		t.shelf, t.shelfShared = t.shelf.clone(), false
	}
	return t.shelf
}

// put stores r with its content. Only for a table that is not published yet.
func (t *table) put(r *Row) {
	i := t.index(r.ID)
	t.ownShard(i)
	t.shard[i][r.ID] = r
	if _, was := t.archived(r.ID); was {
		t.ownShelf().remove(t.seed, r.ID)
	}
	t.track(r)
}

// ownShard makes a shard that may be changed.
func (t *table) ownShard(i uint64) {
	if !t.shared[i] && t.shard[i] != nil {
		return
	}
	own := make(map[string]*Row, len(t.shard[i])+1)
	for id, row := range t.shard[i] {
		own[id] = row
	}
	t.shard[i], t.shared[i] = own, false
}

// track keeps active in step with what put stores. It copies no more than the active rows.
func (t *table) track(r *Row) {
	if _, was := t.active[r.ID]; !was && !r.active {
		return
	}
	if t.activeShared || t.active == nil {
		own := make(map[string]*Row, len(t.active)+1)
		for id, row := range t.active {
			own[id] = row
		}
		t.active, t.activeShared = own, false
	}
	if r.active {
		t.active[r.ID] = r
	} else {
		delete(t.active, r.ID)
	}
}

// orderedActive returns the active rows by id.
func (t *table) orderedActive() []*Row {
	if t == nil {
		return nil
	}
	t.activeOnce.Do(func() {
		for _, r := range t.active {
			t.activeSorted = append(t.activeSorted, r)
		}
		slices.SortFunc(t.activeSorted, func(a, b *Row) int { return cmp.Compare(a.ID, b.ID) })
	})
	return t.activeSorted
}

// ordered returns the live rows by id.
func (t *table) ordered() []*Row {
	if t == nil {
		return nil
	}
	t.once.Do(func() {
		for _, m := range t.shard {
			for _, r := range m {
				if !r.deleted() {
					t.sorted = append(t.sorted, r)
				}
			}
		}
		slices.SortFunc(t.sorted, func(a, b *Row) int { return cmp.Compare(a.ID, b.ID) })
	})
	return t.sorted
}

// bound is what the ledger says of the row.
func (r *Row) bound() bound {
	if r == nil {
		return bound{}
	}
	return bound{revision: r.Revision, seq: r.Seq, hash: r.Hash}
}

// deleted: a tombstone keeps the revision, so that a row made again does not repeat an earlier one.
func (r *Row) deleted() bool { return r.Body == nil }

func sortViolations(list []Violation) {
	slices.SortFunc(list, func(a, b Violation) int {
		return cmp.Or(cmp.Compare(a.Object, b.Object), cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.ID, b.ID), cmp.Compare(a.Seq, b.Seq))
	})
}
