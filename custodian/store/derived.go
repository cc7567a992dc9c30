package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Derived is what the entries From ≤ seq < To say, for the tables that are made from the ledger, behind its writers.
type Derived struct {
	From, To uint64
	Counted  bool // Usage is what they say of uses
	Usage    []UsageRow
	Indexed  bool // Terms is what they are found by
	Terms    []Term
}

// errCursorMoved: another replica read these entries first.
var errCursorMoved = errors.New("cursor moved")

// Rows of one statement. Terms are written by statements of their own, so that on the embedded database, which has one
// writer, a commit of the ledger waits for one of them at most.
const (
	termRows  = 256
	usageRows = 64
)

// AddDerived keeps what a step found, once: false when somebody else has read on from there meanwhile, and nothing was
// counted. The cursors of both tables move in one transaction.
func (s *Store) AddDerived(ctx context.Context, d Derived) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, commitTimeout)
	defer cancel()
	// Terms written twice, or of a step that is not kept in the end, say the same as before.
	if err := s.addTerms(ctx, d.Terms); err != nil {
		return false, unavailable("indexing the ledger", err)
	}
	tx, err := s.db.write.BeginTx(ctx, nil)
	if err != nil {
		return false, unavailable("counting usage", err)
	}
	defer tx.Rollback() // after a commit it does nothing
	err = d.store(ctx, tx)
	if err == nil {
		err = tx.Commit()
	}
	if errors.Is(err, errCursorMoved) {
		return false, nil
	}
	if err != nil {
		return false, unavailable("counting usage", err)
	}
	return true, nil
}

func (d *Derived) store(ctx context.Context, tx *sql.Tx) error {
	for _, c := range []struct {
		table string
		moves bool
	}{{"key_usage_cursor", d.Counted}, {"ledger_terms_cursor", d.Indexed}} {
		if !c.moves {
			continue
		}
		res, err := tx.ExecContext(ctx, "UPDATE "+c.table+" SET next_seq = $1 WHERE id = 1 AND next_seq = $2", d.To, d.From)
		if err != nil {
			return err
		}
		if n, err := res.RowsAffected(); err != nil || n != 1 {
			return errors.Join(err, errCursorMoved)
		}
	}
	for chunk := range slices.Chunk(d.Usage, usageRows) {
		args := make([]any, 0, 12*len(chunk))
		for _, r := range chunk {
			args = append(args, r.Day, r.Key, r.Version, r.Actor, r.Operation, r.Outcome, r.Origin, r.Uses, r.FirstAt, r.LastAt, r.FirstSeq, r.LastSeq)
		}
		_, err := tx.ExecContext(ctx, "INSERT INTO key_usage (day, key, version, actor, operation, outcome, origin, uses, first_at, last_at, first_seq, last_seq)"+
			" VALUES "+placeholders(len(chunk), 12)+" ON CONFLICT (key, version, day, actor, operation, outcome, origin)"+
			" DO UPDATE SET uses = key_usage.uses + excluded.uses, last_at = excluded.last_at, last_seq = excluded.last_seq", args...)
		if err != nil {
			return err
		}
	}
	return nil
}

func (s *Store) addTerms(ctx context.Context, terms []Term) error {
	for chunk := range slices.Chunk(terms, termRows) {
		args := make([]any, 0, 3*len(chunk))
		for _, t := range chunk {
			args = append(args, t.Span, t.Term, int64(t.Blocks))
		}
		_, err := s.db.write.ExecContext(ctx, "INSERT INTO ledger_terms (span, term, blocks) VALUES "+placeholders(len(chunk), 3)+
			" ON CONFLICT (span, term) DO UPDATE SET blocks = ledger_terms.blocks | excluded.blocks", args...)
		if err != nil {
			return err
		}
	}
	return nil
}

// placeholders writes ($1, $2), ($3, $4) …
func placeholders(rows, columns int) string {
	b := make([]byte, 0, rows*columns*6)
	for i := range rows * columns {
		switch {
		case i == 0:
			b = append(b, '(')
		case i%columns == 0:
			b = append(b, "), ("...)
		default:
			b = append(b, ", "...)
		}
		b = strconv.AppendInt(append(b, '$'), int64(i+1), 10)
	}
	return string(append(b, ')'))
}

// cursor is up to which entry a derived table is read.
func (s *Store) cursor(ctx context.Context, table string) (uint64, error) {
	var next []uint64
	if err := s.db.session(ctx, s.db.read).Table(table).Where("id = 1").Pluck("next_seq", &next).Error; err != nil {
		return 0, unavailable("reading "+strings.ReplaceAll(table, "_", " "), err)
	}
	if len(next) == 0 {
		return 0, fmt.Errorf("%w: %s has no row", ErrEdited, table)
	}
	return next[0], nil
}
