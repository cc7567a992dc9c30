package ledger_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"conclave/custodian/ledger"
)

func TestLogKeyFile(t *testing.T) {
	l := newTestLog(t, 1)
	path := filepath.Join(t.TempDir(), "log.key")
	made, err := ledger.GenerateLogKey(path, l.origin)
	require.NoError(t, err)
	loaded, err := ledger.LoadLogKey(path)
	require.NoError(t, err)
	require.Equal(t, made.VerifierKey, loaded.VerifierKey)
	sig, err := loaded.Signer.Sign([]byte("x"))
	require.NoError(t, err)
	require.True(t, made.Verifier.Verify([]byte("x"), sig))

	text, err := os.ReadFile(path)
	require.NoError(t, err)
	signer, err := note.NewSigner(strings.TrimSpace(string(text)))
	require.NoError(t, err, "the file is a standard note signer key")
	require.Equal(t, l.origin, signer.Name())
	private := strings.SplitN(strings.TrimSpace(string(text)), "+", 5)[4] // base64 may hold a plus too
	for _, shown := range []string{fmt.Sprint(loaded), fmt.Sprintf("%+v", loaded), fmt.Sprintf("%#v", loaded), fmt.Sprintf("%+v", *loaded)} {
		require.NotContains(t, shown, private)
	}

	_, err = ledger.GenerateLogKey(path, l.origin)
	require.ErrorIs(t, err, os.ErrExist, "never replaced")
	_, err = ledger.GenerateLogKey(filepath.Join(t.TempDir(), "k"), "elsewhere")
	require.Error(t, err)
	for _, mode := range []os.FileMode{0o640, 0o604, 0o620, 0o666} {
		require.NoError(t, os.Chmod(path, mode))
		_, err = ledger.LoadLogKey(path)
		require.ErrorIs(t, err, ledger.ErrLogKey, "mode %o", mode)
	}
	require.NoError(t, os.Chmod(path, 0o600))
	link := filepath.Join(t.TempDir(), "link")
	require.NoError(t, os.Symlink(path, link))
	_, err = ledger.LoadLogKey(link)
	require.Error(t, err)
	_, err = ledger.LoadLogKey(t.TempDir())
	require.ErrorIs(t, err, ledger.ErrLogKey)

	for _, bad := range []string{
		"", "x", string(text[:len(text)-1]), string(text) + "\n", strings.Replace(string(text), "PRIVATE", "PUBLIC", 1),
		strings.Replace(string(text), "conclave/", "c0nclave/", 1), strings.Repeat("x", 4096),
		strings.Replace(string(text), private, private[:20], 1),
		strings.Replace(string(text), "+"+fmt.Sprintf("%08x", made.Verifier.KeyHash())+"+", "+00000000+", 1),
	} {
		require.NoError(t, os.WriteFile(path, []byte(bad), 0o600))
		_, err = ledger.LoadLogKey(path)
		require.ErrorIs(t, err, ledger.ErrLogKey, "%q", bad)
	}
}

func TestCheckpoints(t *testing.T) {
	l, other := newTestLog(t, 20), newTestLog(t, 20)
	signed := l.checkpoint()
	head, err := ledger.OpenHead(signed, l.origin, l.key.Verifier)
	require.NoError(t, err)
	require.Equal(t, l.head(), head)

	lines := strings.Split(string(signed), "\n")
	require.Equal(t, l.origin, lines[0])
	require.Equal(t, "20", lines[1])
	require.Equal(t, "authority 3 4 17", lines[3])

	_, err = ledger.OpenHead(signed, l.origin, other.key.Verifier)
	require.ErrorIs(t, err, ledger.ErrSignature)
	_, err = ledger.OpenHead(signed, l.origin)
	require.ErrorIs(t, err, ledger.ErrSignature)
	_, err = ledger.OpenHead(signed, other.origin, l.key.Verifier)
	require.ErrorIs(t, err, ledger.ErrForeign)
	_, err = ledger.OpenHead(bytes.Replace(signed, []byte("\n20\n"), []byte("\n21\n"), 1), l.origin, l.key.Verifier)
	require.ErrorIs(t, err, ledger.ErrSignature)
	_, err = ledger.OpenHead(bytes.Repeat(signed, 1000), l.origin, l.key.Verifier)
	require.ErrorIs(t, err, ledger.ErrCheckpoint)

	text := strings.Join(lines[:4], "\n") + "\n"
	for _, bad := range []string{
		strings.Replace(text, "\n20\n", "\n020\n", 1), strings.Replace(text, "authority", "Authority", 1),
		strings.Replace(text, "authority 3 4 17", "authority 3 4 20", 1), strings.Replace(text, "authority 3 4 17", "authority 3 21 17", 1),
		strings.Replace(text, "authority 3 4 17", "authority 3 4 17 ", 1), text + "more\n", strings.Join(lines[:3], "\n") + "\n",
		strings.Replace(text, "authority 3 4 17", "authority 3 4 18446744073709551616", 1),
		strings.Replace(text, "=", "", 1), strings.Replace(text, "conclave", "conclav3", 1),
	} {
		signed, err := note.Sign(&note.Note{Text: bad}, l.key.Signer)
		require.NoError(t, err)
		_, err = ledger.OpenHead(signed, l.origin, l.key.Verifier)
		require.ErrorIs(t, err, ledger.ErrCheckpoint, bad)
	}
	_, err = ledger.Origin("ABCD")
	require.Error(t, err)
}

func FuzzOpenHead(f *testing.F) {
	l := newTestLog(f, 3)
	f.Add(l.checkpoint())
	f.Add([]byte(l.origin + "\n1\n\n— x y\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if head, err := ledger.OpenHead(b, l.origin, l.key.Verifier); err == nil && head != l.head() {
			t.Fatalf("accepted %q", b)
		}
	})
}

func TestTrustFile(t *testing.T) {
	l := newTestLog(t, 5)
	trust := l.trust()
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	ed, _, err := ed25519.GenerateKey(nil)
	require.NoError(t, err)
	for i, public := range []any{&ec.PublicKey, ed} {
		k, err := ledger.NewNodeKey(fmt.Sprint("node-", i), public)
		require.NoError(t, err)
		back, err := k.Public()
		require.NoError(t, err)
		require.Equal(t, public, back)
		trust.NodeKeys = append(trust.NodeKeys, k)
	}
	path := filepath.Join(t.TempDir(), "trust.json")
	require.NoError(t, trust.Save(path))
	loaded, err := ledger.LoadTrustFile(path)
	require.NoError(t, err)
	require.Equal(t, trust, loaded)
	head, pinned, err := loaded.LeastHead()
	require.NoError(t, err)
	require.True(t, pinned)
	require.Equal(t, l.head(), head)

	other := newTestLog(t, 5)
	for name, spoil := range map[string]func(*ledger.TrustFile){
		"instance":    func(t *ledger.TrustFile) { t.Instance = "x" },
		"origin":      func(t *ledger.TrustFile) { t.Origin = other.origin },
		"no keys":     func(t *ledger.TrustFile) { t.LogKeys = nil },
		"foreign key": func(t *ledger.TrustFile) { t.LogKeys = []string{other.key.VerifierKey} },
		"broken key":  func(t *ledger.TrustFile) { t.LogKeys = []string{"x"}; t.Least = "" },
		"mode":        func(t *ledger.TrustFile) { t.Mode = "" },
		"checkpoint":  func(t *ledger.TrustFile) { t.Least = string(other.checkpoint()) },
		"no time":     func(t *ledger.TrustFile) { t.CreatedAt = ledger.Entry{}.At },
		"node key id": func(t *ledger.TrustFile) { t.NodeKeys = []ledger.NodeKey{{}} },
		"node key": func(t *ledger.TrustFile) {
			t.NodeKeys = []ledger.NodeKey{{Kid: "n", Kty: "EC", Crv: "P-256", X: "AA", Y: "AA"}}
		},
		"node key point":  func(t *ledger.TrustFile) { k := trust.NodeKeys[0]; k.X = k.Y; t.NodeKeys = []ledger.NodeKey{k} },
		"node key family": func(t *ledger.TrustFile) { k := trust.NodeKeys[1]; k.Kty = "oct"; t.NodeKeys = []ledger.NodeKey{k} },
	} {
		bad := *trust
		spoil(&bad)
		_, err := bad.Encode()
		require.ErrorIs(t, err, ledger.ErrTrustFile, name)
	}
	text, err := trust.Encode()
	require.NoError(t, err)
	for _, bad := range []string{
		"", "null", "{}", strings.Replace(string(text), `"mode"`, `"extra": 1, "mode"`, 1),
		strings.Replace(string(text), `"mode"`, `"mode": "production", "mode"`, 1),
		strings.Replace(string(text), `"kty": "EC"`, `"kty": "EC", "d": "AAAA"`, 1), string(text) + "{}", strings.Repeat(" ", 1<<21),
	} {
		_, err := ledger.ParseTrustFile([]byte(bad))
		require.ErrorIs(t, err, ledger.ErrTrustFile)
	}
}

func FuzzParseTrustFile(f *testing.F) {
	l := newTestLog(f, 2)
	text, err := l.trust().Encode()
	require.NoError(f, err)
	f.Add(text)
	f.Add([]byte(`{"instance":"","log_keys":[""]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		trust, err := ledger.ParseTrustFile(b)
		if err != nil {
			return
		}
		if _, err := trust.Encode(); err != nil {
			t.Fatal(err)
		}
	})
}

func (l *testLog) prove(ctx context.Context, older, newer uint64) (tlog.TreeProof, error) {
	tree, stored := l.tree(), memoryTiles{}
	stored.store(tree.TakeFullTiles())
	return ledger.ProveConsistency(ctx, tree, stored, older, newer)
}

func TestInvariant09_HighWaterRefusesRollbackAndFork(t *testing.T) {
	l := newTestLog(t, 300)
	path := filepath.Join(t.TempDir(), "high-water")
	mark := ledger.NewHighWater(path, l.origin, l.key.Verifier)
	_, seen, err := mark.Highest()
	require.NoError(t, err)
	require.False(t, seen)

	old := l.checkpoint()
	_, err = mark.Advance(t.Context(), old, l.prove)
	require.NoError(t, err)
	_, err = mark.Advance(t.Context(), old, l.prove)
	require.NoError(t, err, "the same again is fine")

	fork := l.fork(290)
	fork.epoch = l.entries[289].Epoch
	fork.grow(300)
	_, err = mark.Advance(t.Context(), fork.checkpoint(), fork.prove)
	require.ErrorIs(t, err, ledger.ErrFork, "same size")
	fork.grow(400)
	_, err = mark.Advance(t.Context(), fork.checkpoint(), fork.prove)
	require.ErrorIs(t, err, ledger.ErrFork, "grown")

	l.grow(600)
	high := l.head()
	unreachable := errors.New("unreachable")
	_, err = mark.Advance(t.Context(), l.checkpoint(), func(context.Context, uint64, uint64) (tlog.TreeProof, error) { return nil, unreachable })
	require.ErrorIs(t, err, unreachable)
	_, err = mark.Advance(t.Context(), l.checkpoint(), l.prove)
	require.NoError(t, err)
	_, err = mark.Advance(t.Context(), old, l.prove)
	require.ErrorIs(t, err, ledger.ErrRollback)

	got, seen, err := ledger.NewHighWater(path, l.origin, l.key.Verifier).Highest()
	require.NoError(t, err)
	require.True(t, seen)
	require.Equal(t, high, got, "refusals change nothing")

	require.NoError(t, os.WriteFile(path, []byte("scribble"), 0o600))
	_, err = mark.Advance(t.Context(), l.checkpoint(), l.prove)
	require.ErrorIs(t, err, ledger.ErrCheckpoint, "a mark that cannot be read is not a first use")
}

func TestCheckInclusion(t *testing.T) {
	l := newTestLog(t, 300)
	tree, stored := l.tree(), memoryTiles{}
	stored.store(tree.TakeFullTiles())
	proof, err := ledger.ProveInclusion(t.Context(), tree, stored, 17, 300)
	require.NoError(t, err)
	require.NoError(t, ledger.CheckInclusion(proof, l.head(), 17, l.raws[17]))
	require.ErrorIs(t, ledger.CheckInclusion(proof, l.head(), 18, l.raws[17]), ledger.ErrProof)
	require.ErrorIs(t, ledger.CheckInclusion(proof, l.head(), 17, l.raws[18]), ledger.ErrProof)
	require.ErrorIs(t, ledger.CheckInclusion(proof, l.head(), 300, l.raws[17]), ledger.ErrProof)
}

func TestWriteFileAtomic(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "f")
	for _, text := range []string{"one", "two"} {
		require.NoError(t, ledger.WriteFileAtomic(path, []byte(text), 0o600))
		got, err := os.ReadFile(path)
		require.NoError(t, err)
		require.Equal(t, text, string(got))
	}
	left, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Len(t, left, 1)
	info, err := os.Stat(path)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode().Perm())
	require.Error(t, ledger.WriteFileAtomic(filepath.Join(dir, "no", "f"), nil, 0o600))
}

func BenchmarkSignHead(b *testing.B) {
	l := newTestLog(b, 100)
	head := l.head()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := ledger.SignHead(l.key.Signer, l.origin, head); err != nil {
			b.Fatal(err)
		}
	}
}
