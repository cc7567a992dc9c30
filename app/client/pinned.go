package client

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"

	"conclave/app/api"
	"conclave/ceremony/shamir"
	"conclave/ceremony/statement"
	"conclave/custodian/dsse"
	"conclave/custodian/jwk"
	"conclave/custodian/ledger"
)

// What is wrong with something that a node is said to have signed.
var (
	ErrNotPinned  = errors.New("not signed by a node key that the trust file pins (of a node that was enrolled since: `conclave node trust`, at one that is pinned, brings the file up to date)")
	ErrOtherPlace = errors.New("belongs to another instance")
)

// VerifyNode checks an envelope against the node keys pinned in the trust file and returns the signed
// bytes and the node's id.
func VerifyNode(trust *ledger.TrustFile, envelope []byte, payloadType string) (payload []byte, node string, err error) {
	parsed, err := dsse.Parse(envelope)
	if err != nil {
		return nil, "", err
	}
	payload, node, err = parsed.VerifyNode(payloadType, trust.NodeKeys)
	if errors.Is(err, dsse.ErrUnknownNode) {
		return nil, "", fmt.Errorf("%w: key %s", ErrNotPinned, parsed.KeyID())
	}
	return payload, node, err
}

// VerifyCollector checks that a collector key was signed by a pinned node of this instance, and returns
// it as a recipient of sealed shares. A collector key that anybody else put in its place is refused.
func VerifyCollector(trust *ledger.TrustFile, c api.Collector) (api.CollectorKey, shamir.Recipient, error) {
	var key api.CollectorKey
	fail := func(err error) (api.CollectorKey, shamir.Recipient, error) {
		return api.CollectorKey{}, shamir.Recipient{}, fmt.Errorf("collector key refused: %w", err)
	}
	payload, node, err := VerifyNode(trust, c.Envelope, statement.TypeCollector)
	if err != nil {
		return fail(err)
	}
	if err := json.Unmarshal(payload, &key); err != nil {
		return fail(fmt.Errorf("reading it: %w", err))
	}
	if key.Instance != trust.Instance {
		return fail(fmt.Errorf("it %w: %q", ErrOtherPlace, key.Instance))
	}
	if key.Node != node {
		return fail(fmt.Errorf("%w: it names node %q, its signature is by node %q", ErrNotPinned, key.Node, node))
	}
	public, err := jwk.Parse(key.Key)
	if err != nil {
		return fail(err)
	}
	if _, err := public.ECDSA(); err != nil {
		return fail(err)
	}
	raw, err := public.JSON()
	if err != nil {
		return fail(err)
	}
	return key, shamir.Recipient{KeyID: public.Thumbprint(), Key: raw}, nil
}

// Digest is the hexadecimal SHA-256 of bytes, as people compare them.
func Digest(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}
