package ledger_test

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"conclave/custodian/ledger"
)

const testSize = 700 // three bundles, the last partial, and a level-1 tile

func verify(t *testing.T, dir string, trust *ledger.TrustFile, known ...ledger.Head) (*ledger.VerifyReport, error) {
	t.Helper()
	return ledger.VerifyDir(t.Context(), dir, ledger.VerifyInput{Trust: trust, Known: known})
}

func requireFinding(t *testing.T, err, kind error, seq uint64) {
	t.Helper()
	require.ErrorIs(t, err, kind)
	var found *ledger.VerifyError
	require.ErrorAs(t, err, &found)
	require.True(t, found.Located, found.Error())
	require.Equal(t, seq, found.Seq, found.Error())
}

// writeBundles replaces an export's entry bundles by others over the same files.
func writeBundles(t *testing.T, dir string, size int, raws [][]byte) {
	t.Helper()
	for index := 0; index*ledger.TileWidth < size; index++ {
		width := min(ledger.TileWidth, size-index*ledger.TileWidth)
		take := min(width, len(raws))
		if (index+1)*ledger.TileWidth >= size {
			take = len(raws) // what was inserted ends up in the last bundle
		}
		var bundle []byte
		for _, raw := range raws[:take] {
			var err error
			bundle, err = ledger.AppendBundle(bundle, raw)
			require.NoError(t, err)
		}
		raws = raws[take:]
		require.NoError(t, os.WriteFile(filepath.Join(dir, ledger.EntriesPath(uint64(index), width)), bundle, 0o600))
	}
}

// removeTiles leaves the entries and the checkpoint only, so that nothing tells one leaf from another.
func removeTiles(t *testing.T, dir string) {
	t.Helper()
	for _, level := range []string{"0", "1"} {
		require.NoError(t, os.RemoveAll(filepath.Join(dir, "tile", level)))
	}
}

func TestVerifyGenuine(t *testing.T) {
	for _, size := range []int{1, 2, 255, 256, 257, 512, testSize} {
		l := newTestLog(t, size)
		dir := l.export()
		report, err := verify(t, dir, l.trust())
		require.NoError(t, err, "size %d", size)
		require.True(t, report.Anchored)
		require.Equal(t, l.instance, report.Instance)
		require.Equal(t, uint64(size), report.Size)
		require.Equal(t, "verified against the trust file", report.Verdict())

		report, err = verify(t, dir, nil)
		require.NoError(t, err)
		require.False(t, report.Anchored)
		require.True(t, report.Signed)
		require.Equal(t, "self-consistent, unanchored", report.Verdict())
	}
}

func TestVerifyWithoutKeysSaysSo(t *testing.T) {
	dir := newTestLog(t, 5).export()
	require.NoError(t, os.Remove(filepath.Join(dir, ledger.LogKeysFile)))
	report, err := verify(t, dir, nil)
	require.NoError(t, err)
	require.False(t, report.Signed)
	require.Equal(t, "self-consistent, unanchored, signature not checked", report.Verdict())
}

func TestInvariant09_TruncationIsNamed(t *testing.T) {
	l := newTestLog(t, testSize)
	for name, c := range map[string]struct {
		raws [][]byte
		seq  uint64
	}{
		"end":    {l.raws[:testSize-1], testSize - 1},
		"tail":   {l.raws[:300], 300},
		"middle": {append(append([][]byte{}, l.raws[:40]...), l.raws[45:]...), 40},
	} {
		for _, tiles := range []bool{true, false} {
			dir := l.export()
			writeBundles(t, dir, testSize, c.raws)
			if !tiles {
				removeTiles(t, dir)
			}
			_, err := verify(t, dir, l.trust())
			require.Error(t, err, name)
			requireFinding(t, err, ledger.ErrTruncated, c.seq)
		}
	}
	dir := l.export()
	require.NoError(t, os.Remove(filepath.Join(dir, ledger.EntriesPath(2, testSize-512))))
	_, err := verify(t, dir, l.trust())
	requireFinding(t, err, ledger.ErrTruncated, 512)

	dir = l.export()
	path := filepath.Join(dir, ledger.EntriesPath(2, testSize-512))
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(path, data[:len(data)-5], 0o600))
	_, err = verify(t, dir, l.trust())
	requireFinding(t, err, ledger.ErrTruncated, testSize-1)

	dir = l.export()
	require.NoError(t, os.Remove(filepath.Join(dir, ledger.CheckpointFile)))
	_, err = verify(t, dir, l.trust())
	require.ErrorIs(t, err, ledger.ErrTruncated)
}

func TestInvariant09_EditIsNamed(t *testing.T) {
	l := newTestLog(t, testSize)
	edited := func(seq int) [][]byte {
		e := *l.entries[seq]
		e.Actor.ID = "somebody-else"
		raws := append([][]byte{}, l.raws...)
		raws[seq] = ledger.AppendCanonical(nil, &e)
		return raws
	}
	for _, seq := range []int{0, 1, 255, 256, 512, testSize - 1} {
		dir := l.export()
		writeBundles(t, dir, testSize, edited(seq))
		_, err := verify(t, dir, l.trust())
		requireFinding(t, err, ledger.ErrEdited, uint64(seq))
	}

	// Tiles remade to fit: the signed root still tells, and the tile above narrows it down.
	forged := l.fork(0)
	forged.raws = edited(300)
	dir := l.export()
	writeBundles(t, dir, testSize, forged.raws)
	tiles := forged.tree().TakeFullTiles()
	require.NoError(t, os.WriteFile(filepath.Join(dir, ledger.TilePath(0, 1, ledger.TileWidth)), tiles[1].Data, 0o600))
	_, err := verify(t, dir, l.trust())
	requireFinding(t, err, ledger.ErrEdited, 256)

	removeTiles(t, dir)
	_, err = verify(t, dir, l.trust())
	require.ErrorIs(t, err, ledger.ErrEdited)
}

func TestInvariant09_ReorderIsNamed(t *testing.T) {
	l := newTestLog(t, testSize)
	for _, pair := range [][2]int{{10, 11}, {1, 600}, {255, 256}} {
		raws := append([][]byte{}, l.raws...)
		raws[pair[0]], raws[pair[1]] = raws[pair[1]], raws[pair[0]]
		for _, tiles := range []bool{true, false} {
			dir := l.export()
			writeBundles(t, dir, testSize, raws)
			if !tiles {
				removeTiles(t, dir)
			}
			_, err := verify(t, dir, l.trust())
			requireFinding(t, err, ledger.ErrReordered, uint64(pair[0]))
		}
	}
}

func TestInvariant09_InsertionIsNamed(t *testing.T) {
	l := newTestLog(t, testSize)
	alien := *l.entries[50]
	alien.Salt = [16]byte(random(t, 16))
	insert := func(seq int, raw []byte) [][]byte {
		return append(append(append([][]byte{}, l.raws[:seq]...), raw), l.raws[seq:]...)
	}
	for name, c := range map[string]struct {
		raws [][]byte
		seq  uint64
	}{
		"forged":       {insert(50, ledger.AppendCanonical(nil, &alien)), 50},
		"earlier copy": {insert(300, l.raws[20]), 300},
		"later copy":   {insert(20, l.raws[300]), 20},
		"at the end":   {insert(testSize, l.raws[5]), testSize},
	} {
		t.Run(name, func(t *testing.T) {
			dir := l.export()
			writeBundles(t, dir, testSize, c.raws)
			_, err := verify(t, dir, l.trust())
			requireFinding(t, err, ledger.ErrInserted, c.seq)
		})
	}
	dir := l.export()
	writeBundles(t, dir, testSize, insert(300, l.raws[20]))
	removeTiles(t, dir)
	_, err := verify(t, dir, l.trust())
	requireFinding(t, err, ledger.ErrInserted, 300)
}

func TestInvariant09_ForkIsNamed(t *testing.T) {
	l := newTestLog(t, 400)
	trust := l.trust()
	f := l.fork(200)
	f.epoch = l.entries[199].Epoch
	f.grow(testSize)
	dir := f.export()
	_, err := verify(t, dir, trust)
	require.ErrorIs(t, err, ledger.ErrFork)

	// The same from a high-water mark instead of the trust file.
	trust.Least = ""
	_, err = verify(t, dir, trust, l.head())
	require.ErrorIs(t, err, ledger.ErrFork)

	// Tiles damaged as well: the entries still tell.
	removeTiles(t, dir)
	_, err = verify(t, dir, trust, l.head())
	require.ErrorIs(t, err, ledger.ErrFork)
}

// An older copy that lived on by itself until it was larger is a fork, not merely old, also where fewer changes of authority
// were made in it.
func TestInvariant09_AnOlderCopyThatGrewIsAFork(t *testing.T) {
	l := newTestLog(t, 400)
	trust := l.trust()
	for _, size := range []int{400, 500} {
		f := l.fork(200)
		f.epoch = l.entries[199].Epoch
		f.idle(size)
		_, err := verify(t, f.export(), trust)
		require.ErrorIs(t, err, ledger.ErrFork)
		mark := ledger.NewHighWater(filepath.Join(t.TempDir(), "high-water"), l.origin, l.key.Verifier)
		_, err = mark.Advance(t.Context(), l.checkpoint(), l.prove)
		require.NoError(t, err)
		_, err = mark.Advance(t.Context(), f.checkpoint(), f.prove)
		require.ErrorIs(t, err, ledger.ErrFork)
		require.NotErrorIs(t, err, ledger.ErrRollback)
	}
}

func TestInvariant09_RollbackIsNamed(t *testing.T) {
	l := newTestLog(t, 300)
	dir := l.export()
	l.grow(testSize)
	_, err := verify(t, dir, l.trust())
	require.ErrorIs(t, err, ledger.ErrRollback)
}

func TestInvariant09_ForeignAndUnsignedAreRefused(t *testing.T) {
	l, other := newTestLog(t, 20), newTestLog(t, 20)
	_, err := verify(t, other.export(), l.trust())
	require.ErrorIs(t, err, ledger.ErrForeign)

	impostor := newTestLog(t, 0)
	thief, err := ledger.GenerateLogKey(filepath.Join(t.TempDir(), "k"), l.origin)
	require.NoError(t, err)
	impostor.instance, impostor.origin, impostor.key, impostor.pinned = l.instance, l.origin, thief, thief.VerifierKey
	impostor.grow(20)
	dir := impostor.export()
	_, err = verify(t, dir, l.trust())
	require.ErrorIs(t, err, ledger.ErrSignature)
	report, err := verify(t, dir, nil)
	require.NoError(t, err)
	require.Equal(t, "self-consistent, unanchored", report.Verdict(), "without a trust file nobody can tell, and it says so")
}

func TestVerifyFindsDamagedTiles(t *testing.T) {
	l := newTestLog(t, testSize)
	for _, path := range []string{
		ledger.TilePath(0, 1, ledger.TileWidth), ledger.TilePath(0, 2, testSize-512), ledger.TilePath(1, 0, 2),
	} {
		dir := l.export()
		data, err := os.ReadFile(filepath.Join(dir, path))
		require.NoError(t, err)
		data[40] ^= 1
		require.NoError(t, os.WriteFile(filepath.Join(dir, path), data, 0o600))
		_, err = verify(t, dir, l.trust())
		require.ErrorIs(t, err, ledger.ErrTiles, path)
	}
}

func TestVerifyFindsBrokenRules(t *testing.T) {
	for name, spoil := range map[string]func(e *ledger.Entry){
		"time goes back":      func(e *ledger.Entry) { e.At = e.At.AddDate(-1, 0, 0) },
		"epoch goes back":     func(e *ledger.Entry) { e.Epoch = 0 },
		"chain skips":         func(e *ledger.Entry) { e.Link.Number++ },
		"chain points away":   func(e *ledger.Entry) { e.Link.Prev = 0 },
		"control entry plain": func(e *ledger.Entry) { e.Link = nil },
	} {
		l := newTestLog(t, 60)
		e := *l.entries[24]
		link := *e.Link
		e.Link = &link
		spoil(&e)
		l.raws[24] = ledger.AppendCanonical(nil, &e)
		_, err := verify(t, l.export(), l.trust())
		require.ErrorIs(t, err, ledger.ErrRules, name)
	}
	l := newTestLog(t, 0)
	l.add(func() ledger.Entry { e := dataEntry(t); e.At = l.trust().CreatedAt; return e }())
	_, err := verify(t, l.export(), l.trust())
	requireFinding(t, err, ledger.ErrRules, 0)
}

func TestExportDir(t *testing.T) {
	l := newTestLog(t, 10)
	dir := filepath.Join(t.TempDir(), "there")
	in := ledger.Export{Checkpoint: l.checkpoint(), Keys: l.chain(), Entries: l}

	require.NoError(t, os.Mkdir(dir, 0o755))
	keep := filepath.Join(dir, "keep")
	require.NoError(t, os.WriteFile(keep, nil, 0o600))
	require.ErrorIs(t, ledger.ExportDir(t.Context(), dir, in), ledger.ErrExportTarget)
	require.NoError(t, os.Remove(keep))
	require.NoError(t, ledger.ExportDir(t.Context(), dir, in), "an empty directory is fine")

	// What does not make the signed tree is not exported, and leaves nothing behind.
	parent := t.TempDir()
	l.raws[4] = bytes.Replace(l.raws[4], []byte("payments"), []byte("pAyments"), 1)
	require.ErrorIs(t, ledger.ExportDir(t.Context(), filepath.Join(parent, "x"), in), ledger.ErrEdited)
	left, err := os.ReadDir(parent)
	require.NoError(t, err)
	require.Empty(t, left)
}

func TestPaths(t *testing.T) {
	require.Equal(t, "tile/0/000", ledger.TilePath(0, 0, 256))
	require.Equal(t, "tile/1/x001/x234/067.p/8", ledger.TilePath(1, 1234067, 8))
	require.Equal(t, "tile/entries/x001/000", ledger.EntriesPath(1000, 256))
}
