package boot

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"conclave/app/config"
	"conclave/ceremony/shamir"
	"conclave/custodian/ledger"
	"conclave/custodian/store"
	"conclave/hsm/secret"
)

const (
	// askLogKeyEvery is how often a node asks anew for a log key that may come: well within [nodes.JoinLife].
	askLogKeyEvery = 2 * time.Minute
	// askLogKeyUrgent is how often one asks that can not write without it.
	askLogKeyUrgent = 10 * time.Second
	// logKeyPatience is how long a start waits for a node that has the log key in force.
	logKeyPatience = 30 * time.Second
	logKeyLease    = "logkey"
)

// logKeyDesk makes, keeps, gives and takes the log keys of this process. The one in force is in its file; one that is about
// to be stands beside it under a name of its own, and takes its place once a committed head says so.
type logKeyDesk struct {
	s *service

	mu     sync.Mutex
	opener *shamir.OpeningKey // of this process's asking; nil where it has not asked
	asked  time.Duration      // monotonic
}

// candidateFile is where a log key is kept before it is in force.
func candidateFile(cfg *config.Config, effectID string) string {
	sum := sha256.Sum256([]byte(effectID))
	return cfg.LogKeyFile() + ".next-" + hex.EncodeToString(sum[:8])
}

func candidateFiles(cfg *config.Config) ([]string, error) {
	found, err := filepath.Glob(cfg.LogKeyFile() + ".next-*")
	if err != nil {
		return nil, fmt.Errorf("looking for log keys: %w", err)
	}
	return found, nil
}

// makingFile is where a log key is made, until it is whole.
func makingFile(cfg *config.Config) string { return cfg.LogKeyFile() + ".new" }

// loadCandidates reads the log keys that may have come into force before this process could put them in place. What a
// killed process had not written whole is removed: nothing can rest on it.
func loadCandidates(cfg *config.Config) ([]*ledger.LogKey, error) {
	halves, err := filepath.Glob(filepath.Join(cfg.KeyDir(), "."+filepath.Base(cfg.LogKeyFile())+".*"))
	if err != nil {
		return nil, fmt.Errorf("looking for log keys: %w", err)
	}
	for _, path := range append(halves, makingFile(cfg)) {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("removing what is no whole log key: %w", err)
		}
	}
	files, err := candidateFiles(cfg)
	if err != nil {
		return nil, err
	}
	var out []*ledger.LogKey
	for _, path := range files {
		k, err := ledger.LoadLogKey(path)
		if err != nil {
			return nil, err
		}
		out = append(out, k)
	}
	return out, nil
}

// Make implements [operation.LogKeys].
func (d *logKeyDesk) Make(ctx context.Context, effectID string) (string, []string, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	path := candidateFile(d.s.cfg, effectID)
	made, err := ledger.LoadLogKey(path)
	if errors.Is(err, fs.ErrNotExist) {
		made, err = d.generate(path)
	}
	if err != nil {
		return "", nil, err
	}
	d.s.store.OfferLogKey(made)
	given, err := d.give(ctx, path)
	return made.VerifierKey, given, err
}

// generate makes a log key that stands under its name whole or not at all, also where the process is killed.
func (d *logKeyDesk) generate(path string) (*ledger.LogKey, error) {
	making := makingFile(d.s.cfg)
	if err := os.Remove(making); err != nil && !errors.Is(err, fs.ErrNotExist) { // of one that failed
		return nil, err
	}
	made, err := ledger.GenerateLogKey(making, d.s.store.LogKeys().Origin())
	if err != nil {
		return nil, err
	}
	return made, ledger.MoveFile(making, path)
}

// Find implements [operation.LogKeys].
func (d *logKeyDesk) Find(effectID string) (string, bool, error) {
	made, err := ledger.LoadLogKey(candidateFile(d.s.cfg, effectID))
	if errors.Is(err, fs.ErrNotExist) {
		return "", false, nil
	}
	if err != nil {
		return "", false, err
	}
	d.s.store.OfferLogKey(made)
	return made.VerifierKey, true, nil
}

// Forget implements [operation.LogKeys].
func (d *logKeyDesk) Forget(effectID string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	path := candidateFile(d.s.cfg, effectID)
	made, err := ledger.LoadLogKey(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil && slices.Contains(d.s.store.LogKeys().Keys(), made.VerifierKey) {
		return nil // it came into force after all
	}
	return errors.Join(err, os.Remove(path))
}

// Keep implements [operation.LogKeys]: the file of the key in force is moved over that of the one before, so that at no
// instant there is none.
func (d *logKeyDesk) Keep() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.keep()
}

func (d *logKeyDesk) keep() error {
	files, err := candidateFiles(d.s.cfg)
	if err != nil || len(files) == 0 {
		return err
	}
	inForce := d.s.store.LogKeys()
	for _, path := range files {
		k, err := ledger.LoadLogKey(path)
		if err != nil {
			return err
		}
		switch {
		case k.VerifierKey == inForce.Newest():
			if err := ledger.MoveFile(path, d.s.cfg.LogKeyFile()); err != nil {
				return fmt.Errorf("putting the log key in its place: %w", err)
			}
			if _, err := d.s.store.KeepLogKey(); err != nil {
				return err
			}
			d.s.log.Info("the log key was replaced", "key", k.VerifierKey)
		case slices.Contains(inForce.Keys(), k.VerifierKey): // replaced since
			if err := os.Remove(path); err != nil {
				return err
			}
		}
	}
	return nil
}

// discard removes log keys of rotations that did not come about, which this node made or was given. One may come into force
// as long as a ceremony that replaces the key is executed anywhere: that stands in the ledger before the key is made, so that
// a state read after the file was found tells. A key that came into force after all, this node would be given anew.
func (d *logKeyDesk) discard(ctx context.Context) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	files, err := candidateFiles(d.s.cfg)
	if err != nil || len(files) == 0 {
		return err
	}
	if err := d.s.store.Refresh(ctx); err != nil {
		return err
	}
	if d.s.engine.Executing(ledger.RotationType) {
		return nil
	}
	for _, path := range files {
		k, err := ledger.LoadLogKey(path)
		if err != nil {
			return err
		}
		if slices.Contains(d.s.store.LogKeys().Keys(), k.VerifierKey) { // it came into force just now
			continue
		}
		if err := os.Remove(path); err != nil {
			return err
		}
		d.s.log.Info("a log key that did not come into force is removed", "key", k.VerifierKey)
	}
	if _, err := d.s.store.KeepLogKey(); err != nil && !errors.Is(err, store.ErrLogKeyMissing) {
		return err
	}
	return nil
}

// text is the file of the key in force, for whoever is given it or keeps a copy.
func (d *logKeyDesk) text() ([]byte, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.s.store.CanSign(); err != nil {
		return nil, err
	}
	if err := d.keep(); err != nil {
		return nil, err
	}
	return secret.ReadFile(d.s.cfg.LogKeyFile(), maxKeyFile)
}

// tend looks after the log key: it takes what this node was given, asks for what may come, gives the key in force to nodes
// that lack it, and removes what did not come into force.
func (d *logKeyDesk) tend(ctx context.Context) error {
	if err := errors.Join(d.Keep(), d.discard(ctx)); err != nil {
		return err
	}
	if d.s.cfg.Database.Driver != config.DriverPostgres {
		return nil
	}
	if err := d.take(ctx); err != nil {
		return err
	}
	lacking := d.s.store.CanSign() != nil
	if err := d.ask(ctx, lacking); err != nil || lacking {
		return err
	}
	return d.relieve(ctx)
}

// obtain waits for the log key in force where this node lacks it: it was stopped when the key was replaced.
func (d *logKeyDesk) obtain(ctx context.Context) error {
	if err := d.tend(ctx); err != nil || d.s.store.CanSign() == nil {
		return err
	}
	d.s.log.Warn("the log key was replaced while this node was stopped; another node is asked for it")
	for begun := d.s.clock.Elapsed(); d.s.store.CanSign() != nil; {
		if d.s.clock.Elapsed()-begun > logKeyPatience {
			return fmt.Errorf("%w: it was replaced while this node was stopped, and no node gave it: start another node, or fetch it with `conclave node join --data-dir %s --node-id %s`",
				store.ErrLogKeyMissing, d.s.cfg.DataDir, d.s.cfg.Node.ID)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(logKeyPoll):
		}
		if err := errors.Join(d.s.store.Refresh(ctx), d.tend(ctx)); err != nil {
			return err
		}
	}
	return nil
}

// logKeyPoll is how often a start looks for the answer.
const logKeyPoll = 200 * time.Millisecond
