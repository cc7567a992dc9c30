package operation_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"testing"

	"github.com/stretchr/testify/require"

	"conclave/ceremony/nodes"
	"conclave/custodian"
	"conclave/custodian/custodiantest"
	"conclave/custodian/dsse"
	"conclave/custodian/jwk"
)

// machine makes requests with one node key.
type machine struct {
	signer dsse.Signer
	public jwk.Key
}

func newMachine(t *testing.T) machine {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	signer, err := dsse.NewSigner(private)
	require.NoError(t, err)
	public, err := jwk.New(&private.PublicKey, jwk.ES256, "sig")
	require.NoError(t, err)
	return machine{signer, public}
}

// asks are the parameters that enrol it under an id.
func (m machine) asks(t *testing.T, r *rig, id string) map[string]any {
	t.Helper()
	public, err := m.public.JSON()
	require.NoError(t, err)
	envelope, err := nodes.SignRequest(m.signer, nodes.Request{Instance: r.Instance.ID, Node: id, PublicKey: public, MadeAt: r.Clock.Now()})
	require.NoError(t, err)
	return map[string]any{"request": envelope}
}

func TestNodesAreEnrolledAndRevoked(t *testing.T) {
	r := newRig(t)
	own, second := newMachine(t), newMachine(t)
	public, err := own.public.JSON()
	require.NoError(t, err)
	r.Put(t, custodian.KindNode, custodiantest.NodeID, custodian.Node{ID: custodiantest.NodeID, PublicKey: public})
	revoke := func(id string) map[string]any { return map[string]any{"node": id, "reason": "its disk was copied"} }

	require.Equal(t, []string{"lock_out"}, r.denied(t, "node.revoke", human("demo-ada"), revoke(custodiantest.NodeID)))
	require.Equal(t, []string{"key_in_use"}, r.denied(t, "node.enrol", human("demo-ada"), own.asks(t, r, "node-2")), "one key, one node")
	require.Equal(t, []string{"node_id_taken"}, r.denied(t, "node.enrol", human("demo-ada"), second.asks(t, r, custodiantest.NodeID)))
	plan := r.plan(t, "node.enrol", r.input(t, human("demo-ada"), second.asks(t, r, "node-2")))
	require.Contains(t, plan.Lines[1].After, second.public.Fingerprint())

	r.run(t, "node.enrol", human("demo-ada"), second.asks(t, r, "node-2"))
	n := row[custodian.Node](t, r, custodian.KindNode, "node-2")
	require.NoError(t, n.Standing())
	require.NotEmpty(t, n.EnrolledBy)
	require.Equal(t, []string{"already_enrolled"}, r.denied(t, "node.enrol", human("demo-ada"), second.asks(t, r, "node-2")))
	keys, err := custodian.NodeKeys(r.View(), false)
	require.NoError(t, err)
	require.Len(t, keys, 2)

	epoch := r.View().Epoch()
	r.run(t, "node.revoke", human("demo-ada"), revoke("node-2"))
	require.Greater(t, r.View().Epoch(), epoch, "kept decisions are made again")
	err = custodian.NodeStanding(r.View(), "node-2")
	require.ErrorIs(t, err, custodian.ErrNodeRevoked)
	require.ErrorContains(t, err, "its disk was copied")
	require.Equal(t, []string{"already_revoked"}, r.denied(t, "node.revoke", human("demo-ada"), revoke("node-2")))
	require.Equal(t, []string{"lock_out"}, r.denied(t, "node.revoke", human("demo-ada"), revoke(custodiantest.NodeID)), "a revoked one serves nobody")
	require.Equal(t, []string{"node_id_taken"}, r.denied(t, "node.enrol", human("demo-ada"), newMachine(t).asks(t, r, "node-2")), "an id is one key's for ever")
	require.Equal(t, []string{"key_in_use"}, r.denied(t, "node.enrol", human("demo-ada"), second.asks(t, r, "node-3")))
	keys, err = custodian.NodeKeys(r.View(), false)
	require.NoError(t, err)
	require.Len(t, keys, 1)

	again := r.plan(t, "node.enrol", r.input(t, human("demo-ada"), second.asks(t, r, "node-2")))
	require.Contains(t, again.Lines[0].Before, "its disk was copied")
	r.run(t, "node.enrol", human("demo-ada"), second.asks(t, r, "node-2"))
	require.NoError(t, custodian.NodeStanding(r.View(), "node-2"))
}

func TestBadEnrolmentRequests(t *testing.T) {
	r := newRig(t)
	m := newMachine(t)
	public, err := m.public.JSON()
	require.NoError(t, err)
	elsewhere, err := nodes.SignRequest(m.signer, nodes.Request{Instance: "another", Node: "node-2", PublicKey: public, MadeAt: r.Clock.Now()})
	require.NoError(t, err)
	for field, params := range map[string]map[string]any{
		"request":      {"request": []byte("no envelope")},
		"request.node": m.asks(t, r, "Node 2"),
		"instance":     {"request": elsewhere},
	} {
		_, err := r.prepare(t, "node.enrol", r.input(t, human("demo-ada"), params))
		require.ErrorContains(t, err, field)
	}
	_, err = r.prepare(t, "node.revoke", r.input(t, human("demo-ada"), map[string]any{"node": "node-9", "reason": "x"}))
	require.ErrorContains(t, err, "node-9")
}
