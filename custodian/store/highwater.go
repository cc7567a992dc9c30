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
	kick chan bool // true: at once
	stop chan struct{}
	done chan struct{}
	err  error // why the mark could not be written at the end
}

func newHighWater(s *Store) *highWater {
	return &highWater{s: s, kick: make(chan bool, 1), stop: make(chan struct{}), done: make(chan struct{})}
}

// off: no file is configured.
func (h *highWater) off() bool { return h.s.cfg.HighWaterPath == "" }

// mark is the file, read with these keys.
func (h *highWater) mark(keys *ledger.KeyChain) *ledger.HighWater {
	return ledger.NewHighWater(h.s.cfg.HighWaterPath, keys.Origin(), keys.Verifiers()...)
}

// older says what a database is whose head a key signed that this process does not have any more, or never had: an older
// one, where the mark tells so.
func (h *highWater) older(own *ledger.KeyChain, stored *storedHead, err error) error {
	if h.off() {
		return err
	}
	if seen, any, markErr := h.mark(own).Highest(); markErr == nil && any && seen.Size > stored.size {
		return fmt.Errorf("the database has %d entries, signed by another log key than this node's, and %d were seen: an older copy was put in place: %w", stored.size, seen.Size, ErrRollback)
	}
	return err
}

// advance holds a checkpoint against the mark and moves it.
func (h *highWater) advance(ctx context.Context, keys *ledger.KeyChain, note []byte, prove ledger.Prove) error {
	if h.off() {
		return nil
	}
	_, err := h.mark(keys).Advance(ctx, note, prove)
	if errors.Is(err, ErrRollback) {
		return fmt.Errorf("comparing with the highest checkpoint seen: %s: %w", h.tail(keys, note), err)
	}
	if err != nil {
		return fmt.Errorf("comparing with the highest checkpoint seen: %w", err)
	}
	return nil
}

// tail says what a database that ends too early is: its own ledger is whole and signed up to its end, as replay found;
// entries after it are missing.
func (h *highWater) tail(keys *ledger.KeyChain, note []byte) string {
	seen, _, err := h.mark(keys).Highest()
	head, openErr := keys.Open(note)
	if err != nil || openErr != nil || seen.Size <= head.Size {
		return "the database is older than what was seen"
	}
	return fmt.Sprintf("the tail of the ledger is missing, the last %d of %d entries; what is there is whole and signed. Either storage lost what it had acknowledged, or an older copy was put in place", seen.Size-head.Size, seen.Size)
}

// seen reports whether there is a mark of an earlier run.
func (h *highWater) seen(keys *ledger.KeyChain) (bool, error) {
	if h.off() {
		return false, nil
	}
	_, seen, err := h.mark(keys).Highest()
	if err != nil {
		return false, fmt.Errorf("reading the highest checkpoint seen: %w", err)
	}
	return seen, nil
}

// missing says what a database without a head is: new, or one whose ledger was taken out of it.
func (h *highWater) missing(err error) error {
	if h.off() {
		return err
	}
	own, markErr := ledger.NewKeyChain(h.s.cfg.LogKey.Origin, h.s.cfg.LogKey.VerifierKey)
	if markErr != nil {
		return markErr
	}
	head, seen, markErr := h.mark(own).Highest()
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
	if h.off() {
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
	if h.off() {
		return nil
	}
	snap := h.s.snap.Load()
	return h.advance(context.Background(), snap.keys.chain, snap.note, prover(snap.tree, reader{h.s.db.read}))
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
