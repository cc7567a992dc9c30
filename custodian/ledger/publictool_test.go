package ledger_test

import (
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// publicReader gives golang.org/x/mod/sumdb/tlog the tiles of a directory by the paths of C2SP tlog-tiles, which its
// own Tile.Path differs from only in the first elements.
type publicReader struct{ dir string }

func (publicReader) Height() int                     { return 8 }
func (publicReader) SaveTiles([]tlog.Tile, [][]byte) {}
func (r publicReader) ReadTiles(tiles []tlog.Tile) (out [][]byte, err error) {
	for _, t := range tiles {
		data, err := os.ReadFile(filepath.Join(r.dir, "tile", strings.TrimPrefix(t.Path(), "tile/8/")))
		if err != nil {
			return nil, err
		}
		out = append(out, data)
	}
	return out, nil
}

// An exported ledger is read by public code alone: the signature with x/mod's note, tiles and proofs with its tlog,
// entries by the framing that C2SP tlog-tiles states. Nothing of this package takes part but the export.
func TestExportVerifiesWithPublicCodeAlone(t *testing.T) {
	t.Parallel()
	dir := newTestLog(t, 700).export()
	keys, err := os.ReadFile(filepath.Join(dir, "log-keys.txt"))
	require.NoError(t, err)
	verifier, err := note.NewVerifier(strings.TrimSpace(string(keys)))
	require.NoError(t, err)
	signed, err := os.ReadFile(filepath.Join(dir, "checkpoint"))
	require.NoError(t, err)
	n, err := note.Open(signed, note.VerifierList(verifier))
	require.NoError(t, err)
	lines := strings.Split(n.Text, "\n")
	var size int64
	_, err = fmt.Sscan(lines[1], &size)
	require.NoError(t, err)
	root, err := base64.StdEncoding.DecodeString(lines[2])
	require.NoError(t, err)

	tree := tlog.Tree{N: size, Hash: tlog.Hash(root)}
	reader := tlog.TileHashReader(tree, publicReader{dir})
	seq := int64(0)
	for index := int64(0); index*256 < size; index++ {
		name := filepath.Join(dir, "tile", "entries", fmt.Sprintf("%03d", index))
		if left := size - index*256; left < 256 {
			name += fmt.Sprintf(".p/%d", left)
		}
		data, err := os.ReadFile(name)
		require.NoError(t, err)
		for ; len(data) > 0; seq++ {
			n := binary.BigEndian.Uint16(data)
			proof, err := tlog.ProveRecord(size, seq, reader)
			require.NoError(t, err)
			require.NoError(t, tlog.CheckRecord(proof, size, tree.Hash, seq, tlog.RecordHash(data[2:2+n])))
			data = data[2+n:]
		}
	}
	require.Equal(t, size, seq)
}
