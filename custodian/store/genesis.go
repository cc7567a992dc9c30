package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	"conclave/custodian/ledger"
)

// firstEpoch is the authority epoch before genesis; genesis itself bumps it when it makes authority rows.
const firstEpoch = 1

// genesis writes the first commit.
func (s *Store) genesis(ctx context.Context, fn func(*Tx) error) error {
	_, err := reader{s.db.read}.head(ctx)
	if err == nil {
		return ErrInitialised
	}
	if !errors.Is(err, ErrNotInitialised) {
		return err
	}
	keys, err := ledger.NewKeyChain(s.cfg.LogKey.Origin, s.cfg.LogKey.VerifierKey)
	if err != nil {
		return err
	}
	d := &s.com.draft
	d.reset(s, &snapshot{
		keys: logKeys{chain: keys},
		view: &View{head: ledger.Head{Epoch: firstEpoch}, at: time.Time{}},
		tree: ledger.NewTree(),
	})
	if _, err := d.runControl(fn); err != nil {
		return err
	}
	if err := d.seal(); err != nil {
		return err
	}
	tx, err := s.db.write.BeginTx(ctx, nil)
	if err != nil {
		return unavailable("beginning the first commit", err)
	}
	w := &writeTx{db: s.db, tx: tx}
	if err := d.persist(ctx, w, true, true); err != nil {
		w.rollback()
		return unavailable("writing", err)
	}
	if err := tx.Commit(); err != nil {
		return unavailable("committing", err)
	}
	snap := d.snapshot()
	s.snap.Store(snap)
	if err := s.high.advance(ctx, snap.keys.chain, snap.note, prover(snap.tree, reader{s.db.read})); err != nil {
		return fmt.Errorf("ledger is written, its first checkpoint is not remembered: %w", err)
	}
	return nil
}
