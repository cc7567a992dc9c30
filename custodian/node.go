package custodian

import (
	"errors"
	"fmt"
	"time"

	"conclave/custodian/jwk"
	"conclave/custodian/ledger"
	"conclave/custodian/store"
)

// ErrNodeRevoked: the node was enrolled and is revoked. It serves nothing and records nothing.
var ErrNodeRevoked = errors.New("node is revoked")

// Node is one enrolled process identity. Row kind KindNode. Rows stay for ever: what a node signed can still be told
// apart after it is revoked, and no key is ever another node's.
type Node struct {
	ID        string `json:"id"`
	PublicKey []byte `json:"public_key"` // JWK of the node key that signs collector keys and transcripts
	// EnrolledAt and EnrolledBy, the ceremony, are empty for the node that genesis enrolled.
	EnrolledAt *time.Time `json:"enrolled_at,omitempty"`
	EnrolledBy string     `json:"enrolled_by,omitempty"`
	// HandOver: a quorum decided that activation secrets may be handed to it by nodes that have them.
	HandOver bool `json:"hand_over,omitempty"`
	// RevokedAt is nil while the node may serve.
	RevokedAt     *time.Time `json:"revoked_at,omitempty"`
	RevokedBy     string     `json:"revoked_by,omitempty"` // ceremony
	RevokedReason string     `json:"revoked_reason,omitempty"`
}

// Revoked reports whether the node may serve no more.
func (n *Node) Revoked() bool { return n.RevokedAt != nil }

// Revoke ends the node's part in the instance; false where it had ended before.
func (n *Node) Revoke(at time.Time, by, reason string) bool {
	if n.Revoked() {
		return false
	}
	n.RevokedAt, n.RevokedBy, n.RevokedReason = &at, by, reason
	return true
}

// Standing is nil for a node that may serve, and an [ErrNodeRevoked] that says since when and by which ceremony for one
// that may not.
func (n *Node) Standing() error {
	if !n.Revoked() {
		return nil
	}
	return fmt.Errorf("%s: %w since %s by %s (%s)", n.ID, ErrNodeRevoked, n.RevokedAt.UTC().Format(time.RFC3339), n.RevokedBy, n.RevokedReason)
}

// Key reads the node's public key.
func (n *Node) Key() (jwk.Key, error) {
	k, err := jwk.Parse(n.PublicKey)
	if err != nil {
		return jwk.Key{}, fmt.Errorf("key of node %s: %w", n.ID, err)
	}
	return k, nil
}

// Pinned is the node's key as trust files pin it.
func (n *Node) Pinned() (ledger.NodeKey, error) {
	k, err := n.Key()
	if err != nil {
		return ledger.NodeKey{}, err
	}
	public, err := k.Public()
	if err != nil {
		return ledger.NodeKey{}, fmt.Errorf("key of node %s: %w", n.ID, err)
	}
	return ledger.NewNodeKey(n.ID, public)
}

// NodeKeys are the keys of the nodes that may serve, or of all there ever were: what a node signed before it was revoked
// is still told apart by its key.
func NodeKeys(view *store.View, all bool) ([]ledger.NodeKey, error) {
	if bad := view.Tampered(KindNode); len(bad) > 0 {
		return nil, &store.TamperedError{Kind: KindNode, ID: bad[0].ID}
	}
	var out []ledger.NodeKey
	for _, n := range store.All[Node](view, KindNode) {
		if n.Revoked() && !all {
			continue
		}
		k, err := n.Pinned()
		if err != nil {
			return nil, err
		}
		out = append(out, k)
	}
	return out, nil
}

// NodeStanding says whether a node may serve by a view: nil, [ErrNodeRevoked], or what the store says of a row that is not
// there or not to be believed.
func NodeStanding(view *store.View, id string) error {
	n, err := store.Peek[Node](view, KindNode, id)
	if err != nil {
		return fmt.Errorf("node %q: %w", id, err)
	}
	return n.Standing()
}

// HandOver is a node's asking for the activation secret of a keystore that it lacks, and the answer of a node that has it.
// Row kind KindHandOver; it is deleted once the secret is taken or no longer asked for.
type HandOver struct {
	Node      string    `json:"node"` // who asks
	Keystore  string    `json:"keystore"`
	Boot      string    `json:"boot"`      // process that asks: only that one can open the answer
	Collector []byte    `json:"collector"` // its collector key, DSSE by the node
	AskedAt   time.Time `json:"asked_at"`
	// Sealed is the secret, a JWE to the collector key; "" while nobody has answered.
	Sealed   string     `json:"sealed,omitempty"`
	By       string     `json:"by,omitempty"` // node that answered
	GivenAt  *time.Time `json:"given_at,omitempty"`
	Ceremony string     `json:"ceremony,omitempty"`
}

// HandOverID is the row id of a node's asking for the secret of a keystore.
func HandOverID(node, keystore string) string { return node + "/" + keystore }
