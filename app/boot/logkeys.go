package boot

import (
	"bytes"
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
	"conclave/ceremony/nodes"
	"conclave/ceremony/shamir"
	"conclave/custodian"
	"conclave/custodian/backup"
	"conclave/custodian/identity"
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

// loadCandidates reads the log keys that may have come into force before this process could put them in place.
func loadCandidates(cfg *config.Config) ([]*ledger.LogKey, error) {
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
		made, err = ledger.GenerateLogKey(path, d.s.store.LogKeys().Origin())
	}
	if err != nil {
		return "", nil, err
	}
	d.s.store.OfferLogKey(made)
	given, err := d.give(ctx, path)
	return made.VerifierKey, given, err
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

// give seals a new log key to every enrolled node that asks for one.
func (d *logKeyDesk) give(ctx context.Context, path string) ([]string, error) {
	asks, err := d.asks(ctx)
	if err != nil || len(asks) == 0 {
		return nil, err
	}
	keys, err := readKeyFiles(d.s.cfg)
	if err != nil {
		return nil, err
	}
	defer keys.Wipe()
	secret.Wipe(keys.Log)
	if keys.Log, err = secret.ReadFile(path, maxKeyFile); err != nil {
		return nil, err
	}
	var given []string
	for _, a := range asks {
		answer, err := d.s.engine.Offer(keys, a.join.Node, a.to)
		if err != nil {
			return nil, err
		}
		if err := d.s.store.AnswerLogKey(ctx, a.join.Node, a.raw, answer); err != nil {
			return nil, err
		}
		given = append(given, a.join.Node)
	}
	return given, nil
}

// logKeyAsk is an asking that an enrolled node other than this one signed, lately.
type logKeyAsk struct {
	join    *nodes.Join
	to      shamir.Recipient
	raw     []byte
	lacking bool
}

func (d *logKeyDesk) asks(ctx context.Context) ([]logKeyAsk, error) {
	if d.s.cfg.Database.Driver != config.DriverPostgres {
		return nil, nil // nobody else has the database
	}
	found, err := d.s.store.LogKeyAsks(ctx)
	if err != nil {
		return nil, err
	}
	serving, err := custodian.NodeKeys(d.s.store.View(), false)
	if err != nil {
		return nil, err
	}
	var out []logKeyAsk
	for _, a := range found {
		if a.Node == d.s.cfg.Node.ID || a.Answer != nil {
			continue
		}
		join, to, err := nodes.OpenJoin(a.Ask, serving, d.s.door.Instance().ID, d.s.clock.Now())
		if err != nil || join.Node != a.Node {
			continue // old, forged, or of a node that serves no more: it is given nothing
		}
		out = append(out, logKeyAsk{join, to, a.Ask, a.Lacking})
	}
	return out, nil
}

// tend looks after the log key: it takes what this node was given, asks for what may come, and gives the key in force to
// nodes that lack it.
func (d *logKeyDesk) tend(ctx context.Context) error {
	if err := d.Keep(); err != nil {
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

// ask puts this node's asking where others see it.
func (d *logKeyDesk) ask(ctx context.Context, lacking bool) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	pause := askLogKeyEvery
	if lacking {
		pause = askLogKeyUrgent
	}
	if d.opener != nil && d.s.clock.Elapsed()-d.asked < pause {
		return nil
	}
	opener, err := shamir.NewOpeningKey()
	if err != nil {
		return err
	}
	public, err := opener.Public().JSON()
	if err != nil {
		return err
	}
	envelope, err := nodes.SignJoin(d.s.node.signer, nodes.Join{Instance: d.s.door.Instance().ID, Node: d.s.cfg.Node.ID, Key: public, At: d.s.clock.Now()})
	if err != nil {
		return err
	}
	if err := d.s.store.AskLogKey(ctx, d.s.cfg.Node.ID, lacking, envelope); err != nil {
		return err
	}
	if d.opener != nil {
		d.opener.Wipe()
	}
	d.opener, d.asked = opener, d.s.clock.Elapsed()
	return nil
}

// take opens what this node was given and keeps it beside the key in force.
func (d *logKeyDesk) take(ctx context.Context) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.opener == nil {
		return nil
	}
	found, err := d.s.store.LogKeyAsks(ctx)
	if err != nil {
		return err
	}
	i := slices.IndexFunc(found, func(a store.LogKeyAsk) bool { return a.Node == d.s.cfg.Node.ID })
	if i < 0 || found[i].Answer == nil {
		return nil
	}
	defer func() { // answered: the next asking is another one
		d.opener.Wipe()
		d.opener = nil
	}()
	trust, err := d.s.trust()
	if err != nil {
		return err
	}
	_, keys, err := nodes.OpenWelcome(found[i].Answer, trust, d.s.cfg.Node.ID, d.opener)
	if err != nil {
		return fmt.Errorf("the log key that another node gave is refused: %w", err)
	}
	defer keys.Wipe()
	return d.put(keys)
}

// put keeps a log key that another node gave.
func (d *logKeyDesk) put(keys *backup.Keys) error {
	path := candidateFile(d.s.cfg, hex.EncodeToString(digest(keys.Log)))
	if err := ledger.WriteFileAtomic(path, keys.Log, 0o600); err != nil {
		return err
	}
	k, err := ledger.LoadLogKey(path)
	if err != nil || k.Origin != d.s.store.LogKeys().Origin() {
		return errors.Join(fmt.Errorf("%w: the log key that another node gave", ErrKeyFile), err, os.Remove(path))
	}
	current, err := ledger.LoadLogKey(d.s.cfg.LogKeyFile())
	if err == nil && current.VerifierKey == k.VerifierKey {
		return os.Remove(path) // it has it
	}
	d.s.store.OfferLogKey(k)
	return nil
}

func digest(b []byte) []byte {
	sum := sha256.Sum256(bytes.TrimSpace(b))
	return sum[:]
}

// relieve gives the key in force to nodes that can not write without it. One node does so at a time, and each time is on the
// record.
func (d *logKeyDesk) relieve(ctx context.Context) error {
	asks, err := d.asks(ctx)
	if err != nil || !slices.ContainsFunc(asks, func(a logKeyAsk) bool { return a.lacking }) {
		return err
	}
	ours, err := d.s.store.Lease(ctx, logKeyLease, d.s.cfg.Node.ID, tickLease)
	if err != nil || !ours {
		return err
	}
	for _, a := range asks {
		if !a.lacking {
			continue
		}
		answer, err := d.s.engine.Welcome(ctx, identity.Principal{Kind: identity.Node, ID: a.join.Node}, a.to)
		if err != nil {
			return err
		}
		if err := d.s.store.AnswerLogKey(ctx, a.join.Node, a.raw, answer); err != nil {
			return err
		}
	}
	return nil
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
