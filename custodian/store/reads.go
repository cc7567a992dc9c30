package store

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"golang.org/x/mod/sumdb/tlog"

	"conclave/custodian/ledger"
)

// EntryAt returns one committed entry, its stored bytes and what they say, proven to be in the signed tree.
// ErrNotFound beyond the end; [ErrEdited] when the stored bytes are not what was recorded; [*ledger.DeletedError].
func (s *Store) EntryAt(ctx context.Context, seq uint64) ([]byte, *ledger.Entry, error) {
	snap := s.snap.Load()
	if seq >= snap.view.head.Size {
		return nil, nil, fmt.Errorf("ledger entry %d: %w", seq, ErrNotFound)
	}
	r := reader{s.db.read}
	var raw []byte
	err := s.walk(ctx, seq, seq+1, func(_ uint64, b []byte) error {
		raw = b
		return nil
	})
	if err != nil {
		return nil, nil, fmt.Errorf("reading ledger entry %d: %w", seq, err)
	}
	check := newLeafCheck(ctx, snap.tree, r)
	if err := check.add(seq, raw); err != nil {
		return nil, nil, fmt.Errorf("reading ledger entry %d: %w", seq, err)
	}
	if err := check.flush(); err != nil {
		return nil, nil, fmt.Errorf("reading ledger entry %d: %w", seq, err)
	}
	e, err := decodeAt(seq, raw)
	if err != nil {
		return nil, nil, fmt.Errorf("reading ledger entry %d: %w", seq, err)
	}
	return raw, e, nil
}

// ReadEntries walks the stored bytes of the entries from ≤ seq < to, which must be committed, from the database or from
// where they were archived; a gap is [ErrEdited], entries that were deleted are a [*ledger.DeletedError]. The bytes are as
// they are stored, unproven; they are valid during fn only.
func (s *Store) ReadEntries(ctx context.Context, from, to uint64, fn func(seq uint64, raw []byte) error) error {
	if size := s.View().head.Size; from > to || to > size {
		return fmt.Errorf("reading ledger entries %d to %d: allowed are from ≤ to ≤ %d", from, to, size)
	}
	if from == to {
		return nil
	}
	if err := s.walk(ctx, from, to, fn); err != nil {
		return fmt.Errorf("reading ledger entries: %w", err)
	}
	return nil
}

// Entries walks the entries from ≤ seq < to, decoded, each proven to be in the signed tree. Of entries that were deleted it
// says so ([*ledger.DeletedError]) once it has given those before them.
func (s *Store) Entries(ctx context.Context, from, to uint64, fn func(e *ledger.Entry, raw []byte) error) error {
	b := s.provenBlock(ctx, fn)
	err := s.ReadEntries(ctx, from, to, b.add)
	var gone *ledger.DeletedError
	if err != nil && !errors.As(err, &gone) {
		return err
	}
	return cmp.Or(b.flush(), err)
}

// ControlEntries walks the control-plane entries with Seq ≥ from up to the present head, decoded, each proven
// to be in the signed tree.
func (s *Store) ControlEntries(ctx context.Context, from uint64, fn func(e *ledger.Entry, raw []byte) error) error {
	return s.ControlEntriesIn(ctx, from, ledger.MaxInteger, fn)
}

// ControlEntriesIn walks the control-plane entries from ≤ seq < to that are committed, as [Store.ControlEntries] does.
func (s *Store) ControlEntriesIn(ctx context.Context, from, to uint64, fn func(e *ledger.Entry, raw []byte) error) error {
	b := s.provenBlock(ctx, fn)
	to = min(to, b.size)
	err := reader{s.db.read}.batches(ctx, from, to, true, func(batch *storedBatch) error {
		return batch.entries(func(seq uint64, raw []byte) error {
			if seq < from || seq >= to {
				return nil
			}
			return b.add(seq, raw)
		})
	})
	if err != nil {
		return fmt.Errorf("reading control entries: %w", err)
	}
	return b.flush()
}

// provenBlock holds entries back until they are proven, some hundred at a time.
type provenBlock struct {
	check *leafCheck
	size  uint64
	fn    func(e *ledger.Entry, raw []byte) error
	seqs  []uint64
	raws  [][]byte
}

func (s *Store) provenBlock(ctx context.Context, fn func(e *ledger.Entry, raw []byte) error) *provenBlock {
	snap := s.snap.Load()
	return &provenBlock{check: newLeafCheck(ctx, snap.tree, reader{s.db.read}), size: snap.view.head.Size, fn: fn}
}

func (b *provenBlock) add(seq uint64, raw []byte) error {
	b.seqs, b.raws = append(b.seqs, seq), append(b.raws, raw)
	if err := b.check.add(seq, raw); err != nil {
		return err
	}
	if len(b.check.indexes) > 0 {
		return nil
	}
	return b.deliver()
}

func (b *provenBlock) flush() error {
	if err := b.check.flush(); err != nil {
		return err
	}
	return b.deliver()
}

func (b *provenBlock) deliver() error {
	for i, raw := range b.raws {
		e, err := decodeAt(b.seqs[i], raw)
		if err != nil {
			return err
		}
		if err := b.fn(e, raw); err != nil {
			return err
		}
	}
	b.seqs, b.raws = b.seqs[:0], b.raws[:0]
	return nil
}

// ReadTile implements [ledger.TileSource]: full tiles only, unproven.
func (s *Store) ReadTile(ctx context.Context, level int, index int64) ([]byte, error) {
	return reader{s.db.read}.ReadTile(ctx, level, index)
}

// Tree is the newest committed tree, for readers that prove more than one thing about it.
func (s *Store) Tree() *ledger.Tree { return s.snap.Load().tree.Clone() }

// Inclusion proves that the entry at seq is in the log of a size (RFC 6962 section 2.1.1).
func (s *Store) Inclusion(ctx context.Context, seq, size uint64) (tlog.RecordProof, error) {
	return ledger.ProveInclusion(ctx, s.snap.Load().tree, s, seq, size)
}

// Consistency proves that the log of size newSize begins with the log of size oldSize (RFC 6962 section 2.1.2).
func (s *Store) Consistency(ctx context.Context, oldSize, newSize uint64) (tlog.TreeProof, error) {
	return ledger.ProveConsistency(ctx, s.snap.Load().tree, s, oldSize, newSize)
}

// CheckpointAt returns the oldest kept checkpoint of at least the given size, [ErrNotFound] when only the
// newest one is that large: see [Store.Checkpoint]. Its signature is for the caller to check.
func (s *Store) CheckpointAt(ctx context.Context, size uint64) ([]byte, error) {
	return s.keptCheckpoint(ctx, "size >= ?", "size", size)
}

// CheckpointBefore returns the newest kept checkpoint of at most the given size, [ErrNotFound] when none is kept.
// Its signature is for the caller to check.
func (s *Store) CheckpointBefore(ctx context.Context, size uint64) ([]byte, error) {
	return s.keptCheckpoint(ctx, "size <= ?", "size DESC", size)
}

func (s *Store) keptCheckpoint(ctx context.Context, where, order string, size uint64) ([]byte, error) {
	var notes [][]byte
	err := s.db.session(ctx, s.db.read).Table("ledger_checkpoints").Where(where, number(size)).Order(order).Limit(1).Pluck("note", &notes).Error
	if err != nil {
		return nil, unavailable("reading checkpoints", err)
	}
	if len(notes) == 0 {
		return nil, fmt.Errorf("kept checkpoint of size %d: %w", size, ErrNotFound)
	}
	return notes[0], nil
}
