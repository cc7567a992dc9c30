// Package reports makes evidence: it reads the authority rows at one checkpoint and the ledger's entries of a
// period, has every control of a framework judged, and gives the result as one value that renders the same
// wherever it is rendered. Reports read; they never write.
package reports

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"conclave/custodian/ledger"
	"conclave/reports/control"
)

// Source is what reports read from: the authority rows at one checkpoint, and the ledger up to it. It does
// not change while it is read. [FromStore] is the one over a running store.
type Source interface {
	// Checkpoint is the state that everything else belongs to.
	Checkpoint() Checkpoint
	// Rows walks the authority rows of a kind in order of id, with their canonical bodies.
	Rows(kind string) iter.Seq2[control.Ref, []byte]
	// Err is the first failure that cut a walk over Rows short. Whoever tells what Rows gave asks for it last.
	Err() error
	// Damaged lists rows that contradict the ledger and are left out of Rows.
	Damaged() []control.Ref
	// Entry returns one entry and its exact bytes.
	Entry(ctx context.Context, seq uint64) (*ledger.Entry, []byte, error)
	// Entries walks the entries from ≤ seq < to. The bytes are valid during fn only.
	Entries(ctx context.Context, from, to uint64, fn func(e *ledger.Entry, raw []byte) error) error
	// ControlEntries walks the control-plane entries with a sequence number below to.
	ControlEntries(ctx context.Context, to uint64, fn func(e *ledger.Entry, raw []byte) error) error
	// Inclusion proves that an entry is in the log of the checkpoint (RFC 6962 section 2.1.1).
	Inclusion(ctx context.Context, seq uint64) ([][32]byte, error)
	// Consistency proves that the log of size newSize, at most the checkpoint's, begins with that of size oldSize
	// (RFC 6962 section 2.1.2).
	Consistency(ctx context.Context, oldSize, newSize uint64) ([][32]byte, error)
	// Hashes reads hashes of the checkpoint's tree, authenticated by its root.
	Hashes(ctx context.Context) tlog.HashReader
	// Kept returns the newest checkpoint kept of at most a size and the oldest of at least one, as signed notes; nil
	// where none is kept.
	Kept(ctx context.Context, atMost, atLeast uint64) (before, after []byte, err error)
	// Witnessed returns what each witness cosigned last, up to the checkpoint, as signed notes.
	Witnessed(ctx context.Context) ([][]byte, error)
	// Stamped returns the checkpoint that was time-stamped last, up to this one, with its RFC 3161 token; nil: none was.
	Stamped(ctx context.Context) (note, token []byte, err error)
}

// Checkpoint is the signed state of the ledger that a report belongs to.
type Checkpoint struct {
	Size uint64    `json:"size"` // entries
	Root string    `json:"root"` // base64 of the RFC 6962 root hash
	At   time.Time `json:"at"`   // time of the last entry
	Note string    `json:"note"` // the checkpoint itself, a C2SP signed note
	// LogKeys are the note verifier keys that the source says sign checkpoints. Whoever trusts nobody takes
	// them from a trust file instead.
	LogKeys []string `json:"log_keys"`
	// Handovers show who succeeded the first of them, oldest first: see [ledger.KeyChain].
	Handovers []string `json:"handovers,omitempty"`
}

// Range finds the entries of a period: first ≤ seq < end. Where a bound of it is among entries that were deleted, the error is
// a [*ledger.DeletedError].
func Range(ctx context.Context, src Source, from, to time.Time) (first, end uint64, err error) {
	if first, err = firstAt(ctx, src, from); err != nil {
		return 0, 0, fmt.Errorf("finding the period's first entry: %w", err)
	}
	if end, err = firstAt(ctx, src, to); err != nil {
		return 0, 0, fmt.Errorf("finding the period's last entry: %w", err)
	}
	if err := sharp(ctx, src, first, from); err != nil {
		return 0, 0, fmt.Errorf("finding the period's first entry: %w", err)
	}
	if err := sharp(ctx, src, end, to); err != nil {
		return 0, 0, fmt.Errorf("finding the period's last entry: %w", err)
	}
	return first, end, nil
}

// sharp shows that deleted entries beside a bound are on its sides of an instant: where it was among them, what was found is
// only the bound that the entries show which are left there.
func sharp(ctx context.Context, src Source, bound uint64, at time.Time) error {
	for _, seq := range []uint64{bound, bound - 1} {
		if seq >= src.Checkpoint().Size { // beyond the end, or before the beginning
			continue
		}
		_, _, err := src.Entry(ctx, seq)
		var gone *ledger.DeletedError
		if errors.As(err, &gone) && gone.Outside(at, at) {
			continue
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// firstAt finds the first entry that is not before an instant.
func firstAt(ctx context.Context, src Source, at time.Time) (uint64, error) {
	return ledger.FirstAt(ctx, ledger.Timed{
		Entry: func(ctx context.Context, seq uint64) (*ledger.Entry, error) {
			e, _, err := src.Entry(ctx, seq)
			return e, err
		},
		Control: func(ctx context.Context, from, to uint64, fn func(*ledger.Entry) error) error {
			return src.ControlEntries(ctx, to, func(e *ledger.Entry, _ []byte) error {
				if e.Seq < from {
					return nil
				}
				return fn(e)
			})
		},
	}, at, src.Checkpoint().Size)
}
