package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	"conclave/custodian/ledger"
)

// markPause is the least time between two marks (ours): each syncs the file system, which commits wait for too.
const markPause = 100 * time.Millisecond

// highWater persists the newest checkpoint beside the hot path: after control commits at once, or a moment later where there
// are many, otherwise at most each second. A crash in between leaves an older mark, which protects a little less and hinders nothing.
type highWater struct {
	s    *Store
	mark *ledger.HighWater // nil: no file configured
	kick chan bool         // true: at once
	stop chan struct{}
	done chan struct{}
	err  error // why the mark could not be written at the end
}

func newHighWater(s *Store) *highWater {
	h := &highWater{s: s, kick: make(chan bool, 1), stop: make(chan struct{}), done: make(chan struct{})}
	if s.cfg.HighWaterPath != "" {
		h.mark = ledger.NewHighWater(s.cfg.HighWaterPath, s.cfg.LogKey.Origin, s.cfg.LogKey.Verifier)
	}
	return h
}

// advance holds a checkpoint against the mark and moves it.
func (h *highWater) advance(ctx context.Context, note []byte, prove ledger.Prove) error {
	if h.mark == nil {
		return nil
	}
	_, err := h.mark.Advance(ctx, note, prove)
	if errors.Is(err, ErrRollback) {
		return fmt.Errorf("comparing with the highest checkpoint seen: %s: %w", h.tail(note), err)
	}
	if err != nil {
		return fmt.Errorf("comparing with the highest checkpoint seen: %w", err)
	}
	return nil
}

// tail says what a database that ends too early is: its own ledger is whole and signed up to its end, as replay found;
// entries after it are missing.
func (h *highWater) tail(note []byte) string {
	seen, _, err := h.mark.Highest()
	head, openErr := ledger.OpenHead(note, h.s.cfg.LogKey.Origin, h.s.cfg.LogKey.Verifier)
	if err != nil || openErr != nil || seen.Size <= head.Size {
		return "the database is older than what was seen"
	}
	return fmt.Sprintf("the tail of the ledger is missing, the last %d of %d entries; what is there is whole and signed. Either storage lost what it had acknowledged, or an older copy was put in place", seen.Size-head.Size, seen.Size)
}

// seen reports whether there is a mark of an earlier run.
func (h *highWater) seen() (bool, error) {
	if h.mark == nil {
		return false, nil
	}
	_, seen, err := h.mark.Highest()
	if err != nil {
		return false, fmt.Errorf("reading the highest checkpoint seen: %w", err)
	}
	return seen, nil
}

// missing says what a database without a head is: new, or one whose ledger was taken out of it.
func (h *highWater) missing(err error) error {
	if h.mark == nil {
		return err
	}
	head, seen, markErr := h.mark.Highest()
	if markErr != nil {
		return fmt.Errorf("reading the highest checkpoint seen: %w", markErr)
	}
	if seen {
		return fmt.Errorf("%w: head row is gone, the highest checkpoint seen has %d entries", ErrEdited, head.Size)
	}
	return err
}

// offer says that there is a newer checkpoint.
func (h *highWater) offer(now bool) {
	if h.mark == nil {
		return
	}
	select {
	case h.kick <- now:
	default:
	}
}

func (h *highWater) run() {
	defer close(h.done)
	pause, moment := time.NewTimer(0), time.NewTimer(0)
	defer pause.Stop()
	defer moment.Stop()
	for {
		select {
		case <-h.stop:
			h.err = h.save()
			return
		case now := <-h.kick:
			wait := pause
			if now {
				wait = moment
			}
			select {
			case <-wait.C:
			case <-h.stop:
				h.err = h.save()
				return
			}
		}
		if err := h.save(); err != nil {
			h.s.cfg.Logger.Error("high-water mark not saved", "error", err)
			h.s.haltOn(err)
		}
		pause.Reset(checkpointEvery)
		moment.Reset(markPause)
	}
}

func (h *highWater) save() error {
	if h.mark == nil {
		return nil
	}
	snap := h.s.snap.Load()
	return h.advance(context.Background(), snap.note, prover(snap.tree, reader{h.s.db.read}))
}

// close saves the last checkpoint. A database that can no longer be read leaves the mark where it was.
func (h *highWater) close() error {
	close(h.stop)
	<-h.done
	if errors.Is(h.err, ErrUnavailable) {
		return nil
	}
	return h.err
}
