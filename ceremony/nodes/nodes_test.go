package nodes_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"conclave/ceremony/nodes"
	"conclave/ceremony/shamir"
	"conclave/custodian/backup"
	"conclave/custodian/dsse"
	"conclave/custodian/jwk"
	"conclave/custodian/ledger"
	"conclave/hsm/secret"
)

var at = time.Date(2026, 11, 28, 9, 0, 0, 0, time.UTC)

// machine is a node with its key.
type machine struct {
	id     string
	signer dsse.Signer
	public []byte
	pinned ledger.NodeKey
}

func newMachine(t *testing.T, id string) machine {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	signer, err := dsse.NewSigner(private)
	require.NoError(t, err)
	k, err := jwk.New(&private.PublicKey, jwk.ES256, "sig")
	require.NoError(t, err)
	public, err := k.JSON()
	require.NoError(t, err)
	pinned, err := ledger.NewNodeKey(id, &private.PublicKey)
	require.NoError(t, err)
	return machine{id, signer, public, pinned}
}

func TestRequestProvesItsKey(t *testing.T) {
	m, other := newMachine(t, "node-2"), newMachine(t, "node-3")
	good, err := nodes.SignRequest(m.signer, nodes.Request{Instance: "i", Node: m.id, PublicKey: m.public, MadeAt: at})
	require.NoError(t, err)
	r, key, err := nodes.OpenRequest(good)
	require.NoError(t, err)
	require.Equal(t, "node-2", r.Node)
	require.Equal(t, m.signer.KeyID(), key.Thumbprint())
	require.Equal(t, key.Fingerprint(), nodes.Fingerprint(m.pinned))

	stolen, err := nodes.SignRequest(other.signer, nodes.Request{Instance: "i", Node: m.id, PublicKey: m.public, MadeAt: at})
	require.NoError(t, err)
	join, err := nodes.SignJoin(m.signer, nodes.Join{Instance: "i", Node: m.id, Key: m.public, At: at})
	require.NoError(t, err)
	for name, envelope := range map[string][]byte{"of another's key": stolen, "of another purpose": join, "altered": altered(t, good), "large": make([]byte, nodes.MaxRequest+1), "empty": {}} {
		_, _, err := nodes.OpenRequest(envelope)
		require.ErrorIs(t, err, nodes.ErrDocument, name)
	}
}

// altered is the envelope with another node's name in its payload.
func altered(t *testing.T, envelope []byte) []byte {
	t.Helper()
	var e map[string]any
	require.NoError(t, json.Unmarshal(envelope, &e))
	e["payload"] = strings.Replace(e["payload"].(string), "A", "B", 1)
	out, err := json.Marshal(e)
	require.NoError(t, err)
	return out
}

func TestJoinIsOneNodesOneMoments(t *testing.T) {
	m, other := newMachine(t, "node-2"), newMachine(t, "node-3")
	key, err := shamir.NewOpeningKey()
	require.NoError(t, err)
	public, err := key.Public().JSON()
	require.NoError(t, err)
	call := func(signer dsse.Signer, j nodes.Join) []byte {
		j.Key = public
		envelope, err := nodes.SignJoin(signer, j)
		require.NoError(t, err)
		return envelope
	}
	known := []ledger.NodeKey{m.pinned, other.pinned}
	good := call(m.signer, nodes.Join{Instance: "i", Node: m.id, At: at})
	j, to, err := nodes.OpenJoin(good, known, "i", at.Add(nodes.JoinLife))
	require.NoError(t, err)
	require.Equal(t, m.id, j.Node)
	require.Equal(t, key.KeyID(), to.KeyID)

	_, _, err = nodes.OpenJoin(good, known, "i", at.Add(nodes.JoinLife+time.Millisecond))
	require.ErrorIs(t, err, nodes.ErrOther)
	_, _, err = nodes.OpenJoin(good, known, "i", at.Add(-nodes.JoinLife-time.Millisecond))
	require.ErrorIs(t, err, nodes.ErrOther)
	_, _, err = nodes.OpenJoin(good, known, "another", at)
	require.ErrorIs(t, err, nodes.ErrOther)
	_, _, err = nodes.OpenJoin(good, known[1:], "i", at)
	require.ErrorIs(t, err, nodes.ErrUntrusted)
	_, _, err = nodes.OpenJoin(call(other.signer, nodes.Join{Instance: "i", Node: m.id, At: at}), known, "i", at)
	require.ErrorIs(t, err, nodes.ErrUntrusted, "one node in another's name")
	signing, err := nodes.SignJoin(m.signer, nodes.Join{Instance: "i", Node: m.id, Key: m.public, At: at})
	require.NoError(t, err)
	_, _, err = nodes.OpenJoin(signing, known, "i", at)
	require.ErrorIs(t, err, nodes.ErrDocument, "a key that signs is sealed to")
}

// trusted is a trust file that pins these machines, and a checkpoint of its log.
func trusted(t *testing.T, pins ...machine) (*ledger.TrustFile, string) {
	t.Helper()
	instance := strings.Repeat("ab", 32)
	origin, err := ledger.Origin(instance)
	require.NoError(t, err)
	key, err := ledger.GenerateLogKey(filepath.Join(t.TempDir(), "log.key"), origin)
	require.NoError(t, err)
	note, err := ledger.SignHead(key.Signer, origin, ledger.Head{})
	require.NoError(t, err)
	f := &ledger.TrustFile{Instance: instance, Origin: origin, Mode: "development", LogKeys: []string{key.VerifierKey}, CreatedAt: at}
	for _, m := range pins {
		f.NodeKeys = append(f.NodeKeys, m.pinned)
	}
	return f, string(note)
}

func TestWelcomeIsForItsCallAlone(t *testing.T) {
	serving, m, stranger := newMachine(t, "node-1"), newMachine(t, "node-2"), newMachine(t, "node-1")
	trust, note := trusted(t, serving)
	key, err := shamir.NewOpeningKey()
	require.NoError(t, err)
	to, err := key.Recipient()
	require.NoError(t, err)
	sealed, err := nodes.SealKeys(&backup.Keys{Log: []byte("log"), Node: []byte("never"), Audit: []byte("audit"), Challenge: []byte("challenge")}, to)
	require.NoError(t, err)
	good := nodes.Welcome{Node: m.id, KeyID: to.KeyID, Sealed: sealed, List: nodes.List{Instance: trust.Instance, By: serving.id,
		Nodes: []ledger.NodeKey{serving.pinned, m.pinned}, Checkpoint: note, At: at}}
	envelope, err := nodes.SignWelcome(serving.signer, good)
	require.NoError(t, err)
	w, keys, err := nodes.OpenWelcome(envelope, trust, m.id, key)
	require.NoError(t, err)
	require.Equal(t, backup.Keys{Log: []byte("log"), Node: keys.Node, Audit: []byte("audit"), Challenge: []byte("challenge")}, *keys)
	require.Empty(t, keys.Node, "a node's own key never leaves it")
	next, err := w.List.Trust(trust, at)
	require.NoError(t, err)
	require.Len(t, next.NodeKeys, 2)

	another, err := shamir.NewOpeningKey()
	require.NoError(t, err)
	_, foreign := trusted(t, serving)
	typed, err := shamir.SealValue("conclave-component", secret.New([]byte("x")), to)
	require.NoError(t, err)
	for name, c := range map[string]struct {
		signer dsse.Signer
		key    *shamir.OpeningKey
		change func(w *nodes.Welcome)
		want   error
	}{
		"a node that is not pinned":    {stranger.signer, key, func(*nodes.Welcome) {}, nodes.ErrUntrusted},
		"in another node's name":       {serving.signer, key, func(w *nodes.Welcome) { w.List.By = "node-9" }, nodes.ErrUntrusted},
		"for another node":             {serving.signer, key, func(w *nodes.Welcome) { w.Node = "node-3" }, nodes.ErrOther},
		"for another call":             {serving.signer, another, func(*nodes.Welcome) {}, nodes.ErrOther},
		"sealed to another key":        {serving.signer, another, func(w *nodes.Welcome) { w.KeyID = another.KeyID() }, shamir.ErrNotFor},
		"of another instance":          {serving.signer, key, func(w *nodes.Welcome) { w.List.Instance = "x" }, nodes.ErrOther},
		"without nodes":                {serving.signer, key, func(w *nodes.Welcome) { w.List.Nodes = nil }, nodes.ErrDocument},
		"something sealed for another": {serving.signer, key, func(w *nodes.Welcome) { w.Sealed = typed }, shamir.ErrSealed},
		"over another ledger":          {serving.signer, key, func(w *nodes.Welcome) { w.List.Checkpoint = foreign }, ledger.ErrForeign},
	} {
		bad := good
		c.change(&bad)
		envelope, err := nodes.SignWelcome(c.signer, bad)
		require.NoError(t, err)
		_, _, err = nodes.OpenWelcome(envelope, trust, m.id, c.key)
		require.Error(t, err, name)
		if c.want != ledger.ErrForeign { // whichever the ledger names it
			require.ErrorIs(t, err, c.want, name)
		}
	}
}

func TestListIsAPinnedNodes(t *testing.T) {
	serving, m := newMachine(t, "node-1"), newMachine(t, "node-2")
	trust, note := trusted(t, serving)
	list := nodes.List{Instance: trust.Instance, By: serving.id, Nodes: []ledger.NodeKey{m.pinned}, Checkpoint: note, At: at}
	envelope, err := nodes.SignList(serving.signer, list)
	require.NoError(t, err)
	got, err := nodes.OpenList(envelope, trust)
	require.NoError(t, err)
	fresh, err := got.Trust(trust, at)
	require.NoError(t, err)
	require.Equal(t, []ledger.NodeKey{m.pinned}, fresh.NodeKeys)
	require.Equal(t, note, fresh.Least)
	_, err = nodes.OpenList(envelope, fresh)
	require.ErrorIs(t, err, nodes.ErrUntrusted, "whoever signed it is pinned no more")
}
