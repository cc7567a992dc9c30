package bundle

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestProofsAreReadStrictly(t *testing.T) {
	t.Parallel()
	good := formatProof(7, [][32]byte{{1}, {2}}, []byte("checkpoint\n"))
	seq, hashes, checkpoint, err := parseProof(good)
	require.NoError(t, err)
	require.Equal(t, uint64(7), seq)
	require.Equal(t, [][32]byte{{1}, {2}}, hashes)
	require.Equal(t, "checkpoint\n", string(checkpoint))
	for name, bad := range map[string][]byte{
		"empty":         nil,
		"other header":  bytes.Replace(good, []byte("@v1"), []byte("@v2"), 1),
		"no index":      bytes.Replace(good, []byte("index 7"), []byte("index x"), 1),
		"leading zero":  bytes.Replace(good, []byte("index 7"), []byte("index 07"), 1),
		"no checkpoint": bytes.Replace(good, []byte("\n\n"), []byte("\n"), 1),
		"short hash":    bytes.Replace(good, []byte("AQAA"), []byte(""), 1),
		"many hashes":   formatProof(7, make([][32]byte, maxHashes+1), []byte("c\n")),
	} {
		_, _, _, err := parseProof(bad)
		require.ErrorIs(t, err, ErrProof, name)
	}
}

func FuzzParseProof(f *testing.F) {
	f.Add(formatProof(7, [][32]byte{{1}, {2}}, []byte("checkpoint\n")))
	f.Add(formatProof(0, nil, []byte("c\n")))
	f.Fuzz(func(t *testing.T, data []byte) {
		seq, hashes, checkpoint, err := parseProof(data)
		if err == nil && !bytes.Equal(formatProof(seq, hashes, checkpoint), data) {
			t.Fatal("one proof has two spellings")
		}
	})
}
