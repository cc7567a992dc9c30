package store

import (
	"context"
	"errors"
	"strings"

	"gorm.io/gorm"
)

// Term says that a block of ledger entries holds something that is looked for.
type Term struct {
	Term  int64  // hash of field and value
	Block uint64 // sequence number / TermBlock
}

// TermBlock is how many entries a block has.
const TermBlock = 256

// errTermsMoved: another replica read these entries first.
var errTermsMoved = errors.New("search cursor moved")

// termRows are written by one statement; two parameters each, far below what either database takes.
const termRows = 400

// TermsCursor is up to which entry the ledger is indexed.
func (s *Store) TermsCursor(ctx context.Context) (uint64, error) {
	var next []uint64
	if err := s.db.session(ctx, s.db.read).Table("ledger_terms_cursor").Where("id = 1").Pluck("next_seq", &next).Error; err != nil {
		return 0, unavailable("reading search cursor", err)
	}
	if len(next) == 0 {
		return 0, nil
	}
	return next[0], nil
}

// AddTerms keeps what the entries from ≤ seq < to hold: false when somebody else has read on from there meanwhile.
func (s *Store) AddTerms(ctx context.Context, from, to uint64, terms []Term) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, commitTimeout)
	defer cancel()
	err := s.db.gorm.WithContext(ctx).Transaction(func(tx *gorm.DB) error {
		res := tx.Exec("UPDATE ledger_terms_cursor SET next_seq = ? WHERE id = 1 AND next_seq = ?", number(to), number(from))
		if res.Error != nil {
			return res.Error
		}
		if res.RowsAffected != 1 {
			return errTermsMoved
		}
		for len(terms) > 0 {
			n := min(termRows, len(terms))
			args := make([]any, 0, 2*n)
			for _, t := range terms[:n] {
				args = append(args, t.Term, number(t.Block))
			}
			values := strings.TrimSuffix(strings.Repeat("(?, ?), ", n), ", ")
			if err := tx.Exec("INSERT INTO ledger_terms (term, block) VALUES "+values+" ON CONFLICT (term, block) DO NOTHING", args...).Error; err != nil {
				return err
			}
			terms = terms[n:]
		}
		return nil
	})
	if errors.Is(err, errTermsMoved) {
		return false, nil
	}
	if err != nil {
		return false, unavailable("indexing the ledger", err)
	}
	return true, nil
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

// rareEnough is where counting a term's blocks ends: past it, one is as common as another.
const rareEnough = 10_000

// TermBlocks lists the blocks from ≤ block < to that hold all of the terms, in rising or falling order, at most limit.
func (s *Store) TermBlocks(ctx context.Context, terms []int64, from, to uint64, falling bool, limit int) ([]uint64, error) {
	g := s.db.session(ctx, s.db.read)
	rarest, least := 0, int64(-1)
	for i, term := range terms {
		var n int64
		if err := g.Raw("SELECT COUNT(*) FROM (SELECT 1 FROM ledger_terms WHERE term = ? AND block >= ? AND block < ? LIMIT ?) AS t",
			term, number(from), number(to), rareEnough).Scan(&n).Error; err != nil {
			return nil, unavailable("searching", err)
		}
		if least < 0 || n < least {
			rarest, least = i, n
		}
	}
	var query strings.Builder
	query.WriteString("SELECT a.block FROM ledger_terms a WHERE a.term = ? AND a.block >= ? AND a.block < ?")
	args := []any{terms[rarest], number(from), number(to)}
	for i, term := range terms {
		if i != rarest {
			query.WriteString(" AND EXISTS (SELECT 1 FROM ledger_terms b WHERE b.term = ? AND b.block = a.block)")
			args = append(args, term)
		}
	}
	query.WriteString(" ORDER BY a.block")
	if falling {
		query.WriteString(" DESC")
	}
	query.WriteString(" LIMIT ?")
	var blocks []uint64
	if err := g.Raw(query.String(), append(args, limit)...).Scan(&blocks).Error; err != nil {
		return nil, unavailable("searching", err)
	}
	return blocks, nil
}
