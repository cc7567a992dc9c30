package store

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"

	"conclave/custodian/ledger"
)

// querier is a connection pool or a transaction.
type querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// reader reads the ledger's tables. What it returns is as trustworthy as the database.
type reader struct{ q querier }

// storedHead is the head row; note is the signed one, the columns repeat it for operators and SQL guards.
type storedHead struct {
	size, epoch, controlCount, controlLast uint64
	root, note                             []byte
}

func scanHead(row *sql.Row) (*storedHead, error) {
	h := &storedHead{}
	err := row.Scan((*number)(&h.size), &h.root, (*number)(&h.epoch), (*number)(&h.controlCount), (*number)(&h.controlLast), &h.note)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, ErrNotInitialised
	}
	if err != nil {
		return nil, unavailable("reading ledger head", err)
	}
	return h, nil
}

func (r reader) head(ctx context.Context) (*storedHead, error) {
	return scanHead(r.q.QueryRowContext(ctx, "SELECT size, root, epoch, control_count, control_last, note FROM ledger_head WHERE id = 1"))
}

// open verifies the signed note and that the columns say the same.
func (h *storedHead) open(keys *ledger.KeyChain) (ledger.Head, error) {
	head, err := keys.Open(h.note)
	if err != nil {
		return ledger.Head{}, fmt.Errorf("%w: signed head: %w", ErrEdited, err)
	}
	return head, h.matches(head)
}

// matches holds the columns against the head that the note was signed for.
func (h *storedHead) matches(head ledger.Head) error {
	if head.Size != h.size || !bytes.Equal(head.Root[:], h.root) || head.Epoch != h.epoch ||
		head.ControlCount != h.controlCount || head.ControlLast != h.controlLast {
		return fmt.Errorf("%w: head row differs from its signed note", ErrEdited)
	}
	return nil
}

// ReadTile implements [ledger.TileSource].
func (r reader) ReadTile(ctx context.Context, level int, index int64) ([]byte, error) {
	var body []byte
	err := r.q.QueryRowContext(ctx, "SELECT body FROM ledger_tiles WHERE level = $1 AND idx = $2", level, index).Scan(&body)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, fmt.Errorf("tile %d/%d: %w", level, index, ledger.ErrTileMissing)
	}
	if err != nil {
		return nil, unavailable("reading tile", err)
	}
	return body, nil
}

// storedBatch is one row of ledger_batches.
type storedBatch struct {
	first, count uint64
	control      bool
	body         []byte
}

// entries walks a batch's encoded entries and holds their number against the count column.
func (b *storedBatch) entries(fn func(seq uint64, raw []byte) error) error {
	seq := b.first
	for raw, err := range ledger.ReadBundle(b.body) {
		if err != nil {
			return fmt.Errorf("%w: batch at entry %d: %w", ErrEdited, b.first, err)
		}
		if err := fn(seq, raw); err != nil {
			return err
		}
		seq++
	}
	if seq-b.first != b.count {
		return fmt.Errorf("%w: batch at entry %d holds %d entries, its row says %d", ErrEdited, b.first, seq-b.first, b.count)
	}
	return nil
}

// batchPage bounds how many batches are in memory at once, and how long one query runs.
const batchPage = 32

// batches walks the batches that hold entries from ≤ seq < to, in order; with control only those of the
// control plane. No query is open while fn runs.
func (r reader) batches(ctx context.Context, from, to uint64, control bool, fn func(*storedBatch) error) error {
	start := "(SELECT COALESCE(MAX(first_seq), 0) FROM ledger_batches WHERE first_seq <= $1)"
	plane := ""
	if control {
		plane = " AND control = 1"
	}
	for from < to {
		page, err := r.page(ctx, "SELECT first_seq, count, control, body FROM ledger_batches WHERE first_seq >= "+start+
			plane+" AND first_seq < $2 ORDER BY first_seq LIMIT $3", from, to)
		if err != nil {
			return err
		}
		for _, b := range page {
			if err := fn(b); err != nil {
				return err
			}
		}
		if len(page) < batchPage {
			return nil
		}
		// The next page begins with the batch after the last one.
		last := page[len(page)-1]
		from, start = last.first+1, "$1"
	}
	return nil
}

func (r reader) page(ctx context.Context, query string, from, to uint64) ([]*storedBatch, error) {
	rows, err := r.q.QueryContext(ctx, query, from, to, batchPage)
	if err != nil {
		return nil, unavailable("reading batches", err)
	}
	defer rows.Close()
	var page []*storedBatch
	for rows.Next() {
		b := &storedBatch{}
		var control number
		if err := rows.Scan((*number)(&b.first), (*number)(&b.count), &control, &b.body); err != nil {
			return nil, unavailable("reading batches", err)
		}
		b.control = control == 1
		page = append(page, b)
	}
	if err := rows.Err(); err != nil {
		return nil, unavailable("reading batches", err)
	}
	return page, nil
}

// tileLevels is more than a ledger of 2^53 entries has.
const tileLevels = 7

// nothingBeyond refuses batches and tiles after the end of a ledger of size entries, which nobody but an intruder
// wrote: commits would run into them, and readers take them for entries.
func (r reader) nothingBeyond(ctx context.Context, size uint64) error {
	var n int64
	if err := r.q.QueryRowContext(ctx, "SELECT COUNT(*) FROM ledger_batches WHERE first_seq >= $1", size).Scan(&n); err != nil {
		return unavailable("reading batches", err)
	}
	if n > 0 {
		return fmt.Errorf("%w: %d batches stand beyond the signed head of %d entries", ErrEdited, n, size)
	}
	for level := range tileLevels {
		full := size >> (8 * (level + 1)) // tiles of height 8
		err := r.q.QueryRowContext(ctx, "SELECT COUNT(*) FROM ledger_tiles WHERE level = $1 AND idx >= $2", level, full).Scan(&n)
		if err != nil {
			return unavailable("reading tiles", err)
		}
		if n > 0 {
			return fmt.Errorf("%w: %d tiles of level %d stand beyond the signed head of %d entries", ErrEdited, n, level, size)
		}
	}
	return nil
}

// contiguous walks all entries from ≤ seq < to and refuses a gap.
func (r reader) contiguous(ctx context.Context, from, to uint64, fn func(seq uint64, raw []byte) error) error {
	next := from
	err := r.batches(ctx, from, to, false, func(b *storedBatch) error {
		return b.entries(func(seq uint64, raw []byte) error {
			if seq < from || seq >= to {
				return nil
			}
			if seq != next {
				return fmt.Errorf("%w: entry %d is missing", ErrEdited, next)
			}
			next++
			return fn(seq, raw)
		})
	})
	if err == nil && next != to {
		return fmt.Errorf("%w: entry %d is missing", ErrEdited, next)
	}
	return err
}
