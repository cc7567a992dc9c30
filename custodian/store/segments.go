package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"conclave/custodian/ledger"
)

// Run is a run of entries that were moved out of the database, From ≤ seq < To, both multiples of ledger.TileWidth.
type Run struct {
	ID       string
	From, To uint64
	Deleted  string // ceremony by which the entries were deleted; "" where they are kept
	// FirstAt and LastAt are the times of its first and last entry.
	FirstAt, LastAt time.Time
}

// Segments gives back entries that were moved out of the database. What it gives is proven by whoever asked for proof.
type Segments interface {
	// Covering is the run that holds an entry, by the rows of a view; false where none does.
	Covering(v *View, seq uint64) (Run, bool)
	// Bundle reads the 256 entries of a group (seq / 256) of a kept run, C2SP bundle framing.
	Bundle(ctx context.Context, run Run, index uint64) ([]byte, error)
}

// missing: an entry is neither in the database nor in a segment.
func missing(seq uint64) error { return fmt.Errorf("%w: entry %d is missing", ErrEdited, seq) }

// covering is the run that an entry was moved out in; [ErrEdited] where there is none, and the entry should be here.
func (s *Store) covering(seq uint64) (Run, error) {
	if s.cfg.Segments != nil {
		if run, ok := s.cfg.Segments.Covering(s.View(), seq); ok {
			return run, nil
		}
	}
	return Run{}, missing(seq)
}

// walk gives all entries from ≤ seq < to in order, those that were archived among them. A gap is [ErrEdited]; entries that
// were deleted are a [*ledger.DeletedError].
func (s *Store) walk(ctx context.Context, from, to uint64, fn func(seq uint64, raw []byte) error) error {
	next := from
	err := reader{s.db.read}.batches(ctx, from, to, false, func(b *storedBatch) error {
		return b.entries(func(seq uint64, raw []byte) error {
			if seq < from || seq >= to {
				return nil
			}
			if seq < next {
				return fmt.Errorf("%w: entry %d stands twice", ErrEdited, seq)
			}
			if err := s.archived(ctx, next, seq, fn); err != nil {
				return err
			}
			next = seq + 1
			return fn(seq, raw)
		})
	})
	if err != nil {
		return err
	}
	return s.archived(ctx, next, to, fn)
}

// archived gives the entries from ≤ seq < to, which are not in the database, from their segments.
func (s *Store) archived(ctx context.Context, from, to uint64, fn func(seq uint64, raw []byte) error) error {
	for from < to {
		run, err := s.covering(from)
		if err != nil {
			return err
		}
		if run.Deleted != "" {
			return &ledger.DeletedError{From: run.From, To: run.To, By: run.Deleted, FirstAt: run.FirstAt, LastAt: run.LastAt}
		}
		index := from / ledger.TileWidth
		bundle, err := s.cfg.Segments.Bundle(ctx, run, index)
		if err != nil {
			return fmt.Errorf("reading entry %d from its segment: %w", from, err)
		}
		seq := index * ledger.TileWidth
		for raw, err := range ledger.ReadBundle(bundle) {
			if err != nil {
				return fmt.Errorf("%w: segment %s at entry %d: %w", ErrEdited, run.ID, seq, err)
			}
			if seq == from && from < to {
				if err := fn(seq, raw); err != nil {
					return err
				}
				from++
			}
			seq++
		}
		if end := (index + 1) * ledger.TileWidth; seq != end {
			return fmt.Errorf("%w: segment %s holds entries up to %d, want %d", ErrEdited, run.ID, seq, end)
		}
	}
	return nil
}

const hashBytes = tlog.HashSize

// appendLeaves gives each of a row of hashes to a tree.
func appendLeaves(add func(tlog.Hash), hashes []byte) {
	for h := range slices.Chunk(hashes, hashBytes) {
		add(tlog.Hash(h))
	}
}

// leaves gives the hashes of the entries from tree.Size() on up to to, which were archived, as records, and appends them
// to the tree: whether they are those of the log its root shows in the end.
func (x *export) leaves(ctx context.Context, to uint64) error {
	for from := x.tree.Size(); from < to; from = x.tree.Size() {
		if _, err := x.store.covering(from); err != nil {
			return err
		}
		index, offset := from/ledger.TileWidth, from%ledger.TileWidth
		tile, err := reader{x.tx}.ReadTile(ctx, 0, int64(index))
		if errors.Is(err, ledger.ErrTileMissing) || err == nil && len(tile) != ledger.TileWidth*hashBytes {
			return fmt.Errorf("%w: the hashes of entries from %d on are not there", ErrEdited, from)
		}
		if err != nil {
			return err
		}
		end := min(to, (index+1)*ledger.TileWidth) - index*ledger.TileWidth
		hashes := tile[offset*hashBytes : end*hashBytes]
		appendLeaves(x.tree.Append, hashes)
		x.tree.TakeFullTiles()
		if err := x.fn(Record{Type: RecordLeaves, First: from, Count: end - offset, Body: hashes}); err != nil {
			return err
		}
	}
	return nil
}

// DropArchived takes data-plane batches out of the database that end at or before an entry, of those that begin at or after
// another, at most limit: their entries are in segments, which the caller has verified. Next is where to go on; equal to
// end, nothing is left, neither of a batch that stands across it. Control-plane entries stay.
func (s *Store) DropArchived(ctx context.Context, from, end uint64, limit int) (next uint64, err error) {
	ctx, cancel := context.WithTimeout(ctx, commitTimeout)
	defer cancel()
	var last sql.NullInt64
	g := s.db.session(ctx, s.db.read)
	const found = "SELECT first_seq FROM ledger_batches WHERE control = 0 AND first_seq >= ? AND first_seq + count <= ? ORDER BY first_seq LIMIT ?"
	if err := g.Raw("SELECT MAX(first_seq) FROM ("+found+") AS t", number(from), number(end), limit).Scan(&last).Error; err != nil {
		return from, unavailable("looking for archived entries", err)
	}
	if !last.Valid {
		return end, s.shorten(ctx, end)
	}
	err = s.db.gorm.WithContext(ctx).Exec("DELETE FROM ledger_batches WHERE control = 0 AND first_seq >= ? AND first_seq <= ? AND first_seq + count <= ?",
		number(from), last.Int64, number(end)).Error
	if err != nil {
		return from, unavailable("dropping archived entries", err)
	}
	return uint64(last.Int64) + 1, nil
}

// shorten takes what is before an entry out of the data-plane batch that holds it.
func (s *Store) shorten(ctx context.Context, end uint64) error {
	tx, err := s.db.write.BeginTx(ctx, nil)
	if err != nil {
		return unavailable("dropping archived entries", err)
	}
	defer tx.Rollback() // does nothing after the commit
	whole := &storedBatch{}
	err = tx.QueryRowContext(ctx, "SELECT first_seq, count, body FROM ledger_batches WHERE control = 0"+
		" AND first_seq = (SELECT MAX(first_seq) FROM ledger_batches WHERE first_seq < $1) AND first_seq + count > $1",
		number(end)).Scan((*number)(&whole.first), (*number)(&whole.count), &whole.body)
	if errors.Is(err, sql.ErrNoRows) { // the end is between two batches
		return nil
	}
	if err != nil {
		return unavailable("dropping archived entries", err)
	}
	var rest []byte
	err = whole.entries(func(seq uint64, raw []byte) (err error) {
		if seq >= end {
			rest, err = ledger.AppendBundle(rest, raw)
		}
		return err
	})
	if err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, "UPDATE ledger_batches SET first_seq = $1, count = $2, body = $3 WHERE first_seq = $4 AND control = 0",
		number(end), number(whole.first+whole.count-end), rest, number(whole.first))
	if err == nil {
		err = tx.Commit()
	}
	if err != nil {
		return unavailable("dropping archived entries", err)
	}
	return nil
}

// OpenCheckpoint verifies a signed checkpoint of this ledger and returns its head.
func (s *Store) OpenCheckpoint(note []byte) (ledger.Head, error) {
	head, err := s.LogKeys().Open(note)
	if err != nil {
		return ledger.Head{}, fmt.Errorf("opening checkpoint: %w", err)
	}
	return head, nil
}

// Present is Entries of what is still there: of entries that were deleted it gives those of the control plane.
func (s *Store) Present(ctx context.Context, from, to uint64, fn func(e *ledger.Entry, raw []byte) error) error {
	for from < to {
		next := from
		err := s.Entries(ctx, from, to, func(e *ledger.Entry, raw []byte) error {
			next = e.Seq + 1
			return fn(e, raw)
		})
		var gone *ledger.DeletedError
		if !errors.As(err, &gone) {
			return err
		}
		from = min(to, gone.To)
		if err := s.ControlEntriesIn(ctx, next, from, fn); err != nil {
			return err
		}
	}
	return nil
}

// FirstAt finds the first entry that is not before an instant: see [ledger.FirstAt]. It is the number of entries where
// there is none.
func (s *Store) FirstAt(ctx context.Context, at time.Time) (uint64, error) {
	return ledger.FirstAt(ctx, ledger.Timed{
		Entry: func(ctx context.Context, seq uint64) (*ledger.Entry, error) {
			_, e, err := s.EntryAt(ctx, seq)
			return e, err
		},
		Control: func(ctx context.Context, from, to uint64, fn func(*ledger.Entry) error) error {
			return s.ControlEntriesIn(ctx, from, to, func(e *ledger.Entry, _ []byte) error { return fn(e) })
		},
	}, at, s.View().head.Size)
}
