package bundle_test

import (
	"encoding/base64"
	"encoding/binary"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"conclave/custodian"
	"conclave/reports/bundle"
	"conclave/reports/internal/fixture"
)

// Somebody with the log key, the node key and the database lets things take place alone, or with what others signed for
// something else. Program and page name it in the same words.
func TestInvariant01_WhatTookPlaceWithTooFewIsNamed(t *testing.T) {
	t.Parallel()
	page := openPage(t)
	const late = "cer-late"
	governed := func(approvers ...string) fixture.Ceremony {
		return fixture.Governed(late, "key.resume", "cards", fixture.Now().Add(-time.Minute), "efua", approvers...)
	}
	for name, c := range map[string]struct {
		forge func(t *testing.T, w *fixture.World) fixture.Ceremony
		words string
	}{
		"nobody": {func(*testing.T, *fixture.World) fixture.Ceremony { return governed() }, "with the approval of 0 people, no policy can ask for fewer than 2"},
		"one":    {func(*testing.T, *fixture.World) fixture.Ceremony { return governed("dana") }, "with the approval of 1 person, no policy can ask for fewer than 2"},
		"the requester": {func(*testing.T, *fixture.World) fixture.Ceremony { return governed("dana", "efua") },
			"with the approval of 1 person, no policy"},
		"one holder": {func(*testing.T, *fixture.World) fixture.Ceremony {
			return fixture.Attended(late, "keystore.activate", "soft", fixture.Now().Add(-time.Minute), "ada", "ada")
		}, "with the approval of 1 person, no policy"},
		"as one person's": {func(*testing.T, *fixture.World) fixture.Ceremony {
			return fixture.Protective(late, "key.resume", "cards", fixture.Now().Add(-time.Minute), "efua")
		}, `key.resume took place as class "P", which it can not have`},
		"after the statement's end": {func(_ *testing.T, w *fixture.World) fixture.Ceremony {
			c := governed("dana", "chen")
			w.Sign(t, w.History, c)
			votes(c)[0]["at"] = fixture.Now().AddDate(0, 0, 30)
			return c
		}, "the vote is said to be of"},
		"by a request made for another": {func(t *testing.T, w *fixture.World) fixture.Ceremony {
			first := governed("dana", "chen")
			first["id"] = "cer-first"
			w.Sign(t, w.History, first)
			w.PutCeremony(t, first)
			c := governed("dana", "chen")
			w.Sign(t, w.History, c)
			c["proposal"] = first["proposal"]
			return c
		}, "request: ceremony cer-first rests on the same one"},
	} {
		t.Run(name, func(t *testing.T) {
			w := fixture.New(t, custodian.Production)
			ceremony := c.forge(t, w)
			if ceremony["nonce"] == nil {
				w.Sign(t, w.History, ceremony)
			}
			w.PutCeremony(t, ceremony)
			refusedFor(t, page, w, bundle.ErrTranscript, "rows/ceremony/"+late+".json", c.words)
		})
	}
}

// Whoever signed is a witness of what the log held then: another log is not one that they signed for.
func TestInvariant09_StatementsRestOnThisLog(t *testing.T) {
	t.Parallel()
	page := openPage(t)
	for name, c := range map[string]struct{ checkpoint, words string }{
		"another root": {"3 " + base64.StdEncoding.EncodeToString(make([]byte, 32)), "the log of 3 entries on which it rests had another root than this one's"},
		"a later log":  {"99999 " + base64.StdEncoding.EncodeToString(make([]byte, 32)), "it rests on a log of 99999 entries"},
	} {
		t.Run(name, func(t *testing.T) {
			w := fixture.New(t, custodian.Production)
			ceremony := fixture.Governed("cer-late", "key.resume", "cards", fixture.Now().Add(-time.Minute), "efua", "dana", "chen")
			ceremony["checkpoint"] = c.checkpoint
			w.Sign(t, w.History, ceremony)
			w.PutCeremony(t, ceremony)
			refusedFor(t, page, w, bundle.ErrFork, "rows/ceremony/cer-late.json", c.words)
		})
	}
	b := build(t)
	result, err := bundle.Verify(t.Context(), b.path, b.world.Trust(t))
	require.NoError(t, err)
	require.Contains(t, strings.Join(result.Checked, "\n"), "name a checkpoint that this log had then")
	_, _, checks := page.verify(t, b.path, b.world.Trust(t))
	require.Contains(t, checks, "name a checkpoint that this log had then")
}

// What no reader looks at has no place in a bundle: neither a file that the format lacks, nor bytes between its files.
func TestInvariant09_WhatNobodyChecksIsRefused(t *testing.T) {
	t.Parallel()
	b, page := build(t), openPage(t)
	files := unpack(t, b.path)
	files["report.pdf"] = []byte("another report")
	resignCanonical(t, files, b.world.Node)
	path := pack(t, files)
	_, err := bundle.Verify(t.Context(), path, b.world.Trust(t))
	require.ErrorIs(t, err, bundle.ErrExtra)
	requireAgree(t, "report.pdf", page, path, b.world.Trust(t), err)

	whole, err := os.ReadFile(b.path)
	require.NoError(t, err)
	end := len(whole) - 22 // the end of the directory, which says where the directory begins
	directory := binary.LittleEndian.Uint32(whole[end+16:])
	hidden := append(append(append([]byte{}, whole[:directory]...), "hidden report"...), whole[directory:]...)
	binary.LittleEndian.PutUint32(hidden[end+len("hidden report")+16:], directory+uint32(len("hidden report")))
	path = filepath.Join(t.TempDir(), "hidden.zip")
	require.NoError(t, os.WriteFile(path, hidden, 0o600))
	_, err = bundle.Verify(t.Context(), path, b.world.Trust(t))
	require.ErrorIs(t, err, bundle.ErrFormat)
	require.ErrorContains(t, err, "something is hidden between them")
	class, words, _ := page.verify(t, path, b.world.Trust(t))
	require.Equal(t, "bad", class)
	require.Contains(t, words, "something is hidden between them")
}
