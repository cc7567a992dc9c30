package witness_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/mod/sumdb/tlog"

	"conclave/app/witness"
	"conclave/custodian/clock"
	"conclave/custodian/ledger"
)

// log is a log in memory: leaves, and the checkpoints of any size of it.
type log struct {
	t      *testing.T
	key    *ledger.LogKey
	origin string
	leaves []string
}

func (l *log) reader() tlog.HashReader {
	var stored []tlog.Hash
	r := tlog.HashReaderFunc(func(indexes []int64) ([]tlog.Hash, error) {
		out := make([]tlog.Hash, len(indexes))
		for i, n := range indexes {
			out[i] = stored[n]
		}
		return out, nil
	})
	for i, leaf := range l.leaves {
		hashes, err := tlog.StoredHashes(int64(i), []byte(leaf), r)
		require.NoError(l.t, err)
		stored = append(stored, hashes...)
	}
	return r
}

func (l *log) checkpoint(size int) []byte {
	root, err := tlog.TreeHash(int64(size), l.reader())
	require.NoError(l.t, err)
	signed, err := ledger.SignHead(l.key.Signer, l.origin, ledger.Head{Size: uint64(size), Root: root, ControlCount: 1})
	require.NoError(l.t, err)
	return signed
}

func (l *log) prove(_ context.Context, older, newer uint64) (tlog.TreeProof, error) {
	return tlog.ProveTree(int64(newer), int64(older), l.reader())
}

func (l *log) fork(n int) *log {
	f := *l
	f.leaves = append(append([]string{}, l.leaves[:n]...), "another entry", "and another", "and another", "and another", "and another", "and another")
	return &f
}

// world is a log and its witness.
type world struct {
	*log
	trust   *ledger.TrustFile
	dir     string
	witness *ledger.Witness
	server  *httptest.Server
}

func newWorld(t *testing.T) *world {
	t.Helper()
	id := sha256.Sum256([]byte(t.Name()))
	instance := hex.EncodeToString(id[:])
	origin, err := ledger.Origin(instance)
	require.NoError(t, err)
	key, err := ledger.GenerateLogKey(filepath.Join(t.TempDir(), "log.key"), origin)
	require.NoError(t, err)
	w := &world{log: &log{t: t, key: key, origin: origin, leaves: strings.Split("abcdefghijklmnopqrst", "")}, dir: t.TempDir()}
	w.trust = &ledger.TrustFile{Instance: instance, Origin: origin, Mode: "production", LogKeys: []string{key.VerifierKey}, CreatedAt: time.Now()}
	path := filepath.Join(w.dir, "witness.key")
	_, err = ledger.GenerateWitness(path, "witness.example/audit")
	require.NoError(t, err)
	w.witness, err = ledger.LoadWitness(path)
	require.NoError(t, err)
	w.start(t)
	return w
}

// start begins or restarts the witness on what it kept.
func (w *world) start(t *testing.T) {
	t.Helper()
	if w.server != nil {
		w.server.Close()
	}
	s, err := witness.New(w.trust, w.witness, w.dir, clock.NewManual(time.Unix(1_790_000_000, 0)), slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	w.server = httptest.NewServer(s.Handler())
	t.Cleanup(w.server.Close)
}

func (w *world) submit(t *testing.T, l *log, size int, last uint64) ([]byte, error) {
	t.Helper()
	return witness.NewClient(w.witness.Key, w.server.URL, nil).Submit(t.Context(), l.checkpoint(size), uint64(size), last, l.prove)
}

// post sends raw bytes.
func (w *world) post(t *testing.T, body string) (int, string) {
	t.Helper()
	res, err := http.Post(w.server.URL+"/add-checkpoint", "text/plain", strings.NewReader(body))
	require.NoError(t, err)
	defer res.Body.Close()
	answer, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	return res.StatusCode, string(answer)
}

// A log that grows is cosigned each time, across a restart of the witness; what it signs verifies by its key alone.
func TestInvariant09_WitnessCosignsWhatContinues(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for i, size := range []int{3, 7, 7, 16, 20} {
		signed, err := w.submit(t, w.log, size, 0) // 0: the client learns from the answer what was seen last
		require.NoError(t, err)
		found, err := ledger.Cosignatures(signed, []*ledger.WitnessKey{w.witness.Key})
		require.NoError(t, err)
		require.Equal(t, []ledger.Cosignature{{Witness: "witness.example/audit", At: time.Unix(1_790_000_000, 0).UTC()}}, found)
		_, err = ledger.OpenHead(signed, w.origin, w.key.Verifier)
		require.NoError(t, err, "the log's own signature stays")
		if i == 2 {
			w.start(t)
		}
	}
	key, err := ledger.ParseWitnessKey(w.witness.Key.String())
	require.NoError(t, err)
	require.Equal(t, w.witness.Key, key)
	require.NotContains(t, w.witness.String(), "PRIVATE")
}

// A fork is refused at the same size and at a larger one, with or without a proof, and kept as evidence; a log that was
// set back learns so.
func TestInvariant09_WitnessRefusesForkAndRollback(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	_, err := w.submit(t, w.log, 12, 0)
	require.NoError(t, err)
	forked := w.fork(8)
	_, err = w.submit(t, forked, 12, 12)
	require.ErrorIs(t, err, witness.ErrRefused)
	_, err = w.submit(t, forked, 14, 12)
	require.ErrorIs(t, err, witness.ErrRefused)
	_, err = w.submit(t, w.log, 9, 0)
	require.ErrorIs(t, err, witness.ErrAhead)
	kept, err := os.ReadFile(filepath.Join(w.dir, "refused-14"))
	require.NoError(t, err)
	require.Equal(t, forked.checkpoint(14), kept)
	_, err = w.submit(t, w.log, 13, 12)
	require.NoError(t, err, "the genuine log goes on")
}

// What the trust file pins counts as seen from the first request on.
func TestTrustFilesCheckpointWasSeen(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.trust.Least = string(w.checkpoint(10))
	w.start(t)
	_, err := w.submit(t, w.fork(4), 10, 0)
	require.ErrorIs(t, err, witness.ErrRefused)
	_, err = w.submit(t, w.log, 11, 0)
	require.NoError(t, err)
}

// The answers are those of C2SP tlog-witness, for whatever is sent.
func TestWitnessAnswersAsTheProtocolSays(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	_, err := w.submit(t, w.log, 5, 0)
	require.NoError(t, err)
	other := newWorldLog(t)
	stranger := *w.log
	stranger.key = other.key
	for name, c := range map[string]struct {
		body   string
		status int
		answer string
	}{
		"nonsense":       {"hello", 400, ""},
		"no old":         {"new 5\n\n" + string(w.checkpoint(6)), 400, ""},
		"leading zero":   {"old 05\n\n" + string(w.checkpoint(6)), 400, ""},
		"old over size":  {"old 9\n\n" + string(w.checkpoint(6)), 400, ""},
		"bad hash":       {"old 5\nxx\n\n" + string(w.checkpoint(6)), 400, ""},
		"proof of zero":  {"old 0\nAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n\n" + string(w.checkpoint(6)), 400, ""},
		"unknown log":    {"old 0\n\n" + string(other.checkpoint(3)), 404, ""},
		"foreign key":    {"old 5\n\n" + string(stranger.checkpoint(6)), 404, ""},
		"another size":   {"old 3\n\n" + string(w.checkpoint(6)), 409, "5\n"},
		"no proof":       {"old 5\n\n" + string(w.checkpoint(6)), 422, ""},
		"unsigned":       {"old 5\n\n" + strings.SplitAfter(string(w.checkpoint(6)), "\n\n")[0], 400, ""},
		"seen last":      {"old 5\n\n" + string(w.checkpoint(5)), 200, ""},
		"far too long":   {"old 5\n\n" + strings.Repeat("x", 200_000), 400, ""},
		"too many lines": {"old 5\n" + strings.Repeat("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n", 64) + "\n" + string(w.checkpoint(6)), 400, ""},
	} {
		if name == "foreign key" {
			c.status = 403
		}
		status, answer := w.post(t, c.body)
		require.Equal(t, c.status, status, "%s: %s", name, answer)
		if c.answer != "" {
			require.Equal(t, c.answer, answer, name)
		}
	}
}

func newWorldLog(t *testing.T) *log {
	t.Helper()
	id := sha256.Sum256([]byte("another instance"))
	origin, err := ledger.Origin(hex.EncodeToString(id[:]))
	require.NoError(t, err)
	key, err := ledger.GenerateLogKey(filepath.Join(t.TempDir(), "log.key"), origin)
	require.NoError(t, err)
	return &log{t: t, key: key, origin: origin, leaves: strings.Split("abc", "")}
}

// A witness's key is refused in any form but its own.
func TestWitnessKeysAreParsedStrictly(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	good := w.witness.Key.String()
	for _, bad := range []string{"", "a+b", w.key.VerifierKey, good + "=", "x" + good, strings.Replace(good, "audit", "other", 1)} {
		_, err := ledger.ParseWitnessKey(bad)
		require.ErrorIs(t, err, ledger.ErrWitnessKey, bad)
	}
	require.NoError(t, os.Chmod(filepath.Join(w.dir, "witness.key"), 0o644))
	_, err := ledger.LoadWitness(filepath.Join(w.dir, "witness.key"))
	require.Error(t, err)
	_, err = ledger.GenerateWitness(filepath.Join(w.dir, "witness.key"), "again")
	require.Error(t, err, "an existing key is never replaced")
}

// A witness follows the log key to its successor by the handover alone, across a restart, and then takes nothing of the old
// key any more.
func TestInvariant09_WitnessFollowsTheLogKey(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	_, err := w.submit(t, w.log, 3, 0)
	require.NoError(t, err)
	old := *w.log
	next, err := ledger.GenerateLogKey(filepath.Join(t.TempDir(), "log.key"), w.origin)
	require.NoError(t, err)
	head, err := ledger.OpenHead(w.checkpoint(7), w.origin, w.key.Verifier)
	require.NoError(t, err)
	head.Next = next.VerifierKey
	handover, err := ledger.SignHead(w.key.Signer, w.origin, head, next.Signer)
	require.NoError(t, err)
	w.log.key = next

	_, err = w.submit(t, w.log, 12, 3)
	require.ErrorIs(t, err, witness.ErrUnknownKey)
	client := witness.NewClient(w.witness.Key, w.server.URL, nil)
	_, err = client.Submit(t.Context(), handover, 7, 3, w.prove)
	require.NoError(t, err)
	_, err = w.submit(t, w.log, 12, 7)
	require.NoError(t, err)
	w.start(t)
	_, err = w.submit(t, w.log, 16, 12)
	require.NoError(t, err)
	_, err = w.submit(t, &old, 20, 16)
	require.ErrorIs(t, err, witness.ErrUnknownKey, "the old key signs nothing more")
}
