package store

import (
	"context"
	"math/bits"
	"strconv"
	"strings"

	"gorm.io/gorm"
)

// Term says in which blocks of a span of ledger entries something stands that is looked for.
type Term struct {
	Span   uint64 // sequence number / TermSpan
	Term   int64  // hash of field and value
	Blocks uint64 // bit n, lowest first: the n-th block of the span
}

const (
	// TermBlock is how many entries a block has.
	TermBlock = 256
	// TermSpan is how many entries a span has: 64 blocks. What is written of one span lies together in the database.
	TermSpan = 64 * TermBlock
)

// TermsCursor is up to which entry the ledger is indexed.
func (s *Store) TermsCursor(ctx context.Context) (uint64, error) {
	return s.cursor(ctx, "ledger_terms_cursor")
}

// ResetTerms forgets the index, so that all of the ledger is read anew.
func (s *Store) ResetTerms(ctx context.Context) error {
	err := s.db.gorm.WithContext(ctx).Transaction(func(tx *gorm.DB) error {
		if err := tx.Exec("DELETE FROM ledger_terms").Error; err != nil {
			return err
		}
		return tx.Exec("UPDATE ledger_terms_cursor SET next_seq = 0 WHERE id = 1").Error
	})
	if err != nil {
		return unavailable("resetting the search index", err)
	}
	return nil
}

// termSpans are looked up by one statement.
const termSpans = 256

// TermBlocks lists the blocks from ≤ block < to that hold all of the terms, in rising or falling order, at most limit.
func (s *Store) TermBlocks(ctx context.Context, terms []int64, from, to uint64, falling bool, limit int) ([]uint64, error) {
	const perSpan = TermSpan / TermBlock
	var out []uint64
	for from < to && len(terms) > 0 {
		first, last := from/perSpan, (to-1)/perSpan
		if falling {
			first = max(first, last-min(last, termSpans-1))
		} else {
			last = min(last, first+termSpans-1)
		}
		found, err := s.termSpans(ctx, terms, first, last, falling)
		if err != nil {
			return nil, err
		}
		for _, t := range found {
			for b := range t.walk(falling) {
				if block := t.Span*perSpan + b; block >= from && block < to {
					if out = append(out, block); len(out) == limit {
						return out, nil
					}
				}
			}
		}
		if falling {
			to = first * perSpan
		} else {
			from = (last + 1) * perSpan
		}
	}
	return out, nil
}

// walk yields the numbers of the bits that are set.
func (t Term) walk(falling bool) func(yield func(uint64) bool) {
	return func(yield func(uint64) bool) {
		for left := t.Blocks; left != 0; {
			n := bits.TrailingZeros64(left)
			if falling {
				n = 63 - bits.LeadingZeros64(left)
			}
			if !yield(uint64(n)) {
				return
			}
			left &^= 1 << n
		}
	}
}

// termSpans reads the spans first ≤ span ≤ last, and of each the blocks that hold all of the terms.
func (s *Store) termSpans(ctx context.Context, terms []int64, first, last uint64, falling bool) ([]Term, error) {
	var query, joins strings.Builder
	query.WriteString("WITH RECURSIVE spans(n) AS (SELECT CAST(? AS BIGINT) UNION ALL SELECT n + 1 FROM spans WHERE n < ?) SELECT n AS span, ")
	args := []any{number(first), number(last)}
	for i, term := range terms {
		name := "t" + strconv.Itoa(i)
		if i > 0 {
			query.WriteString(" & ")
		}
		query.WriteString(name + ".blocks")
		joins.WriteString(" JOIN ledger_terms " + name + " ON " + name + ".span = n AND " + name + ".term = ?")
		args = append(args, term)
	}
	query.WriteString(" AS blocks FROM spans" + joins.String() + " ORDER BY n")
	if falling {
		query.WriteString(" DESC")
	}
	var rows []struct {
		Span   number
		Blocks int64
	}
	if err := s.db.session(ctx, s.db.read).Raw(query.String(), args...).Scan(&rows).Error; err != nil {
		return nil, unavailable("searching", err)
	}
	out := make([]Term, len(rows))
	for i, r := range rows {
		out[i] = Term{Span: uint64(r.Span), Blocks: uint64(r.Blocks)}
	}
	return out, nil
}
