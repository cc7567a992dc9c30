package ceremony

import (
	"context"
	"errors"
	"fmt"

	"conclave/ceremony/nodes"
	"conclave/ceremony/shamir"
	"conclave/custodian"
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
	view, note := e.store.Published()
	keys, err := custodian.NodeKeys(view, false)
	if err != nil {
		return nodes.List{}, err
	}
	return nodes.List{Instance: e.door.Instance().ID, By: e.door.Node(), Nodes: keys, Checkpoint: string(note), At: e.clock.Now()}, nil
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
	list, err := e.listNodes()
	if err != nil {
		return nil, err
	}
	return nodes.SignWelcome(e.signer, nodes.Welcome{List: list, Node: p.ID, KeyID: to.KeyID, Sealed: sealed})
}
