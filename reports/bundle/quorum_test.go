package bundle_test

import (
	"archive/zip"
	"bytes"
	"compress/flate"
	"encoding/base64"
	"encoding/binary"
	"hash/crc32"
	"maps"
	"os"
	"path/filepath"
	"slices"
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
	// voted is a ceremony whose first vote is of another time than when its statement was signed, an hour after it was made.
	voted := func(later time.Duration) func(*testing.T, *fixture.World) fixture.Ceremony {
		return func(t *testing.T, w *fixture.World) fixture.Ceremony {
			c := governed("dana", "chen")
			w.Sign(t, w.History, c)
			votes(c)[0]["at"] = votes(c)[0]["at"].(time.Time).Add(later)
			return c
		}
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
		"at the statement's end":       {voted(7 * 24 * time.Hour), "the vote is said to be of"},
		"before the statement, by far": {voted(-time.Hour - 30*time.Second - 1), "the vote is said to be of"},
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

// The last instant of a statement counts, and so does a vote counted by a node whose clock is behind that of the node that made
// the statement, as the service lets it be.
func TestVotesCountWhileTheirStatementHolds(t *testing.T) {
	t.Parallel()
	page := openPage(t)
	w := fixture.New(t, custodian.Production)
	for id, later := range map[string]time.Duration{"cer-last": 7*24*time.Hour - 1, "cer-ahead": -time.Hour - 30*time.Second} {
		c := fixture.Governed(id, "key.resume", "cards", fixture.Now().Add(-time.Minute), "efua", "dana", "chen")
		w.Sign(t, w.History, c)
		votes(c)[0]["at"] = votes(c)[0]["at"].(time.Time).Add(later)
		w.PutCeremony(t, c)
	}
	path := write(t, w, w.Node)
	_, err := bundle.Verify(t.Context(), path, w.Trust(t))
	require.NoError(t, err)
	class, words, _ := page.verify(t, path, w.Trust(t))
	require.Equal(t, "good", class, words)
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
	directory := int(binary.LittleEndian.Uint32(whole[end+16:]))
	secret := []byte("hidden report")
	first := int(binary.LittleEndian.Uint16(whole[26:])) + 30 // where the extra field of the first file's header begins
	le := binary.LittleEndian
	for name, forge := range map[string]func() []byte{
		"before the directory": func() []byte {
			out := slices.Concat(whole[:directory], secret, whole[directory:])
			le.PutUint32(out[end+len(secret)+16:], uint32(directory+len(secret)))
			return out
		},
		"before all": func() []byte { return slices.Concat(secret, whole) },
		// The directory claims as many extra bytes as are hidden: sums alone would come out even.
		"made good by the directory": func() []byte {
			out := slices.Concat(whole[:directory], secret, whole[directory:])
			at := directory + len(secret) // of the first line of the directory
			name, extra := int(le.Uint16(out[at+28:])), int(le.Uint16(out[at+30:]))
			le.PutUint16(out[at+30:], uint16(extra+len(secret)))
			out = slices.Insert(out, at+46+name+extra, secret...)
			tail := len(out) - 22
			le.PutUint32(out[tail+12:], le.Uint32(out[tail+12:])+uint32(len(secret)))
			le.PutUint32(out[tail+16:], uint32(at))
			return out
		},
		"in a header": func() []byte {
			out := slices.Clone(whole)
			out[first+5] ^= 1 // a time that the directory does not have
			return out
		},
	} {
		path := filepath.Join(t.TempDir(), "hidden.zip")
		require.NoError(t, os.WriteFile(path, forge(), 0o600))
		_, err = bundle.Verify(t.Context(), path, b.world.Trust(t))
		require.Error(t, err, name)
		require.ErrorIs(t, err, bundle.ErrFormat, name)
		class, words, _ := page.verify(t, path, b.world.Trust(t))
		require.Equal(t, "bad", class, name)
		require.Contains(t, words, bundle.ErrFormat.Error(), name)
	}
}

// What is left behind the end of a file's packed data is not passed over.
func TestInvariant09_NothingStandsBehindPackedData(t *testing.T) {
	t.Parallel()
	b, page := build(t), openPage(t)
	path := filepath.Join(t.TempDir(), "behind.zip")
	f, err := os.Create(path)
	require.NoError(t, err)
	z := zip.NewWriter(f)
	files := unpack(t, b.path)
	for _, name := range slices.Sorted(maps.Keys(files)) {
		var packed bytes.Buffer
		d, err := flate.NewWriter(&packed, flate.DefaultCompression)
		require.NoError(t, err)
		_, err = d.Write(files[name])
		require.NoError(t, err)
		require.NoError(t, d.Close())
		if name == "report.html" {
			packed.WriteString("another report")
		}
		w, err := z.CreateRaw(&zip.FileHeader{Name: name, Method: zip.Deflate, CRC32: crc32.ChecksumIEEE(files[name]),
			CompressedSize64: uint64(packed.Len()), UncompressedSize64: uint64(len(files[name]))})
		require.NoError(t, err)
		_, err = w.Write(packed.Bytes())
		require.NoError(t, err)
	}
	require.NoError(t, z.Close())
	require.NoError(t, f.Close())
	_, err = bundle.Verify(t.Context(), path, b.world.Trust(t))
	require.ErrorContains(t, err, "something is hidden behind its packed data")
	requireAgree(t, "behind packed data", page, path, b.world.Trust(t), err)
}
