package bundle_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"conclave/custodian"
	"conclave/custodian/access"
	"conclave/custodian/custodiantest"
	"conclave/custodian/ledger"
	"conclave/custodian/segment"
	"conclave/reports"
	"conclave/reports/bundle"
	"conclave/reports/internal/fixture"
)

// aged is a world of some 1,100 entries, of which those from 0 to 255 and from 768 to 1023 were archived and deleted. Around
// both ends of each run uses of a key stand a minute apart.
func aged(t *testing.T) (w *fixture.World, at func(seq uint64) time.Time) {
	t.Helper()
	w = fixture.New(t, custodian.Production, func(h *fixture.History) {
		for i := range 1000 {
			h.Uses = append(h.Uses, fixture.Use{At: fixture.Days(10).Add(time.Duration(i) * time.Minute), Operation: access.DataKey, Key: "cards", Version: 1, Outcome: ledger.Allow})
		}
	})
	times := map[uint64]time.Time{}
	src := w.Source(t)
	require.Greater(t, src.Checkpoint().Size, uint64(1024))
	for _, seq := range []uint64{0, 254, 255, 256, 767, 768} {
		e, _, err := src.Entry(t.Context(), seq)
		require.NoError(t, err)
		require.Equal(t, seq == 0, e.Link != nil)
		times[seq] = e.At
	}
	dir := t.TempDir()
	var segments []*segment.Segment
	for from := uint64(0); from < 1024; from += 256 {
		segments = append(segments, custodiantest.Archive(t, w.Store, dir, from, from+256))
	}
	custodiantest.Drop(t, w.Store)
	custodiantest.DeleteArchived(t, w.Store, segments[0])
	custodiantest.DeleteArchived(t, w.Store, segments[3])
	return w, func(seq uint64) time.Time { return times[seq] }
}

// Control entries stay and proofs come from tiles, so evidence of a period does not miss what was deleted before it or after
// it, not even next to it: then the record of the deletion says that none of it was of the period.
func TestBundleOfAPeriodNextToDeletedEntries(t *testing.T) {
	t.Parallel()
	w, at := aged(t)
	trust, page := w.Trust(t), openPage(t)
	build := func(from, to time.Time) (string, error) {
		src, request := w.Source(t), lightest()
		request.From, request.To = from, to
		r, err := reports.Generate(t.Context(), src, request, fixture.Now())
		if err != nil {
			return "", err
		}
		var b bytes.Buffer
		require.NoError(t, bundle.Build(t.Context(), &b, src, r, w.Node))
		path := filepath.Join(t.TempDir(), "evidence.zip")
		require.NoError(t, os.WriteFile(path, b.Bytes(), 0o600))
		return path, nil
	}
	const before = "Entry 255, next to the period and before it, was deleted under retention by ceremony c-delete"
	const after = "Entry 768, next to the period and after it, was deleted under retention by ceremony c-delete"
	for name, c := range map[string]struct {
		from, to time.Time
		says     []string
	}{
		"well behind and ahead": {at(256).Add(time.Minute), at(767), nil},
		"right behind":          {at(256), at(767), []string{before}},
		"between":               {at(255).Add(time.Second), at(768), []string{before, after}},
	} {
		path, err := build(c.from, c.to)
		require.NoError(t, err, name)
		found, err := bundle.Verify(t.Context(), path, trust)
		require.NoError(t, err, name)
		require.True(t, found.Complete, name)
		class, words, checks := page.verify(t, path, trust)
		require.Equal(t, "good", class, words)
		said := 0
		for _, line := range found.Checked {
			if strings.Contains(line, "was deleted under retention") {
				said++
				require.Contains(t, checks, line, "page and program say the same")
			}
		}
		require.Equal(t, len(c.says), said, name)
		for _, line := range c.says {
			require.Contains(t, checks, line, name)
		}
	}

	// A period of which something was deleted can not be judged, though nothing that is left there shows it.
	for name, c := range map[string][2]time.Time{
		"begins among them": {at(255), at(767)}, "begins before them": {at(0).AddDate(0, 0, -1), at(767)}, "ends among them": {at(256), at(768).Add(time.Second)},
	} {
		_, err := build(c[0], c[1])
		var refused *ledger.DeletedError
		require.ErrorAs(t, err, &refused, name)
	}

	// Nor can a node leave out a neighbour by saying so.
	path, err := build(at(256), at(767))
	require.NoError(t, err)
	files := unpack(t, path)
	manifest := bytes.Replace(files["MANIFEST.json"], []byte(at(256).Format(time.RFC3339)), []byte(at(255).Format(time.RFC3339)), 1)
	require.NotEqual(t, files["MANIFEST.json"], manifest)
	files["MANIFEST.json"] = manifest
	resignCanonical(t, files, w.Node)
	path = pack(t, files)
	_, err = bundle.Verify(t.Context(), path, trust)
	require.ErrorIs(t, err, bundle.ErrLeftOut)
	requireAgree(t, "a period that reaches among them", page, path, trust, err)

	path, err = build(at(256).Add(time.Minute), at(767))
	require.NoError(t, err)
	files = unpack(t, path)
	require.Contains(t, files, "entries/000000000256.json")
	delete(files, "entries/000000000256.json")
	delete(files, "proofs/000000000256.tlog-proof")
	resignCanonical(t, files, w.Node)
	path = pack(t, files)
	_, err = bundle.Verify(t.Context(), path, trust)
	require.ErrorIs(t, err, bundle.ErrMissing)
	requireAgree(t, "an entry left out that nobody deleted", page, path, trust, err)
}
