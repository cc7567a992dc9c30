package store

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"conclave/custodian/ledger"
)

// ErrLogKeyMissing: the log key in force is not one that this process has, so that it can read and not write.
var ErrLogKeyMissing = errors.New("this process does not have the log key in force")

// replySealLife is how long after a handover what was sealed by the key before it is still good (ours): as long as answers
// are kept, and longer than reports are.
const replySealLife = 24 * time.Hour

// logKeys is what a committed state says of the keys that sign the log.
type logKeys struct {
	chain *ledger.KeyChain
	// turned is when the newest key was put in force; zero for the first.
	turned time.Time
}

// signers are the private keys that this process has: the one in force, and one that may come to be.
type signers struct {
	mu   sync.Mutex
	keys []*ledger.LogKey
}

// maxSigners bounds what one process holds: the key in force, and candidates of rotations that did not come about.
const maxSigners = 4

func (s *signers) offer(k *ledger.LogKey) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if slices.ContainsFunc(s.keys, func(o *ledger.LogKey) bool { return o.VerifierKey == k.VerifierKey }) {
		return
	}
	if s.keys = append(s.keys, k); len(s.keys) > maxSigners {
		s.keys = slices.Delete(s.keys, 1, 2) // the oldest candidate
	}
}

// only forgets every key but one.
func (s *signers) only(verifierKey string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.keys = slices.DeleteFunc(s.keys, func(k *ledger.LogKey) bool { return k.VerifierKey != verifierKey })
}

func (s *signers) get(verifierKey string) (*ledger.LogKey, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, k := range s.keys {
		if k.VerifierKey == verifierKey {
			return k, nil
		}
	}
	return nil, fmt.Errorf("%w: %w (%s)", ErrUnavailable, ErrLogKeyMissing, verifierKey)
}

func (s *signers) list() []*ledger.LogKey {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.keys)
}

// OfferLogKey gives the store a log key that is, or is about to be, in force: see [Tx.HandOver].
func (s *Store) OfferLogKey(k *ledger.LogKey) { s.signers.offer(k) }

// KeepLogKey makes the store forget every log key but the one in force, once that one is safe in its file. It returns it:
// [ErrLogKeyMissing] where this process does not have it.
func (s *Store) KeepLogKey() (*ledger.LogKey, error) {
	inForce := s.LogKeys().Newest()
	k, err := s.signers.get(inForce)
	if err == nil {
		s.signers.only(inForce)
	}
	return k, err
}

// LogKeys are the log's keys by the newest committed state.
func (s *Store) LogKeys() *ledger.KeyChain { return s.snap.Load().keys.chain }

// CanSign is nil where this process has the log key in force, else [ErrLogKeyMissing].
func (s *Store) CanSign() error {
	_, err := s.signers.get(s.LogKeys().Newest())
	return err
}

// sealed says whether an answer was sealed by a log key that was in force then: an old one's seal is good for what was
// sealed before it was replaced, and only while such answers are kept.
func (k logKeys) sealed(message, seal []byte, made, now time.Time) bool {
	by, ok := k.chain.SignedBy(message, seal)
	if !ok || by == k.chain.Newest() {
		return ok
	}
	keys := k.chain.Keys()
	return by == keys[len(keys)-2] && !made.After(k.turned) && now.Sub(k.turned) < replySealLife
}

// handover reads the checkpoint by which a rotation took effect: the first that covers its entry.
func (r reader) handover(ctx context.Context, seq uint64) (string, error) {
	var note []byte
	err := r.q.QueryRowContext(ctx, "SELECT note FROM ledger_checkpoints WHERE size > $1 ORDER BY size LIMIT 1", seq).Scan(&note)
	if err != nil {
		return "", unavailable(fmt.Sprintf("reading the checkpoint that covers entry %d", seq), err)
	}
	return string(note), nil
}

// extend is a chain with what recorded rotations add, oldest first.
func (k logKeys) extend(ctx context.Context, r reader, turns []turn) (logKeys, error) {
	for _, t := range turns {
		note, err := r.handover(ctx, t.Seq)
		if err != nil {
			return k, err
		}
		next, err := k.chain.Follow(append(k.chain.Handovers(), note)...)
		if err != nil {
			return k, fmt.Errorf("%w: the log key was replaced at entry %d: %w", ErrEdited, t.Seq, err)
		}
		if next.Newest() != t.New {
			return k, fmt.Errorf("%w: entry %d puts another log key in force than its checkpoint names", ErrEdited, t.Seq)
		}
		k = logKeys{chain: next, turned: t.at}
	}
	return k, nil
}

// turn is a rotation that the control plane records.
type turn struct {
	ledger.Rotation
	at time.Time
}

// readTurn appends the rotation that an entry records, if it does.
func readTurn(turns []turn, e *ledger.Entry) ([]turn, error) {
	r, is, err := ledger.ReadRotation(e)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrEdited, err)
	}
	if is {
		turns = append(turns, turn{Rotation: *r, at: e.At})
	}
	return turns, nil
}

// lookAhead reads rotations from entries that nothing has proven yet, to find the handovers which lead to the key that
// signed a head. Each handover proves itself by the key before it.
func (r reader) lookAhead(ctx context.Context, from, to uint64) ([]turn, error) {
	var turns []turn
	err := r.batches(ctx, from, to, true, func(b *storedBatch) error {
		return b.entries(func(seq uint64, raw []byte) error {
			if seq < from || seq >= to {
				return nil
			}
			e, err := decodeAt(seq, raw)
			if err == nil {
				turns, err = readTurn(turns, e)
			}
			return err
		})
	})
	return turns, err
}

// openHead opens a stored head with a chain, or where another key signed it, with what handovers after from lead to.
func (r reader) openHead(ctx context.Context, h *storedHead, keys logKeys, from uint64) (ledger.Head, error) {
	head, err := h.open(keys.chain)
	if !errors.Is(err, ledger.ErrSignature) || h.size <= from {
		return head, err
	}
	turns, aheadErr := r.lookAhead(ctx, from, h.size)
	if aheadErr != nil || len(turns) == 0 {
		return head, errors.Join(err, aheadErr)
	}
	if keys, aheadErr = keys.extend(ctx, r, turns); aheadErr != nil {
		return head, errors.Join(err, aheadErr)
	}
	return h.open(keys.chain)
}

// openOwn opens the head at start, where all that is trusted is the keys that this process has.
func (s *Store) openOwn(ctx context.Context, r reader, h *storedHead) (ledger.Head, error) {
	var first error
	for _, k := range s.signers.list() {
		chain, err := ledger.NewKeyChain(k.Origin, k.VerifierKey)
		if err != nil {
			return ledger.Head{}, err
		}
		head, err := h.open(chain)
		if !errors.Is(err, ledger.ErrSignature) {
			return head, err
		}
		if first == nil {
			first = err
		}
	}
	own, err := ledger.NewKeyChain(s.cfg.LogKey.Origin, s.cfg.LogKey.VerifierKey)
	if err != nil {
		return ledger.Head{}, err
	}
	// Only the rotations after the key that this process has lead anywhere.
	turns, err := r.lookAhead(ctx, 0, h.size)
	if err != nil {
		return ledger.Head{}, errors.Join(first, err)
	}
	at := slices.IndexFunc(turns, func(t turn) bool { return t.Old == s.cfg.LogKey.VerifierKey })
	if at < 0 {
		return ledger.Head{}, s.high.older(own, h, first)
	}
	keys, err := logKeys{chain: own}.extend(ctx, r, turns[at:])
	if err != nil {
		return ledger.Head{}, errors.Join(first, err)
	}
	return h.open(keys.chain)
}

// provenKeys is the chain that a proven control plane tells of, its head held against it once more, and each handover
// against the tree.
func (s *Store) provenKeys(ctx context.Context, r reader, tree *ledger.Tree, stored *storedHead, head ledger.Head, turns []turn) (logKeys, error) {
	first := s.cfg.LogKey.VerifierKey
	if len(turns) > 0 {
		first = turns[0].Old
	}
	chain, err := ledger.NewKeyChain(s.cfg.LogKey.Origin, first)
	if err != nil {
		return logKeys{}, fmt.Errorf("%w: %w", ErrEdited, err)
	}
	return s.continued(ctx, r, logKeys{chain: chain}, tree, stored, head, turns)
}

// continued extends a chain by rotations that are proven, and checks that the log contains each handover.
func (s *Store) continued(ctx context.Context, r reader, keys logKeys, tree *ledger.Tree, stored *storedHead, head ledger.Head, turns []turn) (logKeys, error) {
	before := len(keys.chain.Handovers())
	keys, err := keys.extend(ctx, r, turns)
	if err != nil {
		return keys, err
	}
	for _, note := range keys.chain.Handovers()[before:] {
		handed, err := keys.chain.Open([]byte(note))
		if err != nil {
			return keys, fmt.Errorf("%w: %w", ErrEdited, err)
		}
		proof, err := prover(tree, r)(ctx, handed.Size, head.Size)
		if err == nil && handed.Size < head.Size {
			err = ledger.CheckConsistency(proof, handed, head)
		} else if err == nil && handed.Root != head.Root {
			err = ErrFork
		}
		if err != nil {
			return keys, fmt.Errorf("the log key was handed over at %d entries: %w", handed.Size, err)
		}
	}
	if _, err := stored.open(keys.chain); err != nil {
		return keys, err
	}
	return keys, nil
}
