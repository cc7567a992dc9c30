package store

import (
	"fmt"
	"iter"
	"time"

	"conclave/custodian/ledger"
)

// View is all authority rows at one ledger head: immutable, free to keep and to read from any goroutine.
type View struct {
	head       ledger.Head
	at         time.Time
	rows       map[Kind]*table
	source     *Store // reads what is archived; nil where nothing is
	tampered   map[rowKey]Violation
	generation uint64
}

type rowKey struct {
	kind Kind
	id   string
}

// Head is the signed ledger head that this View projects.
func (v *View) Head() ledger.Head { return v.head }

// Epoch is the authority epoch in force: decisions made under this View are valid under this epoch only.
func (v *View) Epoch() uint64 { return v.head.Epoch }

// Time is the time of the last ledger entry; zero before genesis.
func (v *View) Time() time.Time { return v.at }

// Generation changes whenever a row is quarantined or released, which no ledger entry announces. A decision
// memoised under one generation must not be used under another.
func (v *View) Generation() uint64 { return v.generation }

// Get returns a row, [ErrNotFound], or a [*TamperedError] for a row that contradicts the ledger. An archived row is read
// from the database, which may fail with [ErrUnavailable]; one that was changed since this View is given as it is now.
func (v *View) Get(kind Kind, id string) (Row, error) {
	if len(v.tampered) > 0 {
		if _, bad := v.tampered[rowKey{kind, id}]; bad {
			return Row{}, &TamperedError{Kind: kind, ID: id}
		}
	}
	r := v.rows[kind].get(id)
	if kept, archived := v.rows[kind].archived(id); r == nil && archived {
		return v.source.fetch(rowKey{kind, id}, kept.bound)
	}
	if r == nil || r.deleted() {
		return Row{}, fmt.Errorf("%s %q: %w", kind, id, ErrNotFound)
	}
	return *r, nil
}

// Revision is what the ledger says of a row: the revision that its last entry made, also where that deleted it; 0 for
// a row that never was.
func (v *View) Revision(kind Kind, id string) uint64 { return v.bound(rowKey{kind, id}).revision }

// List walks the rows of a kind in order of id. Rows that contradict the ledger are left out: see Tampered. So are those
// that the kind's Archive picks: see Walk.
func (v *View) List(kind Kind) iter.Seq[Row] {
	return func(yield func(Row) bool) {
		v.walk(kind, v.rows[kind].ordered(), yield)
	}
}

// walk yields the rows that do not contradict the ledger.
func (v *View) walk(kind Kind, rows []*Row, yield func(Row) bool) {
	for _, r := range rows {
		if _, bad := v.tampered[rowKey{kind, r.ID}]; bad {
			continue
		}
		if !yield(*r) {
			return
		}
	}
}

// Tampered lists what is wrong with rows of a kind. Whoever decides by a whole List must refuse when it is
// not empty, or a hidden row would go unnoticed.
func (v *View) Tampered(kind Kind) []Violation {
	var out []Violation
	for k, violation := range v.tampered {
		if k.kind == kind {
			out = append(out, violation)
		}
	}
	sortViolations(out)
	return out
}

// Quarantined counts the rows of all kinds that contradict the ledger.
func (v *View) Quarantined() int { return len(v.tampered) }

// Get returns a row decoded as T. The struct is the caller's own copy; what its slices, maps and pointers
// lead to is shared and must not be changed.
func Get[T any](v *View, kind Kind, id string) (*T, Row, error) {
	value, row, err := peek[T](v, kind, id)
	if err != nil {
		return nil, Row{}, err
	}
	own := *value
	return &own, row, nil
}

// Peek is Get without the copy: the value is shared and must not be changed.
func Peek[T any](v *View, kind Kind, id string) (*T, error) {
	value, _, err := peek[T](v, kind, id)
	return value, err
}

func peek[T any](v *View, kind Kind, id string) (*T, Row, error) {
	row, err := v.Get(kind, id)
	if err != nil {
		return nil, Row{}, err
	}
	value, ok := row.Value.(*T)
	if !ok {
		return nil, Row{}, fmt.Errorf("%s %q holds %T, not the type asked for", kind, id, row.Value)
	}
	return value, row, nil
}

// All walks the rows of a kind decoded as T, in order of id, under the same rules as [Get] and [View.List].
// Rows whose kind decodes to another type do not appear.
func All[T any](v *View, kind Kind) iter.Seq2[Row, *T] {
	return func(yield func(Row, *T) bool) {
		for row := range v.List(kind) {
			value, ok := row.Value.(*T)
			if !ok {
				continue
			}
			own := *value
			if !yield(row, &own) {
				return
			}
		}
	}
}

// Active is [All] for the rows that the kind's Active picks. It costs what they cost, however many others there are.
func Active[T any](v *View, kind Kind) iter.Seq2[Row, *T] {
	return func(yield func(Row, *T) bool) {
		v.walk(kind, v.rows[kind].orderedActive(), func(row Row) bool {
			value, ok := row.Value.(*T)
			if !ok {
				return true
			}
			own := *value
			return yield(row, &own)
		})
	}
}

// moved returns a View of the same rows at another head.
func (v *View) moved(head ledger.Head, at time.Time) *View {
	next := *v
	next.head, next.at = head, at
	return &next
}

// with returns a View that holds r in place of the row of its kind and id. What it replaces was tampered with
// or not: the new content is bound by a new entry, so the row is released from quarantine.
func (v *View) with(rows ...*Row) *View { return v.place(rows, false) }

// settled is with, for rows that are committed: of those that are to be archived it keeps no content.
func (v *View) settled(rows ...*Row) *View { return v.place(rows, v.source != nil) }

func (v *View) place(rows []*Row, archive bool) *View {
	next := *v
	next.rows = make(map[Kind]*table, len(v.rows)+1)
	for k, t := range v.rows {
		next.rows[k] = t
	}
	owned := map[Kind]bool{}
	for _, r := range rows {
		if !owned[r.Kind] {
			next.rows[r.Kind] = next.rows[r.Kind].clone()
			owned[r.Kind] = true
		}
		if archive && r.archived {
			next.rows[r.Kind].archive(r)
		} else {
			next.rows[r.Kind].put(r)
		}
		if _, bad := next.tampered[rowKey{r.Kind, r.ID}]; bad {
			next.tampered = withoutKey(next.tampered, rowKey{r.Kind, r.ID})
			next.generation++
		}
	}
	return &next
}

// quarantined returns a View with exactly these violations.
func (v *View) quarantined(tampered map[rowKey]Violation) *View {
	next := *v
	next.tampered = tampered
	next.generation++
	return &next
}

func withoutKey(m map[rowKey]Violation, key rowKey) map[rowKey]Violation {
	out := make(map[rowKey]Violation, len(m))
	for k, violation := range m {
		if k != key {
			out[k] = violation
		}
	}
	return out
}

// bound is what the ledger says of a row, tombstones included; zero where it never named it.
func (v *View) bound(k rowKey) bound {
	if r := v.rows[k.kind].get(k.id); r != nil {
		return r.bound()
	}
	kept, _ := v.rows[k.kind].archived(k.id)
	return kept.bound
}
