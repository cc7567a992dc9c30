package store

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"fmt"

	"conclave/custodian/ledger"
)

// RecordType says what a Record holds.
type RecordType byte

// An export consists of one head, then batches (with the hashes of what was archived in the place of these), checkpoints
// and rows, in this order.
const (
	RecordHead       RecordType = 'H' // Body: the signed checkpoint that everything else belongs to
	RecordBatch      RecordType = 'B' // Body: entries, C2SP bundle framing
	RecordLeaves     RecordType = 'L' // Body: RFC 6962 leaf hashes of entries that were archived
	RecordCheckpoint RecordType = 'C' // Body: an earlier signed checkpoint
	RecordRow        RecordType = 'R' // Body: canonical JSON of an authority row
)

// Record is one piece of an exported ledger, the same whichever database it comes from. Tiles are not among them:
// whoever restores computes them anew from the entries.
type Record struct {
	Type     RecordType
	First    uint64 // batch, leaves: Seq of its first entry
	Count    uint64 // batch, leaves: number of entries
	Control  bool   // batch: of the control plane
	Size     uint64 // checkpoint
	At       int64  // checkpoint: microseconds since 1970 UTC
	Kind     string // row
	ID       string // row
	Revision uint64 // row
	Seq      uint64 // row: entry that made this revision
	Body     []byte
}

// exportStall is how long PostgreSQL lets the reading transaction of an export wait for a slow target, in
// milliseconds (ours); the bound for commits is far shorter.
const exportStall = "600000"

// Export gives one committed state of the whole database to fn, while it is served: the head first. Entries are held
// against the signed root and rows against the entries on the way, so that what contradicts the ledger is never
// exported: [ErrEdited]. Record.Body is valid during fn only. Memory is bounded by some batches or rows.
func (s *Store) Export(ctx context.Context, fn func(Record) error) error {
	tx, err := s.db.snapshotTx(ctx)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	if s.db.driver == Postgres {
		if _, err := tx.ExecContext(ctx, "SET LOCAL idle_in_transaction_session_timeout = "+exportStall); err != nil {
			return unavailable("beginning an export", err)
		}
	}
	stored, err := reader{tx}.head(ctx)
	if err != nil {
		return err
	}
	head, err := reader{tx}.openHead(ctx, stored, s.snap.Load().keys, s.View().head.Size)
	if err != nil {
		return err
	}
	x := &export{store: s, tx: tx, head: head, tree: ledger.NewTree(), projection: newProjection(), fn: fn}
	if err := fn(Record{Type: RecordHead, Body: stored.note}); err != nil {
		return err
	}
	for _, part := range []func(context.Context) error{x.batches, x.checkpoints, x.rows} {
		if err := part(ctx); err != nil {
			return fmt.Errorf("exporting ledger: %w", err)
		}
	}
	return nil
}

type export struct {
	store      *Store
	tx         *sql.Tx
	head       ledger.Head
	tree       *ledger.Tree
	projection *projection
	fn         func(Record) error
}

func (x *export) batches(ctx context.Context) error {
	err := reader{x.tx}.batches(ctx, 0, x.head.Size, false, func(b *storedBatch) error {
		if err := x.leaves(ctx, b.first); err != nil {
			return err
		}
		if b.first != x.tree.Size() {
			return fmt.Errorf("%w: entry %d stands twice", ErrEdited, b.first)
		}
		err := b.entries(func(seq uint64, raw []byte) error {
			x.tree.Append(ledger.LeafHash(raw))
			if !b.control {
				return nil
			}
			e, err := decodeAt(seq, raw)
			if err != nil {
				return err
			}
			return x.projection.apply(e)
		})
		if err != nil {
			return err
		}
		x.tree.TakeFullTiles()
		return x.fn(Record{Type: RecordBatch, First: b.first, Count: b.count, Control: b.control, Body: b.body})
	})
	p := x.projection
	switch {
	case err != nil:
		return err
	case x.tree.Size() != x.head.Size || x.tree.Root() != x.head.Root:
		return fmt.Errorf("%w: the entries do not give the signed root", ErrEdited)
	case p.count != x.head.ControlCount || p.last != x.head.ControlLast || p.epoch != x.head.Epoch:
		return fmt.Errorf("%w: control entries up to %d do not reach the signed head's", ErrEdited, p.last)
	}
	return nil
}

// exportPage bounds how many checkpoints or rows are in memory at once.
const exportPage = 32

func (x *export) checkpoints(ctx context.Context) error {
	for after := int64(-1); ; {
		page, err := collect(ctx, x.tx, func(rows *sql.Rows, r *Record) error {
			r.Type = RecordCheckpoint
			return rows.Scan((*number)(&r.Size), &r.At, &r.Body)
		}, "SELECT size, at, note FROM ledger_checkpoints WHERE size > $1 AND size <= $2 ORDER BY size LIMIT $3", after, x.head.Size, exportPage)
		if err != nil {
			return unavailable("reading checkpoints", err)
		}
		for _, r := range page {
			if err := x.fn(r); err != nil {
				return err
			}
			after = int64(r.Size)
		}
		if len(page) < exportPage {
			return nil
		}
	}
}

func (x *export) rows(ctx context.Context) error {
	found, kind, id := 0, "", ""
	for {
		page, err := collect(ctx, x.tx, func(rows *sql.Rows, r *Record) error {
			r.Type = RecordRow
			return rows.Scan(&r.Kind, &r.ID, (*number)(&r.Revision), (*number)(&r.Seq), &r.Body)
		}, "SELECT kind, id, revision, seq, body FROM authority_rows WHERE (kind, id) > ($1, $2) ORDER BY kind, id LIMIT $3", kind, id, exportPage)
		if err != nil {
			return unavailable("reading authority rows", err)
		}
		for _, r := range page {
			if err := x.row(r); err != nil {
				return err
			}
			kind, id = r.Kind, r.ID
			found++
		}
		if len(page) < exportPage {
			break
		}
	}
	live := 0
	for _, b := range x.projection.rows {
		if !b.deleted() {
			live++
		}
	}
	if found != live {
		return fmt.Errorf("%w: %d authority rows are stored, the ledger says that there are %d", ErrEdited, found, live)
	}
	return nil
}

func (x *export) row(r Record) error {
	b := x.projection.rows[rowKey{Kind(r.Kind), r.ID}]
	if b.revision == 0 || b.deleted() || b.revision != r.Revision || b.seq != r.Seq || sha256.Sum256(r.Body) != b.hash {
		return fmt.Errorf("%w: row %s %q is not what the ledger recorded", ErrEdited, r.Kind, r.ID)
	}
	return x.fn(r)
}

// collect reads one page of records.
func collect(ctx context.Context, tx *sql.Tx, scan func(*sql.Rows, *Record) error, query string, args ...any) ([]Record, error) {
	rows, err := tx.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var page []Record
	for rows.Next() {
		var r Record
		if err := scan(rows, &r); err != nil {
			return nil, err
		}
		page = append(page, r)
	}
	return page, rows.Err()
}
