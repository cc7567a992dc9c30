package reports

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"iter"
	"sync/atomic"

	"golang.org/x/mod/sumdb/tlog"

	"conclave/custodian/ledger"
	"conclave/custodian/store"
	"conclave/reports/control"
)

// FromStore is a Source over the newest checkpoint of a store.
func FromStore(ctx context.Context, st *store.Store) (Source, error) {
	view, signed, keys := st.Published()
	head, err := keys.Open(signed)
	if err != nil {
		return nil, fmt.Errorf("opening checkpoint: %w", err)
	}
	_, last, err := st.EntryAt(ctx, head.Size-1)
	if err != nil {
		return nil, fmt.Errorf("reading the checkpoint's last entry: %w", err)
	}
	checkpoint := Checkpoint{Size: head.Size, Root: base64.StdEncoding.EncodeToString(head.Root[:]), At: last.At,
		Note: string(signed), LogKeys: keys.Keys(), Handovers: keys.Handovers()}
	return &storeSource{ctx: ctx, store: st, view: view, checkpoint: checkpoint}, nil
}

type storeSource struct {
	ctx        context.Context // of whoever the source is for
	failed     atomic.Pointer[error]
	store      *store.Store
	view       *store.View
	checkpoint Checkpoint
}

func (s *storeSource) Checkpoint() Checkpoint { return s.checkpoint }

func (s *storeSource) Rows(kind string) iter.Seq2[control.Ref, []byte] {
	return func(yield func(control.Ref, []byte) bool) {
		err := s.view.Walk(s.ctx, store.Kind(kind), "", nil, func(r store.Row) error {
			if r.Seq >= s.checkpoint.Size {
				return fmt.Errorf("%s %q: %w", kind, r.ID, ErrOvertaken)
			}
			ref := control.Ref{Kind: kind, ID: r.ID, Revision: r.Revision, Hash: hex.EncodeToString(r.Hash[:]), Seq: r.Seq}
			if !yield(ref, r.Body) {
				return errEnough
			}
			return nil
		})
		if err != nil && !errors.Is(err, errEnough) {
			err = fmt.Errorf("reading rows: %w", err)
			s.failed.CompareAndSwap(nil, &err)
		}
	}
}

// ErrOvertaken: a row that is read from the database when it is asked for was changed after the checkpoint.
var ErrOvertaken = errors.New("it changed after the checkpoint: make the report again")

func (s *storeSource) Err() error {
	if err := s.failed.Load(); err != nil {
		return *err
	}
	return nil
}

func (s *storeSource) Damaged() []control.Ref {
	var out []control.Ref
	for _, kind := range rowKinds() {
		for _, v := range s.view.Tampered(store.Kind(kind)) {
			out = append(out, control.Ref{Kind: kind, ID: v.ID})
		}
	}
	return out
}

func (s *storeSource) Entry(ctx context.Context, seq uint64) (*ledger.Entry, []byte, error) {
	raw, e, err := s.store.EntryAt(ctx, seq)
	return e, raw, err
}

func (s *storeSource) Entries(ctx context.Context, from, to uint64, fn func(e *ledger.Entry, raw []byte) error) error {
	return s.store.Entries(ctx, from, to, fn)
}

// errEnough ends a walk: over rows, or over control entries, which the store would go on with up to its newest.
var errEnough = errors.New("end of the walk")

func (s *storeSource) ControlEntries(ctx context.Context, to uint64, fn func(e *ledger.Entry, raw []byte) error) error {
	err := s.store.ControlEntries(ctx, 0, func(e *ledger.Entry, raw []byte) error {
		if e.Seq >= to {
			return errEnough
		}
		return fn(e, raw)
	})
	if errors.Is(err, errEnough) {
		return nil
	}
	return err
}

func (s *storeSource) Inclusion(ctx context.Context, seq uint64) ([][32]byte, error) {
	proof, err := s.store.Inclusion(ctx, seq, s.checkpoint.Size)
	return plain(proof), err
}

func (s *storeSource) Consistency(ctx context.Context, oldSize, newSize uint64) ([][32]byte, error) {
	proof, err := s.store.Consistency(ctx, oldSize, newSize)
	return plain(proof), err
}

// plain gives hashes their bare type.
func plain(proof []tlog.Hash) [][32]byte {
	out := make([][32]byte, len(proof))
	for i, h := range proof {
		out[i] = h
	}
	return out
}

func (s *storeSource) Hashes(ctx context.Context) tlog.HashReader {
	return ledger.HashReader(ctx, s.store.Tree(), s.store)
}

func (s *storeSource) Kept(ctx context.Context, atMost, atLeast uint64) (before, after []byte, err error) {
	before, err = s.store.CheckpointBefore(ctx, atMost)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return nil, nil, err
	}
	after, err = s.store.CheckpointAt(ctx, atLeast)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return nil, nil, err
	}
	return before, after, nil
}

func (s *storeSource) Witnessed(ctx context.Context) ([][]byte, error) {
	found, err := s.store.Witnessed(ctx, s.checkpoint.Size)
	out := make([][]byte, len(found))
	for i, c := range found {
		out[i] = c.Note
	}
	return out, err
}

func (s *storeSource) Stamped(ctx context.Context) (note, token []byte, err error) {
	_, note, token, err = s.store.Timestamp(ctx, s.checkpoint.Size)
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil, nil
	}
	return note, token, err
}

// UsageTo implements Rollups.
func (s *storeSource) UsageTo(ctx context.Context) (uint64, error) { return s.store.UsageCursor(ctx) }

// UsageBetween implements Rollups.
func (s *storeSource) UsageBetween(ctx context.Context, from, to int64, fn func(store.UsageRow) error) error {
	return s.store.UsageBetween(ctx, from, to, fn)
}
