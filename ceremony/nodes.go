package ceremony

import (
	"context"
	"errors"
	"fmt"

	"conclave/ceremony/nodes"
	"conclave/ceremony/shamir"
	"conclave/custodian"
	"conclave/custodian/backup"
	"conclave/custodian/identity"
	"conclave/custodian/ledger"
	"conclave/custodian/store"
)

// errNoKeys: an engine without the key files of a node has nothing to give.
var errNoKeys = errors.New("this process holds no key files of the instance; ask another node")

// Nodes states which nodes may serve, signed by this one, so that clients bring their trust files up to date.
func (e *Engine) Nodes() ([]byte, error) {
	list, err := e.listNodes()
	if err != nil {
		return nil, err
	}
	return nodes.SignList(e.signer, list)
}

func (e *Engine) listNodes() (nodes.List, error) {
	view, note, logKeys := e.store.Published()
	keys, err := custodian.NodeKeys(view, false)
	if err != nil {
		return nodes.List{}, err
	}
	return nodes.List{Instance: e.door.Instance().ID, By: e.door.Node(), Nodes: keys, Checkpoint: string(note), Handovers: logKeys.Handovers(), At: e.clock.Now()}, nil
}

// Welcome gives an enrolled node, which proved to be it (p), the keys of the instance: sealed to the key of its call,
// signed by this node, and on the record before it is answered. Errors: [custodian.ErrNodeRevoked], storage.
func (e *Engine) Welcome(ctx context.Context, p identity.Principal, to shamir.Recipient) ([]byte, error) {
	if e.env.Copier == nil {
		return nil, errNoKeys
	}
	keys, err := e.env.Copier.Keys()
	if err != nil {
		return nil, fmt.Errorf("reading the keys of the instance: %w", err)
	}
	defer keys.Wipe()
	sealed, err := nodes.SealKeys(keys, to)
	if err != nil {
		return nil, err
	}
	_, err = e.store.Control(ctx, func(tx *store.Tx) error {
		if err := custodian.NodeStanding(tx.View(), p.ID); err != nil {
			return err
		}
		return tx.Append(ledger.Entry{Type: "node.join", Actor: p, Target: ledger.Target{Type: "node", ID: p.ID}, Outcome: ledger.Done,
			Policy: e.door.Mark(), Detail: custodian.Detail(map[string]any{"by": e.door.Node(), "sealed_to": to.KeyID})})
	})
	if err != nil {
		return nil, fmt.Errorf("recording that node %q joins: %w", p.ID, err)
	}
	return e.welcome(p.ID, to, sealed)
}

func (e *Engine) welcome(node string, to shamir.Recipient, sealed string) ([]byte, error) {
	list, err := e.listNodes()
	if err != nil {
		return nil, err
	}
	return nodes.SignWelcome(e.signer, nodes.Welcome{List: list, Node: node, KeyID: to.KeyID, Sealed: sealed})
}

// Offer seals keys of the instance, of which the log key is one that is about to be in force, to an enrolled node that asks.
// What puts it in force says on the record to whom it was given. A node that may not serve is given nothing.
func (e *Engine) Offer(keys *backup.Keys, node string, to shamir.Recipient) ([]byte, error) {
	if err := custodian.NodeStanding(e.store.View(), node); err != nil {
		return nil, err
	}
	sealed, err := nodes.SealKeys(keys, to)
	if err != nil {
		return nil, err
	}
	return e.welcome(node, to, sealed)
}
