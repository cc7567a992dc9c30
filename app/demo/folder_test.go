package demo_test

import (
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"conclave/app/demo"
)

// A folder that holds anything else is neither used nor emptied.
func TestAFolderOfSomethingElseIsLeftAlone(t *testing.T) {
	dir := t.TempDir()
	theirs := filepath.Join(dir, "people")
	require.NoError(t, os.WriteFile(theirs, []byte("mine"), 0o600))
	for _, reset := range []bool{false, true} {
		err := demo.Run(t.Context(), io.Discard, demo.Options{Dir: dir, Listen: "127.0.0.1:0", Once: true, Reset: reset})
		require.ErrorContains(t, err, "not a demonstration")
		require.FileExists(t, theirs)
	}
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Len(t, entries, 1)
}
