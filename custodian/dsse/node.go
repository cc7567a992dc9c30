package dsse

import (
	"errors"
	"fmt"
	"time"

	"conclave/custodian/ledger"
)

// ErrUnknownNode says that an envelope is signed with none of the node keys that were given.
var ErrUnknownNode = errors.New("not signed by any of these nodes")

// VerifyNode checks the envelope of a node against the public keys of nodes, as a trust file pins them, and
// returns the exact bytes that were signed and the id of the node that signed them.
func (e *Envelope) VerifyNode(payloadType string, nodes []ledger.NodeKey) (payload []byte, node string, err error) {
	for _, k := range nodes {
		public, err := k.Public()
		if err != nil {
			return nil, "", err
		}
		credential, err := NewCredential(public, time.Time{})
		if err != nil {
			return nil, "", fmt.Errorf("node key %.60q: %w", k.Kid, err)
		}
		if credential.ID != e.keyID {
			continue
		}
		payload, err := e.Verify(payloadType, credential)
		if err != nil {
			return nil, "", fmt.Errorf("signature of node %.60q: %w", k.Kid, err)
		}
		return payload, k.Kid, nil
	}
	return nil, "", fmt.Errorf("%w: key %.60q", ErrUnknownNode, e.keyID)
}
