package ledger

import (
	"errors"
	"fmt"
)

// What verification and the high-water mark find wrong with a log. [VerifyError] says where.
var (
	// ErrTruncated: entries are missing, at the end or cut out of the middle.
	ErrTruncated = errors.New("ledger truncated: entries are missing")
	// ErrEdited: an entry is not the one that was recorded.
	ErrEdited = errors.New("ledger edited: an entry is not the one recorded")
	// ErrReordered: genuine entries stand in another order.
	ErrReordered = errors.New("ledger reordered: entries are not in the order recorded")
	// ErrInserted: there is an entry that was not recorded there.
	ErrInserted = errors.New("ledger has an inserted entry")
	// ErrFork: signed by the log key, yet not a continuation of a checkpoint known before.
	ErrFork = errors.New("ledger forked: it does not continue a known checkpoint")
	// ErrRollback: an older state of the log than one known before.
	ErrRollback = errors.New("ledger rolled back: older than a known checkpoint")
	// ErrTiles: the entries are what was signed, but the hash tiles beside them are not theirs, or the
	// entries are not divided into bundles as they should be.
	ErrTiles = errors.New("tiles do not fit the entries")
	// ErrRules: signed as it is, yet it breaks the log's own rules (sequence, time, epoch, control chain).
	ErrRules = errors.New("ledger breaks its own rules")
)

// VerifyError is what verification found. It wraps one of the errors above, or [ErrSignature],
// [ErrCheckpoint] or [ErrForeign].
type VerifyError struct {
	Kind    error
	Seq     uint64 // first wrong entry, where Located
	Located bool
	Detail  string
}

// Error implements error.
func (e *VerifyError) Error() string {
	s := e.Kind.Error()
	if e.Located {
		s += fmt.Sprintf(", first at entry %d", e.Seq)
	}
	return s + ": " + e.Detail
}

// Unwrap returns the kind.
func (e *VerifyError) Unwrap() error { return e.Kind }

func at(kind error, seq uint64, format string, args ...any) *VerifyError {
	return &VerifyError{Kind: kind, Seq: seq, Located: true, Detail: fmt.Sprintf(format, args...)}
}

func somewhere(kind error, format string, args ...any) *VerifyError {
	return &VerifyError{Kind: kind, Detail: fmt.Sprintf(format, args...)}
}
