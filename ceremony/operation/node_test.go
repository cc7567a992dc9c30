package operation_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"testing"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/stretchr/testify/require"

	"conclave/ceremony/nodes"
	"conclave/ceremony/shamir"
	"conclave/ceremony/statement"
	"conclave/custodian"
	"conclave/custodian/custodiantest"
	"conclave/custodian/dsse"
	"conclave/custodian/jwk"
	"conclave/hsm"
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

// A secret is handed over only to the process that an enrolled node asks with, where its enrolment allows it.
func TestHandOverIsRefused(t *testing.T) {
	r := newRig(t)
	m, stranger := newMachine(t), newMachine(t)
	public, err := m.public.JSON()
	require.NoError(t, err)
	collector := func(signer dsse.Signer, instance, id, boot string) []byte {
		key, err := shamir.NewOpeningKey()
		require.NoError(t, err)
		raw, err := key.Public().JSON()
		require.NoError(t, err)
		payload := custodian.Detail(map[string]any{"instance": instance, "node": id, "boot": boot, "key": jsontext.Value(raw), "at": "2026-11-28T09:00:00Z"})
		envelope, err := dsse.Sign(signer, statement.TypeCollector, payload)
		require.NoError(t, err)
		return envelope
	}
	params := map[string]any{"node": "node-2", "keystore": custodiantest.KeystoreID, "boot": "b-1"}
	put := func(n custodian.Node, h custodian.HandOver) {
		n.ID, n.PublicKey, n.EnrolledBy = "node-2", public, "genesis"
		h.Node, h.Keystore, h.AskedAt = "node-2", custodiantest.KeystoreID, r.Clock.Now()
		r.Put(t, custodian.KindNode, n.ID, n)
		r.Put(t, custodian.KindHandOver, custodian.HandOverID(h.Node, h.Keystore), h)
	}
	good := collector(m.signer, r.Instance.ID, "node-2", "b-1")
	now, may := r.Clock.Now(), custodian.Node{HandOver: true}
	for name, c := range map[string]struct {
		node  custodian.Node
		asked custodian.HandOver
		want  string
	}{
		"not decided":        {custodian.Node{}, custodian.HandOver{Boot: "b-1", Collector: good}, "hand_over_not_decided"},
		"revoked":            {custodian.Node{HandOver: true, RevokedAt: &now}, custodian.HandOver{Boot: "b-1", Collector: good}, "node_revoked"},
		"another process":    {may, custodian.HandOver{Boot: "b-2", Collector: good}, "not_asked"},
		"answered":           {may, custodian.HandOver{Boot: "b-1", Collector: good, Sealed: "x"}, "not_asked"},
		"another's key":      {may, custodian.HandOver{Boot: "b-1", Collector: collector(stranger.signer, r.Instance.ID, "node-2", "b-1")}, "collector_refused"},
		"another instance":   {may, custodian.HandOver{Boot: "b-1", Collector: collector(m.signer, "another", "node-2", "b-1")}, "collector_refused"},
		"another boot's key": {may, custodian.HandOver{Boot: "b-1", Collector: collector(m.signer, r.Instance.ID, "node-2", "b-0")}, "collector_refused"},
		"no collector":       {may, custodian.HandOver{Boot: "b-1", Collector: []byte("{}")}, "collector_refused"},
	} {
		put(c.node, c.asked)
		require.Contains(t, r.denied(t, "keystore.hand-over", node(), params), c.want, name)
	}
	put(may, custodian.HandOver{Boot: "b-1", Collector: good})
	plan := r.plan(t, "keystore.hand-over", r.input(t, node(), params))
	require.Equal(t, "genesis", plan.Quorum.Precedent)
	_, err = r.execute(t, "keystore.hand-over", r.input(t, node(), params), nil)
	require.ErrorIs(t, err, hsm.ErrUnsupported, "this keystore was not told to keep its secret")
	require.NoError(t, r.Soft.Deactivate(t.Context()))
	require.Equal(t, []string{"nothing_to_hand_over"}, r.denied(t, "keystore.hand-over", node(), params))
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
