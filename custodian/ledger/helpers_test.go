package ledger_test

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/mod/sumdb/tlog"

	"conclave/custodian/identity"
	"conclave/custodian/ledger"
)

// testLog is a log in memory, written as the committer writes it.
type testLog struct {
	t        testing.TB
	instance string
	origin   string
	key      *ledger.LogKey
	entries  []*ledger.Entry
	raws     [][]byte
	pinned   string   // the first log key
	handed   []string // handovers to the others
	control  uint64
	last     uint64
	epoch    uint64
}

func newTestLog(t testing.TB, n int) *testLog {
	t.Helper()
	digest := sha256.Sum256(random(t, 32))
	instance := hex.EncodeToString(digest[:])
	origin, err := ledger.Origin(instance)
	require.NoError(t, err)
	key, err := ledger.GenerateLogKey(filepath.Join(t.TempDir(), "log.key"), origin)
	require.NoError(t, err)
	l := &testLog{t: t, instance: instance, origin: origin, key: key, pinned: key.VerifierKey}
	l.grow(n)
	return l
}

// fork is another log of the same instance and key that shares the first n entries.
func (l *testLog) fork(n int) *testLog {
	f := &testLog{t: l.t, instance: l.instance, origin: l.origin, key: l.key, pinned: l.key.VerifierKey}
	for i := range n {
		f.add(*l.entries[i])
	}
	return f
}

func (l *testLog) grow(n int) {
	for len(l.raws) < n {
		e := dataEntry(l.t)
		if seq := len(l.raws); seq == 0 {
			e.Type, e.Target, e.Outcome = "genesis", ledger.Target{Type: "instance", ID: l.instance}, ledger.Done
			e.Link = &ledger.Link{}
		} else if seq%7 == 3 {
			l.epoch++
			e.Type, e.Outcome = "grant.create", ledger.Done
			e.Rows = []ledger.RowChange{{Kind: "grant", ID: "g", Revision: l.epoch, Hash: sha256.Sum256([]byte{1})}}
			e.Link = &ledger.Link{Number: l.control, Prev: l.last}
		}
		e.Epoch = l.epoch
		e.At = time.UnixMicro(1_790_000_000_000_000 + int64(len(l.raws))).UTC()
		l.add(e)
	}
}

// idle grows as grow does, without a change of authority.
func (l *testLog) idle(n int) {
	for len(l.raws) < n {
		e := dataEntry(l.t)
		e.Epoch, e.At = l.epoch, time.UnixMicro(1_790_000_000_000_000+int64(len(l.raws))).UTC()
		l.add(e)
	}
}

func (l *testLog) add(e ledger.Entry) {
	e.Seq = uint64(len(l.raws))
	if e.Link != nil {
		l.control++
		l.last = e.Seq
	}
	require.NoError(l.t, ledger.Validate(&e))
	l.entries = append(l.entries, &e)
	l.raws = append(l.raws, ledger.AppendCanonical(nil, &e))
}

func (l *testLog) tree() *ledger.Tree {
	tree := ledger.NewTree()
	for _, raw := range l.raws {
		tree.Append(ledger.LeafHash(raw))
	}
	return tree
}

func (l *testLog) head() ledger.Head {
	tree := l.tree()
	return ledger.Head{
		Size: tree.Size(), Root: tree.Root(),
		Epoch: l.epoch, ControlCount: l.control, ControlLast: l.last,
	}
}

// rotate replaces the log key as the committer does: an entry, then a head that both sign.
func (l *testLog) rotate() {
	l.t.Helper()
	next, err := ledger.GenerateLogKey(filepath.Join(l.t.TempDir(), "log.key"), l.origin)
	require.NoError(l.t, err)
	l.announce(l.key.VerifierKey, next.VerifierKey)
	l.handed = append(l.handed, l.handover(l.key, next))
	l.key = next
}

// announce appends the entry that replaces a log key.
func (l *testLog) announce(from, to string) {
	e := dataEntry(l.t)
	detail, err := json.Marshal(ledger.RotationDetail(from, to))
	require.NoError(l.t, err)
	e.Type, e.Outcome, e.Detail, e.Epoch = ledger.RotationType, ledger.Done, detail, l.epoch
	e.Link = &ledger.Link{Number: l.control, Prev: l.last}
	e.At = time.UnixMicro(1_790_000_000_000_000 + int64(len(l.raws))).UTC()
	l.add(e)
}

// handover is the checkpoint as it stands, handing the log over, signed by two keys.
func (l *testLog) handover(from, to *ledger.LogKey) string {
	head := l.head()
	head.Next = to.VerifierKey
	signed, err := ledger.SignHead(from.Signer, l.origin, head, to.Signer)
	require.NoError(l.t, err)
	return string(signed)
}

func (l *testLog) chain() *ledger.KeyChain {
	first, err := ledger.NewKeyChain(l.origin, l.pinned)
	require.NoError(l.t, err)
	chain, err := first.Follow(l.handed...)
	require.NoError(l.t, err)
	return chain
}

func (l *testLog) checkpoint() []byte {
	signed, err := ledger.SignHead(l.key.Signer, l.origin, l.head())
	require.NoError(l.t, err)
	return signed
}

// trust pins the log as it stands.
func (l *testLog) trust() *ledger.TrustFile {
	return &ledger.TrustFile{
		Instance: l.instance, Origin: l.origin, Mode: "production", LogKeys: l.chain().Keys(), Handovers: slices.Clone(l.handed),
		Least: string(l.checkpoint()), CreatedAt: time.UnixMicro(1_790_000_000_000_000).UTC(),
	}
}

// ReadEntries implements ledger.EntrySource.
func (l *testLog) ReadEntries(_ context.Context, from, to uint64, fn func(uint64, []byte) error) error {
	for seq := from; seq < to && seq < uint64(len(l.raws)); seq++ {
		if err := fn(seq, l.raws[seq]); err != nil {
			return err
		}
	}
	return nil
}

func (l *testLog) export() string {
	l.t.Helper()
	dir := filepath.Join(l.t.TempDir(), "export")
	require.NoError(l.t, ledger.ExportDir(l.t.Context(), dir, ledger.Export{
		Checkpoint: l.checkpoint(), Keys: l.chain(), Entries: l,
	}))
	return dir
}

// memoryTiles implements ledger.TileSource.
type memoryTiles map[[2]int64][]byte

func (m memoryTiles) store(tiles []ledger.Tile) {
	for _, t := range tiles {
		m[[2]int64{int64(t.Level), t.Index}] = t.Data
	}
}

func (m memoryTiles) ReadTile(_ context.Context, level int, index int64) ([]byte, error) {
	data, ok := m[[2]int64{int64(level), index}]
	if !ok {
		return nil, ledger.ErrTileMissing
	}
	return data, nil
}

func dataEntry(t testing.TB) ledger.Entry {
	e := ledger.Entry{
		Type: "key.use.datakey",
		Actor: identity.Principal{
			Kind: identity.Application, ID: "payments", Credential: "tk_7Q2M4XK9",
			Origin: "10.20.30.40", RequestID: "01K9V3Q0T8M4XJ2C6R5N7W1YZB",
		},
		Node:    "node-1",
		Target:  ledger.Target{Type: "key", ID: "cardholder-pan", Version: 3},
		Outcome: ledger.Allow,
		Policy:  "0f1e2d3c4b5a69788796a5b4c3d2e1f0",
		Context: "q83vASNFZ4mrze8BI0VniavN7wEjRWeJq83vASNFZ4k",
	}
	copy(e.Salt[:], random(t, 16))
	return e
}

func random(t testing.TB, n int) []byte {
	b := make([]byte, n)
	_, err := rand.Read(b)
	require.NoError(t, err)
	return b
}

func leaf(i int) tlog.Hash { return ledger.LeafHash([]byte{byte(i), byte(i >> 8), byte(i >> 16)}) }
