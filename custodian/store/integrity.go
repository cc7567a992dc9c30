package store

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"time"

	"conclave/custodian/ledger"
)

// Integrity sweeps the database while it is in use: all authority rows, the head and the control plane are held
// against what this process knows to be signed. A row that contradicts the ledger is quarantined in the View
// and Alert is called; one that has been put right is released. An edited head or control plane stops all
// writing, see [Store.Health]. The list is everything that is wrong now.
func (s *Store) Integrity(ctx context.Context) ([]Violation, error) {
	found, err := s.sweepControl(ctx)
	if err != nil {
		return nil, fmt.Errorf("sweeping control plane: %w", err)
	}
	suspects, err := s.sweepRows(ctx)
	if err != nil {
		return nil, fmt.Errorf("sweeping authority rows: %w", err)
	}
	var rows []Violation
	err = s.between(ctx, func(work context.Context) error {
		confirmed, err := s.confirm(work, suspects)
		rows = confirmed
		return err
	})
	switch {
	case errors.Is(err, ErrEdited) || errors.Is(err, ErrRollback) || errors.Is(err, ErrFork):
		found = append(found, s.violation("head", err))
	case err != nil:
		return nil, fmt.Errorf("confirming violations: %w", err)
	}
	found = append(found, rows...)
	sortViolations(found)
	return found, nil
}

func (s *Store) violation(object string, err error) Violation {
	return Violation{Object: object, Problem: ProblemEdited, Detail: err.Error(), FoundAt: s.cfg.Clock.Now()}
}

// sweepControl reads the control plane up to the present snapshot, which nothing may change any more.
func (s *Store) sweepControl(ctx context.Context) ([]Violation, error) {
	snap := s.snap.Load()
	err := newProjection().follow(ctx, reader{s.db.read}, snap.tree, snap.view.head)
	if errors.Is(err, ErrEdited) {
		s.haltOn(err)
		return []Violation{s.violation("control-batch", err)}, nil
	}
	return nil, err
}

// sweepRows lists the rows that differ from the View. Rows changed meanwhile are among them: see confirm.
func (s *Store) sweepRows(ctx context.Context) (map[rowKey]bool, error) {
	tx, err := s.db.snapshotTx(ctx)
	if err != nil {
		return nil, err
	}
	defer tx.Rollback()
	view, now := s.View(), s.cfg.Clock.Now()
	suspects := map[rowKey]bool{}
	for k := range view.tampered {
		suspects[k] = true
	}
	seen := map[rowKey]bool{}
	err = s.db.eachRow(ctx, tx, func(m *rowModel) error {
		k := rowKey{Kind(m.Kind), m.ID}
		seen[k] = true
		if violation := checkBound(m, view.bound(k), now); violation != nil {
			suspects[k] = true
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	for kind, t := range view.rows {
		for _, r := range t.ordered() {
			if k := (rowKey{kind, r.ID}); !seen[k] {
				suspects[k] = true
			}
		}
		t.eachArchived(func(id string, _ stub) bool {
			if k := (rowKey{kind, id}); !seen[k] {
				suspects[k] = true
			}
			return true
		})
	}
	return suspects, nil
}

// confirm compares suspects again where no commit runs beside it, and the head row with the snapshot.
func (s *Store) confirm(ctx context.Context, suspects map[rowKey]bool) ([]Violation, error) {
	tx, err := s.db.snapshotTx(ctx)
	if err != nil {
		return nil, err
	}
	defer tx.Rollback()
	if err := s.confirmHead(ctx, tx); err != nil {
		s.haltOn(err)
		return nil, err
	}
	g := s.db.session(ctx, tx)
	snap, now := s.snap.Load(), s.cfg.Clock.Now()
	for k := range snap.view.tampered { // catching up may have found more
		suspects[k] = true
	}
	tampered, released := map[rowKey]Violation{}, []*Row(nil)
	for k := range suspects {
		m, err := readRow(g, k)
		if err != nil {
			return nil, err
		}
		row, violation := s.compare(k, m, snap.view.bound(k), now)
		if violation != nil {
			tampered[k] = *violation
		} else if _, was := snap.view.tampered[k]; was {
			released = append(released, row)
		}
	}
	s.quarantine(snap, tampered, released)
	list := make([]Violation, 0, len(tampered))
	for _, v := range tampered {
		list = append(list, v)
	}
	return list, nil
}

// confirmHead: the stored head must be the one in memory, or on a shared database a signed successor of it.
func (s *Store) confirmHead(ctx context.Context, tx *sql.Tx) error {
	stored, err := reader{tx}.head(ctx)
	if errors.Is(err, ErrNotInitialised) {
		return fmt.Errorf("%w: head row is gone", ErrEdited)
	}
	if err != nil {
		return err
	}
	if snap := s.snap.Load(); bytes.Equal(stored.note, snap.note) {
		err = stored.matches(snap.view.head)
	} else {
		err = s.catchUp(ctx, tx, stored)
	}
	if err != nil {
		return err
	}
	return reader{tx}.nothingBeyond(ctx, stored.size)
}

// quarantine publishes the View with exactly these violations, and alerts of the new ones.
func (s *Store) quarantine(snap *snapshot, tampered map[rowKey]Violation, released []*Row) {
	old := snap.view.tampered
	if maps.EqualFunc(old, tampered, func(a, b Violation) bool { return a.Problem == b.Problem && a.Detail == b.Detail }) {
		return
	}
	fresh := map[rowKey]Violation{}
	for k, v := range tampered {
		if _, known := old[k]; !known {
			fresh[k] = v
		}
	}
	view := snap.view.settled(released...).quarantined(tampered)
	s.snap.Store(&snapshot{view: view, tree: snap.tree, note: snap.note, keys: snap.keys})
	s.alertAll(fresh)
}

var errUnswept = errors.New("the database could not be held against the ledger")

// sweepTimeout bounds one sweep: a database that has stopped answering must not end all later ones (ours).
const sweepTimeout = 10 * time.Minute

// Guard runs Integrity every interval until ctx ends. A sweep that could not be made is logged, and the node does
// not count as healthy until one has been: whoever can stop the sweep could edit unseen.
func (s *Store) Guard(ctx context.Context, interval time.Duration) {
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.stop:
			return
		case <-ticker.C:
			if err := s.sweepOnce(ctx); err != nil && ctx.Err() == nil && !s.stopping() {
				s.cfg.Logger.Error("integrity sweep failed", "error", err)
			}
		}
	}
}

func (s *Store) sweepOnce(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, sweepTimeout)
	defer cancel()
	_, err := s.Integrity(ctx)
	s.unswept.Store(err != nil)
	return err
}

var (
	_ ledger.TileSource  = (*Store)(nil)
	_ ledger.EntrySource = (*Store)(nil)
)
