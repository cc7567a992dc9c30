package boot

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"slices"

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
