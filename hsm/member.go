package hsm

import (
	"context"
	"errors"
	"strings"
)

// ErrNotShared: the key was not made for a group, or not for this one: it leaves its keystore in no form.
var ErrNotShared = errors.New("key was not made for this group and does not leave its keystore")

// transportPrefix sets the names of transport pairs apart from those of keys, which hold no slash.
const transportPrefix = "transport/"

// TransportName is Material.Key of a member's transport pair for a group.
func TransportName(group string) string { return transportPrefix + group }

// IsTransport reports whether material is a transport pair.
func (m Material) IsTransport() bool { return strings.HasPrefix(m.Key, transportPrefix) }

// Peer is another member of a group, as its governed record has it.
type Peer struct {
	Member string // keystore id
	Public []byte // public half of its transport pair, a DER SubjectPublicKeyInfo
}

// Copy is one key of a group in one of its members.
type Copy struct {
	Member     string `json:"member"`             // keystore id
	Blob       []byte `json:"blob"`               // of the member's driver
	CheckValue string `json:"check_value"`        // computed by the member itself
	Wrapping   string `json:"wrapping,omitempty"` // as Material.Wrapping
}

// In is the material of a key of a group in one member, false where that holds none.
func (m Material) In(member string) (Material, bool) {
	for _, c := range m.Copies {
		if c.Member == member {
			own := m
			own.Copies, own.Blob, own.CheckValue, own.Wrapping = nil, c.Blob, c.CheckValue, c.Wrapping
			return own, true
		}
	}
	return Material{}, false
}

// Member is a keystore that can be one of a group. Keys made for a group leave it wrapped for another member that was
// trusted by ceremony, and in no other form and for nobody else; all other keys of the keystore do not leave it. Members of
// one group are of one driver. Safe for concurrent use with everything else.
type Member interface {
	Keystore
	// Shares are the specifications of keys that can be made for a group.
	Shares() []Spec
	// TransportBits is the strength in bits of what keys travel under, and so at most that of a key that travelled.
	TransportBits() int
	// Introduce makes the pair that keys of a group are sent to this member under, version 1 of TransportName(group). It opens what was sent, and does nothing else. Where StoresKeys, a second call returns the same pair.
	// A keystore that can not be held to the terms of a group is ErrUnsupported.
	Introduce(ctx context.Context, group string) (Material, error)
	// Trust lets keys of a group be sent to a peer; idempotent. Another key of the same peer replaces the one before.
	Trust(ctx context.Context, group string, peer Peer) error
	// Distrust takes back Trust; idempotent.
	Distrust(ctx context.Context, group, member string) error
	// Leave takes back Introduce; idempotent.
	Leave(ctx context.Context, group string) error
	// CreateShared is Create of a key that can be sent to members of a group. Material.Group is set.
	CreateShared(ctx context.Context, group, key string, version uint32, spec Spec, effectID string) (Material, error)
	// Send wraps a key for a peer. ErrNotShared for one that was not made for this group; ErrUnsupported for a peer that
	// is not trusted.
	Send(ctx context.Context, m Material, peer Peer) (sealed []byte, err error)
	// Receive keeps what another member sent. own is this member's transport pair; m says which key it is to be, with the
	// check value that it must have: ErrCorrupt or ErrUnwrap where it has another, ErrUnwrap where sealed does not open. Nothing is kept
	// of what was refused. A key that is there already under the effect's id and has that check value is returned as it is.
	Receive(ctx context.Context, own, m Material, sealed []byte) (Material, error)
}
