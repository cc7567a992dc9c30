package demo_test

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"conclave/app/demo"
)

// The whole story is told, and docs/ledger-format.md names every type of entry that it leaves.
func TestTheStoryLeavesOnlyDocumentedEntries(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "var")
	var told bytes.Buffer
	err := demo.Run(t.Context(), &told, demo.Options{Dir: dir, Listen: "127.0.0.1:0", Once: true, WithoutYear: true})
	require.NoError(t, err, told.String())
	require.Contains(t, told.String(), "demo-vault-cards:2:aes-256: sensitive, always sensitive, never extractable, local")
	require.Contains(t, told.String(), "reading it out: refused by the token")
	require.Contains(t, told.String(), "contradicts the ledger and is quarantined", "the story's last sentence")
	require.NotContains(t, told.String(), "stays up at")

	page, err := os.ReadFile("../../docs/ledger-format.md")
	require.NoError(t, err)
	_, table, found := strings.Cut(string(page), "## Event types\n")
	require.True(t, found)
	table, _, _ = strings.Cut(table, "\n## ")

	event := regexp.MustCompile(`"type":"([a-z]+\.[a-z.]+|genesis)"`) // types of actors and targets have no dot
	seen := map[string]bool{}
	err = filepath.WalkDir(filepath.Join(dir, "ledger-copy", "tile", "entries"), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		bundle, err := os.ReadFile(path)
		for _, match := range event.FindAllSubmatch(bundle, -1) {
			seen[string(match[1])] = true
		}
		return err
	})
	require.NoError(t, err)
	require.Greater(t, len(seen), 25)
	for name := range seen {
		short := strings.TrimPrefix(name, "ceremony") // the steps of a ceremony are listed as `.approve`
		require.True(t, strings.Contains(table, "`"+name+"`") || strings.Contains(table, "`"+short+"`"), "%s is not in docs/ledger-format.md", name)
	}
}
