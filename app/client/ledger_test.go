package client_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"io/fs"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"conclave/app/api"
	"conclave/app/client"
	"conclave/ceremony/shamir"
	"conclave/ceremony/statement"
	"conclave/custodian/dsse"
	"conclave/custodian/identity"
	"conclave/custodian/ledger"
)

// logRig is a ledger in memory, served over TLS as the service does.
type logRig struct {
	key     *ledger.LogKey
	node    *ecdsa.PrivateKey
	trust   *ledger.TrustFile
	entries [][]byte
	shown   atomic.Int64 // size that the service admits to
}

func newLog(t *testing.T, salt byte) *logRig {
	t.Helper()
	origin, err := ledger.Origin(instance)
	require.NoError(t, err)
	key, err := ledger.GenerateLogKey(filepath.Join(t.TempDir(), "log.key"), origin)
	require.NoError(t, err)
	node, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	public, err := ledger.NewNodeKey("node-1", &node.PublicKey)
	require.NoError(t, err)
	r := &logRig{key: key, node: node, trust: &ledger.TrustFile{
		Instance: instance, Origin: origin, Mode: "development", LogKeys: []string{key.VerifierKey},
		NodeKeys: []ledger.NodeKey{public}, CreatedAt: time.Now().UTC(),
	}}
	at := time.Date(2026, 11, 23, 0, 0, 0, 0, time.UTC)
	for i := range 300 {
		e := &ledger.Entry{
			Type: "ledger.heartbeat", Actor: identity.Principal{Kind: identity.Node, ID: "node-1"}, Outcome: ledger.Done,
			Seq: uint64(i), At: at.Add(time.Duration(i) * time.Second), Epoch: 1, Salt: [16]byte{salt, byte(i), byte(i >> 8), 1},
			Link: &ledger.Link{Number: uint64(i), Prev: uint64(max(0, i-1))},
		}
		if i == 0 {
			e.Type, e.Target, e.Detail = "genesis", ledger.Target{Type: "instance", ID: instance}, []byte(`{"instance":"`+instance+`"}`)
		}
		require.NoError(t, ledger.Validate(e))
		r.entries = append(r.entries, ledger.AppendCanonical(nil, e))
	}
	return r
}

func (r *logRig) tree(size int) *ledger.Tree {
	tree := ledger.NewTree()
	for _, e := range r.entries[:size] {
		tree.Append(ledger.LeafHash(e))
	}
	return tree
}

func (r *logRig) checkpoint(t *testing.T, size int) []byte {
	tree := r.tree(size)
	note, err := ledger.SignHead(r.key.Signer, r.trust.Origin, ledger.Head{
		Size: uint64(size), Root: tree.Root(), Epoch: 1, ControlCount: uint64(size), ControlLast: uint64(size - 1),
	})
	if err != nil {
		t.Error(err)
	}
	return note
}

func (r *logRig) handler(t *testing.T) http.HandlerFunc {
	return func(w http.ResponseWriter, q *http.Request) {
		size := int(r.shown.Load())
		path := strings.TrimPrefix(q.URL.Path, "/v1/ledger/")
		switch {
		case path == "checkpoint":
			_, _ = w.Write(r.checkpoint(t, size))
		case path == "progress":
			out := api.Progress{Checkpoint: string(r.checkpoint(t, size)), Size: uint64(size)}
			for text := range strings.SplitSeq(q.URL.Query().Get("from"), ",") {
				from, _ := strconv.ParseUint(text, 10, 64)
				proof, err := ledger.ProveConsistency(q.Context(), r.tree(size), nil, from, uint64(size))
				if from == 0 || err != nil { // the service leaves out what it can not prove
					continue
				}
				one := api.ProgressProof{From: from}
				for _, h := range proof {
					one.Hashes = append(one.Hashes, h[:])
				}
				out.Proofs = append(out.Proofs, one)
			}
			answer(w, out)
		case path == "proof/consistency":
			from, _ := strconv.ParseUint(q.URL.Query().Get("from"), 10, 64)
			to, _ := strconv.ParseUint(q.URL.Query().Get("to"), 10, 64)
			proof, err := ledger.ProveConsistency(q.Context(), r.tree(size), nil, from, to)
			if err != nil {
				refuse(w, api.Problem{Status: 400, Code: "invalid_field", Detail: err.Error()})
				return
			}
			var out api.Proof
			for _, h := range proof {
				out.Hashes = append(out.Hashes, h[:])
			}
			answer(w, out)
		case path == ledger.EntriesPath(0, ledger.TileWidth), path == ledger.EntriesPath(1, size-ledger.TileWidth):
			from := 0
			if strings.Contains(path, "001") {
				from = ledger.TileWidth
			}
			var b []byte
			for _, e := range r.entries[from:min(size, from+ledger.TileWidth)] {
				b, _ = ledger.AppendBundle(b, e)
			}
			_, _ = w.Write(b)
		default:
			tree := r.tree(size)
			for _, tile := range tree.TakeFullTiles() {
				if path == ledger.TilePath(tile.Level, uint64(tile.Index), ledger.TileWidth) {
					_, _ = w.Write(tile.Data)
					return
				}
			}
			for level := range 2 {
				data := tree.PartialTile(level)
				if data != nil && path == ledger.TilePath(level, tree.Size()>>(8*(level+1)), len(data)/32) {
					_, _ = w.Write(data)
					return
				}
			}
			refuse(w, api.Problem{Status: 404, Code: "not_found"})
		}
	}
}

func TestInvariant09_ClientRemembersTheHighestCheckpoint(t *testing.T) {
	log := newLog(t, 1)
	c, dir := serve(t, log.handler(t), nil), t.TempDir()
	for _, size := range []int64{100, 100, 250} {
		log.shown.Store(size)
		head, _, err := c.CheckLedger(t.Context(), log.trust, dir)
		require.NoError(t, err)
		require.EqualValues(t, size, head.Size)
	}
	log.shown.Store(200)
	_, _, err := c.CheckLedger(t.Context(), log.trust, dir)
	require.ErrorIs(t, err, ledger.ErrRollback)

	// Another history under the same log key.
	fork := newLog(t, 2)
	fork.key, fork.trust = log.key, log.trust
	fork.shown.Store(300)
	other := serve(t, fork.handler(t), nil)
	_, _, err = other.CheckLedger(t.Context(), log.trust, dir)
	require.ErrorIs(t, err, ledger.ErrFork)

	seen, any, err := client.HighestSeen(log.trust, dir)
	require.NoError(t, err)
	require.True(t, any)
	require.EqualValues(t, 250, seen.Size, "a refused checkpoint leaves the mark alone")
}

func TestInvariant09_LeastCheckpointCountsFromTheFirstAnswer(t *testing.T) {
	log := newLog(t, 1)
	log.trust.Least = string(log.checkpoint(t, 200))
	c := serve(t, log.handler(t), nil)
	log.shown.Store(150)
	_, _, err := c.CheckLedger(t.Context(), log.trust, t.TempDir())
	require.ErrorIs(t, err, ledger.ErrRollback)
	log.shown.Store(300)
	_, _, err = c.CheckLedger(t.Context(), log.trust, t.TempDir())
	require.NoError(t, err)
}

func TestInvariant09_ForeignLogKeyIsRefused(t *testing.T) {
	log, other := newLog(t, 1), newLog(t, 1)
	log.shown.Store(10)
	_, _, err := serve(t, log.handler(t), nil).CheckLedger(t.Context(), other.trust, t.TempDir())
	require.ErrorIs(t, err, ledger.ErrSignature)
}

func TestLedgerIsVerifiedAndExportedOnline(t *testing.T) {
	log := newLog(t, 1)
	log.shown.Store(300)
	c := serve(t, log.handler(t), nil)
	report, err := ledger.Verify(t.Context(), ledger.VerifyInput{Source: c.LogSource(), Trust: log.trust})
	require.NoError(t, err)
	require.True(t, report.Anchored)
	require.EqualValues(t, 300, report.Size)

	dir := filepath.Join(t.TempDir(), "copy")
	keys, err := log.trust.Chain()
	require.NoError(t, err)
	require.NoError(t, ledger.ExportDir(t.Context(), dir, ledger.Export{
		Checkpoint: log.checkpoint(t, 300), Keys: keys, Entries: c.EntrySource(300),
	}))
	_, err = ledger.VerifyDir(t.Context(), dir, ledger.VerifyInput{Trust: log.trust})
	require.NoError(t, err)
}

func TestLedgerWithDeletedEntriesIsVerifiedAndExportedOnline(t *testing.T) {
	log := newLog(t, 1)
	last, err := ledger.Decode(log.entries[299])
	require.NoError(t, err)
	last.Type, last.Ceremony, last.Detail = ledger.DeletionType, "01DELETED", []byte(`{"from":0,"to":256}`)
	last.Target = ledger.Target{Type: ledger.SegmentTarget, ID: "seg-0"}
	require.NoError(t, ledger.Validate(last))
	log.entries[299] = ledger.AppendCanonical(nil, last)
	log.shown.Store(300)
	gone := api.DeletedEntries{From: 0, To: 256, Ceremony: "01DELETED"}
	kept := 256
	whole := log.handler(t)
	c := serve(t, func(w http.ResponseWriter, q *http.Request) {
		switch strings.TrimPrefix(q.URL.Path, "/v1/ledger/") {
		case ledger.EntriesPath(0, ledger.TileWidth):
			refuse(w, api.Problem{Status: http.StatusGone, Code: api.CodeEntriesDeleted, Deleted: &gone})
		case ledger.KeptPath(0):
			var b []byte
			for _, e := range log.entries[:kept] {
				b, _ = ledger.AppendBundle(b, e)
			}
			_, _ = w.Write(b)
		default:
			whole(w, q)
		}
	}, nil)
	report, err := ledger.Verify(t.Context(), ledger.VerifyInput{Source: c.LogSource(), Trust: log.trust})
	require.NoError(t, err)
	require.Equal(t, []ledger.Deletion{{Seq: 299, Segment: "seg-0", Ceremony: "01DELETED", From: 0, To: 256}}, report.Deleted)

	var refused *ledger.DeletedError
	require.ErrorAs(t, c.EntrySource(300).ReadEntries(t.Context(), 0, 300, nil), &refused)
	require.Equal(t, &ledger.DeletedError{From: 0, To: 256, By: "01DELETED"}, refused)
	_, err = c.LogSource().ReadFile(t.Context(), ledger.EntriesPath(0, ledger.TileWidth))
	require.ErrorIs(t, err, fs.ErrNotExist)

	keys, err := log.trust.Chain()
	require.NoError(t, err)
	in := ledger.Export{Checkpoint: log.checkpoint(t, 300), Keys: keys, Entries: c.EntrySource(300), Remains: c.LogSource()}
	dir := filepath.Join(t.TempDir(), "copy")
	require.NoError(t, ledger.ExportDir(t.Context(), dir, in))
	_, err = ledger.VerifyDir(t.Context(), dir, ledger.VerifyInput{Trust: log.trust})
	require.NoError(t, err)

	// A service that says more than it may: a range that holds no group, or the record of a control entry less.
	gone = api.DeletedEntries{From: 512, To: 768}
	require.ErrorAs(t, ledger.ExportDir(t.Context(), filepath.Join(t.TempDir(), "copy"), in), &refused)
	kept = 255
	_, err = ledger.Verify(t.Context(), ledger.VerifyInput{Source: c.LogSource(), Trust: log.trust})
	require.ErrorIs(t, err, ledger.ErrTruncated)
}

// collectorOf is a collector key as a node states it.
func collectorOf(t *testing.T, signer *ecdsa.PrivateKey, node, of string) (api.Collector, *shamir.OpeningKey) {
	t.Helper()
	opening, err := shamir.NewOpeningKey()
	require.NoError(t, err)
	public, err := opening.Public().JSON()
	require.NoError(t, err)
	payload, err := json.Marshal(api.CollectorKey{Instance: of, Node: node, Boot: "b1", Key: public, At: time.Now().UTC()})
	require.NoError(t, err)
	s, err := dsse.NewSigner(signer)
	require.NoError(t, err)
	envelope, err := dsse.Sign(s, statement.TypeCollector, payload)
	require.NoError(t, err)
	return api.Collector{Envelope: envelope}, opening
}

func TestInvariant04_SwappedCollectorKeyIsRefused(t *testing.T) {
	log := newLog(t, 1)
	good, opening := collectorOf(t, log.node, "node-1", instance)
	key, recipient, err := client.VerifyCollector(log.trust, good)
	require.NoError(t, err)
	require.Equal(t, "node-1", key.Node)
	require.Equal(t, opening.KeyID(), recipient.KeyID)

	stranger, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	swapped, _ := collectorOf(t, stranger, "node-1", instance)
	_, _, err = client.VerifyCollector(log.trust, swapped)
	require.ErrorIs(t, err, client.ErrNotPinned)

	posing, _ := collectorOf(t, log.node, "node-2", instance)
	_, _, err = client.VerifyCollector(log.trust, posing)
	require.ErrorIs(t, err, client.ErrNotPinned)

	foreign, _ := collectorOf(t, log.node, "node-1", strings.Repeat("f", 64))
	_, _, err = client.VerifyCollector(log.trust, foreign)
	require.ErrorIs(t, err, client.ErrOtherPlace)

	_, _, err = client.VerifyCollector(log.trust, api.Collector{Envelope: json.RawMessage(`{}`)})
	require.ErrorIs(t, err, dsse.ErrEnvelope)
}
