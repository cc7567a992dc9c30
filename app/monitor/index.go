package monitor

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"sync"
	"time"

	"conclave/custodian"
	"conclave/custodian/identity"
	"conclave/custodian/ledger"
	"conclave/custodian/oversight"
	"conclave/custodian/search"
	"conclave/custodian/store"
)

const (
	indexLease  = "monitor/index"
	indexFor    = 5 * time.Minute
	indexDone   = "search/rebuilt" // among the export cursors: up to which entry orders to make the index anew are carried out
	blocksARun  = 32
	indexReason = "search_index"
)

// Index keeps the index of the ledger for searches honest: block after block, from a random one on and round again, it is
// held against the ledger, and made anew where it lacks something or somebody asks for that. One replica does so at a time.
type Index struct {
	store *store.Store
	node  string
	mark  func() string
	log   *slog.Logger

	turn  sync.Mutex // of one run
	begun bool
	next  uint64 // block; both the run's own
}

// NewIndex watches over the index.
func NewIndex(st *store.Store, node string, mark func() string, log *slog.Logger) *Index {
	return &Index{store: st, node: node, mark: mark, log: log}
}

// Release lets another replica do so at once.
func (x *Index) Release(ctx context.Context) error { return x.store.Release(ctx, indexLease, x.node) }

// Run carries out what was asked for and checks some blocks.
func (x *Index) Run(ctx context.Context) error {
	x.turn.Lock()
	defer x.turn.Unlock()
	ours, err := x.store.Lease(ctx, indexLease, x.node, indexFor)
	if err != nil || !ours {
		return err
	}
	if err := x.carryOut(ctx); err != nil {
		return fmt.Errorf("making the index anew: %w", err)
	}
	indexed, err := x.store.TermsCursor(ctx)
	if err != nil {
		return err
	}
	blocks := min(indexed, x.store.View().Head().Size) / store.TermBlock
	if blocks == 0 {
		return nil
	}
	if !x.begun {
		first, err := rand.Int(rand.Reader, new(big.Int).SetUint64(blocks))
		if err != nil {
			return err
		}
		x.begun, x.next = true, first.Uint64()
	}
	for range min(blocks, blocksARun) {
		if x.next >= blocks {
			x.next = 0
		}
		pace := x.store.Pace()
		whole, err := search.CheckBlock(ctx, x.store, x.next)
		if err != nil {
			return err
		}
		if !whole {
			return x.accuse(ctx, x.next)
		}
		x.next++
		pace.Rest(ctx, store.TermBlock)
	}
	return ctx.Err()
}

// carryOut has the index made anew where that was asked for since the last time.
func (x *Index) carryOut(ctx context.Context) error {
	_, row, err := store.Get[oversight.SearchIndex](x.store.View(), custodian.KindSearchIndex, oversight.SearchIndexRow)
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	done, err := x.store.ExportCursor(ctx, indexDone)
	if err != nil || done == row.Seq+1 {
		return err
	}
	if err := x.store.ResetTerms(ctx); err != nil {
		return err
	}
	x.log.Info("the index of the ledger is made anew", "asked_by_entry", row.Seq)
	_, err = x.store.MoveExport(ctx, indexDone, done, row.Seq+1)
	return err
}

// accuse records that the index lacks what a block holds, which only somebody who wrote to the database past the service
// brings about, and has it made anew.
func (x *Index) accuse(ctx context.Context, block uint64) error {
	from, to := block*store.TermBlock, (block+1)*store.TermBlock-1
	x.log.Error("the index for searches lacks entries of the ledger: somebody edited it", "from", from, "to", to)
	_, err := x.store.Control(ctx, func(tx *store.Tx) error {
		row, err := watched(tx.View())
		if err != nil {
			return err
		}
		now := tx.Now().UTC().Truncate(time.Microsecond)
		next := row.Clone()
		next.Add(oversight.OpenAlert{Rule: indexReason, Title: "The index for searches was edited", Subject: fmt.Sprintf("entries %d to %d were not all found", from, to),
			Count: 1, From: now, At: now, FirstSeq: from, LastSeq: to})
		why := fmt.Sprintf("it lacks entries of %d to %d", from, to)
		if err := errors.Join(tx.Put(custodian.KindWatched, oversight.WatchedRow, next),
			tx.Put(custodian.KindSearchIndex, oversight.SearchIndexRow, oversight.SearchIndex{By: x.node, Why: why, At: now})); err != nil {
			return err
		}
		return tx.Append(ledger.Entry{Type: "integrity.violation", Actor: identity.Principal{Kind: identity.Node, ID: x.node}, Target: ledger.Target{Type: "search_index", ID: oversight.SearchIndexRow},
			Outcome: ledger.Failed, Reason: indexReason, Policy: x.mark(), Detail: custodian.Detail(map[string]any{"from": from, "to": to, "problem": why})})
	})
	if err != nil {
		return fmt.Errorf("recording that the index was edited: %w", err)
	}
	return x.carryOut(ctx)
}
