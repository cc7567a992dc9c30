package ledger_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"conclave/custodian/ledger"
)

// twoFaced answers from one directory the first time a file is read, from another after that.
type twoFaced struct {
	first, then ledger.LogSource
	seen        map[string]bool
}

func (f *twoFaced) ReadFile(ctx context.Context, path string) ([]byte, error) {
	if f.seen[path] {
		return f.then.ReadFile(ctx, path)
	}
	f.seen[path] = true
	return f.first.ReadFile(ctx, path)
}

func TestInvariant09_SourceThatChangesItsAnswersIsCaught(t *testing.T) {
	l := newTestLog(t, 300)
	forged := l.fork(300)
	e := *l.entries[100]
	e.Actor.ID = "somebody-else"
	forged.raws[100] = ledger.AppendCanonical(nil, &e)
	genuineDir, forgedDir := l.export(), forged.export()
	writeBundles(t, genuineDir, 300, forged.raws)

	genuine, err := ledger.OpenDir(genuineDir)
	require.NoError(t, err)
	defer genuine.Close()
	other, err := ledger.OpenDir(forgedDir)
	require.NoError(t, err)
	defer other.Close()
	_, err = ledger.Verify(t.Context(), ledger.VerifyInput{
		Source: &twoFaced{first: genuine, then: other, seen: map[string]bool{}}, Trust: l.trust(),
	})
	require.ErrorIs(t, err, ledger.ErrEdited)
}

// failing cannot read one file.
type failing struct {
	ledger.LogSource
	path string
}

func (f failing) ReadFile(ctx context.Context, path string) ([]byte, error) {
	if path == f.path {
		return nil, errUnreadable
	}
	return f.LogSource.ReadFile(ctx, path)
}

var errUnreadable = errors.New("input/output error")

func TestVerifyTellsUnreadableFromWrong(t *testing.T) {
	l := newTestLog(t, testSize)
	dir, err := ledger.OpenDir(l.export())
	require.NoError(t, err)
	defer dir.Close()
	for _, path := range []string{
		ledger.CheckpointFile, ledger.TilePath(0, 1, 256), ledger.TilePath(1, 0, 2), ledger.EntriesPath(1, 256),
	} {
		_, err := ledger.Verify(t.Context(), ledger.VerifyInput{Source: failing{dir, path}, Trust: l.trust()})
		require.ErrorIs(t, err, errUnreadable)
		var found *ledger.VerifyError
		require.False(t, errors.As(err, &found), path)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = ledger.Verify(ctx, ledger.VerifyInput{Source: dir, Trust: l.trust()})
	require.ErrorIs(t, err, context.Canceled)
}

func TestVerifyUsesFullFilesWhereTheLogHasGrown(t *testing.T) {
	l := newTestLog(t, 300)
	old := l.checkpoint()
	l.grow(testSize)
	dir := l.export()
	require.NoError(t, os.WriteFile(filepath.Join(dir, ledger.CheckpointFile), old, 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(dir, ledger.TilePath(1, 0, 1)), firstHash(t, dir), 0o600))
	trust := l.trust()
	trust.Least = string(old)
	report, err := verify(t, dir, trust)
	require.NoError(t, err)
	require.Equal(t, uint64(300), report.Size)
	require.Equal(t, []uint64{300}, report.Contains)
}

func firstHash(t *testing.T, dir string) []byte {
	data, err := os.ReadFile(filepath.Join(dir, ledger.TilePath(1, 0, 2)))
	require.NoError(t, err)
	return data[:32]
}

func TestVerifyFindsMisdividedBundles(t *testing.T) {
	l := newTestLog(t, 512)
	dir := l.export()
	for index, raws := range [][][]byte{l.raws[:257], l.raws[257:]} {
		var bundle []byte
		for _, raw := range raws {
			var err error
			bundle, err = ledger.AppendBundle(bundle, raw)
			require.NoError(t, err)
		}
		require.NoError(t, os.WriteFile(filepath.Join(dir, ledger.EntriesPath(uint64(index), 256)), bundle, 0o600))
	}
	_, err := verify(t, dir, l.trust())
	requireFinding(t, err, ledger.ErrTiles, 0)
}
