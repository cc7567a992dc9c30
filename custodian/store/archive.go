package store

import (
	"cmp"
	"context"
	"fmt"
	"iter"
	"slices"
	"time"

	"gorm.io/gorm"
)

// Archived rows: of those that nothing happens to any more memory keeps what the ledger binds them by. Which there are,
// and in what order, memory says; the database gives their content, which is held against the hash each time.

const (
	// fetchTimeout bounds reading one archived row (ours): who asks has no context to bound it by.
	fetchTimeout = 3 * time.Second
	// fetchAgain is how long is waited for a commit that the database shows and that is not published here yet.
	fetchAgain = 5 * time.Millisecond
	fetchTries = 20
	// fetchPage bounds how many archived rows are read at once.
	fetchPage = 100
)

// fetch returns an archived row as b binds it, or as it has become since.
func (s *Store) fetch(k rowKey, b bound) (Row, error) {
	ctx, cancel := context.WithTimeout(context.Background(), fetchTimeout)
	defer cancel()
	least := s.View().bound(k).revision
	for tries := 0; ; tries++ {
		m, err := readRow(s.db.session(ctx, s.db.read), k)
		if err != nil {
			return Row{}, err
		}
		if row := s.bindRow(m, b); row != nil {
			return *row, nil
		}
		if m != nil && m.Seq != notANumber && uint64(m.Revision) >= least {
			if err := s.published(ctx, uint64(m.Seq)); err != nil {
				return Row{}, err
			}
			if row := s.bindRow(m, s.recorded(ctx, k, m)); row != nil {
				return *row, nil
			}
		}
		if m == nil && s.View().bound(k).deleted() {
			return Row{}, fmt.Errorf("%s %q: %w", k.kind, k.id, ErrNotFound)
		}
		if m != nil || tries == fetchTries {
			s.suspect(k)
			return Row{}, &TamperedError{Kind: k.kind, ID: k.id}
		}
		time.Sleep(fetchAgain) // removed by a commit that is not published here yet, or by somebody else
	}
}

// published waits for the entry at seq to be part of this process's View: the database shows a commit first.
func (s *Store) published(ctx context.Context, seq uint64) error {
	for seq >= s.View().head.Size {
		select {
		case <-ctx.Done():
			return unavailable("waiting for a commit to be taken over", ctx.Err())
		case <-time.After(fetchAgain):
		}
	}
	return nil
}

// recorded is what the entry that a stored row names says of it; nothing where there is no such entry.
func (s *Store) recorded(ctx context.Context, k rowKey, m *rowModel) (b bound) {
	_, e, err := s.EntryAt(ctx, uint64(m.Seq))
	if err != nil {
		return b
	}
	for _, c := range e.Rows {
		if c.Kind == string(k.kind) && c.ID == k.id {
			b = bound{revision: c.Revision, seq: e.Seq, hash: c.Hash}
		}
	}
	return b
}

// bindRow is the stored row if it is the one that b binds, else nil.
func (s *Store) bindRow(m *rowModel, b bound) *Row {
	if m == nil {
		return nil
	}
	row, violation := s.checkRow(m, b, s.cfg.Clock.Now())
	if violation != nil {
		return nil
	}
	return row
}

// suspect has a row that was read and contradicts the ledger quarantined, without waiting for the sweep.
func (s *Store) suspect(k rowKey) {
	if !s.suspecting.CompareAndSwap(false, true) {
		return
	}
	go func() { // not waited for: who found it may be the committer itself
		defer s.suspecting.Store(false)
		ctx, cancel := context.WithTimeout(context.Background(), commitTimeout)
		defer cancel()
		err := s.between(ctx, func(work context.Context) error {
			_, err := s.confirm(work, map[rowKey]bool{k: true})
			return err
		})
		if err != nil && !s.stopping() {
			s.cfg.Logger.Error("a row that contradicts the ledger could not be quarantined; the sweep tries again", "kind", string(k.kind), "id", k.id, "error", err)
		}
	}()
}

// Marks walks the archived rows of a kind, in no order: ids, with the marks that the kind's Archive gave them. It reads
// nothing from the database. Rows that contradict the ledger are left out.
func (v *View) Marks(kind Kind) iter.Seq2[string, uint64] {
	return func(yield func(string, uint64) bool) {
		v.rows[kind].eachArchived(func(id string, kept stub) bool {
			if _, bad := v.tampered[rowKey{kind, id}]; bad {
				return true
			}
			return yield(id, kept.mark)
		})
	}
}

// Position is where a row stands among the archived ones: by the entry that made its revision, then by id.
type Position struct {
	Seq uint64
	ID  string
}

func (p Position) before(o Position) bool {
	return cmp.Or(cmp.Compare(p.Seq, o.Seq), cmp.Compare(p.ID, o.ID)) < 0
}

// Recent returns the archived rows of a kind that were changed last, newest first, at most limit of them; those before a
// position, where it is not zero. Rows that contradict the ledger are left out: see Tampered.
func (v *View) Recent(ctx context.Context, kind Kind, before Position, limit int) ([]Row, error) {
	var top []Position // newest first, at most limit
	v.rows[kind].eachArchived(func(id string, kept stub) bool {
		p := Position{kept.seq, id}
		if _, bad := v.tampered[rowKey{kind, id}]; bad || (before != Position{} && !p.before(before)) ||
			(len(top) == limit && (limit == 0 || p.before(top[limit-1]))) {
			return true
		}
		at, _ := slices.BinarySearchFunc(top, p, func(a, b Position) int {
			return cmp.Or(cmp.Compare(b.Seq, a.Seq), cmp.Compare(b.ID, a.ID))
		})
		top = slices.Insert(top, at, p)
		top = top[:min(len(top), limit)]
		return true
	})
	ids := make([]string, len(top))
	for i, p := range top {
		ids[i] = p.ID
	}
	var out []Row
	err := v.fetchAll(ctx, kind, ids, func(r Row) error {
		out = append(out, r)
		return nil
	})
	return out, err
}

// Walk gives fn all rows of a kind with ids behind after, in order of id: those in memory, and archived ones whose mark
// pick takes (nil: all). Rows that contradict the ledger are left out where that is known: see Tampered; one that turns
// out to is a [*TamperedError]. The rows in memory are those of this View, an archived one that was changed since is given
// as it is now.
func (v *View) Walk(ctx context.Context, kind Kind, after string, pick func(mark uint64) bool, fn func(Row) error) error {
	var ids []string
	for id, mark := range v.Marks(kind) {
		if id > after && (pick == nil || pick(mark)) {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	next := 0
	until := func(id string, all bool) error { // what is archived, up to id
		end := next
		for end < len(ids) && (all || ids[end] < id) {
			end++
		}
		part := ids[next:end]
		next = end
		return v.fetchAll(ctx, kind, part, fn)
	}
	for row := range v.List(kind) {
		if row.ID <= after {
			continue
		}
		if err := until(row.ID, false); err != nil {
			return err
		}
		if err := fn(row); err != nil {
			return err
		}
	}
	return until("", true)
}

// fetchAll gives fn the archived rows of these ids, in their order.
func (v *View) fetchAll(ctx context.Context, kind Kind, ids []string, fn func(Row) error) error {
	for page := range slices.Chunk(ids, fetchPage) {
		stored, err := readRows(v.source.db.session(ctx, v.source.db.read), kind, page)
		if err != nil {
			return err
		}
		for _, id := range page {
			k := rowKey{kind, id}
			row := v.source.bindRow(stored[id], v.bound(k))
			if row == nil { // changed since, or not what it should be
				now, err := v.source.fetch(k, v.bound(k))
				if err != nil {
					return err
				}
				row = &now
			}
			if err := fn(*row); err != nil {
				return err
			}
		}
	}
	return nil
}

// readRows returns those of the rows with these ids that are there.
func readRows(g *gorm.DB, kind Kind, ids []string) (map[string]*rowModel, error) {
	var found []rowModel
	if err := g.Where("kind = ? AND id IN ?", string(kind), ids).Find(&found).Error; err != nil {
		return nil, unavailable("reading authority rows", err)
	}
	out := make(map[string]*rowModel, len(found))
	for i := range found {
		out[found[i].ID] = &found[i]
	}
	return out, nil
}
