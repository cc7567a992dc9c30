package search

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"conclave/custodian/ledger"
	"conclave/custodian/store"
)

// termsAtOnce are asked of the index by one statement.
const termsAtOnce = 16

// CheckBlock reads a block of the ledger, proven to be in the signed tree, and says whether the index has all by which its
// entries are found: false where somebody took something out, so that a search passes the block over. What was put into
// the index costs a search a look at entries that do not match, and hides nothing; it is not looked for. A block that is
// not indexed, or not any more, is well.
func CheckBlock(ctx context.Context, s *store.Store, block uint64) (bool, error) {
	from, to := block*store.TermBlock, (block+1)*store.TermBlock
	var terms []int64
	indexed, err := s.TermsCursor(ctx)
	if err != nil || indexed < to || to > s.View().Head().Size {
		return true, err
	}
	err = s.Entries(ctx, from, to, func(e *ledger.Entry, _ []byte) error {
		eachTerm(e, func(field string, values ...string) { terms = append(terms, term(field, values...)) })
		return nil
	})
	var gone *ledger.DeletedError
	if errors.As(err, &gone) { // nothing there that could be hidden
		return true, nil
	}
	if err != nil {
		return false, fmt.Errorf("checking the index: %w", err)
	}
	slices.Sort(terms)
	for some := range slices.Chunk(slices.Compact(terms), termsAtOnce) {
		found, err := s.TermBlocks(ctx, some, block, block+1, false, 1)
		if err != nil {
			return false, fmt.Errorf("checking the index: %w", err)
		}
		if len(found) > 0 {
			continue
		}
		indexed, err := s.TermsCursor(ctx) // it may be made anew at this moment
		return indexed < to, err
	}
	return true, nil
}
