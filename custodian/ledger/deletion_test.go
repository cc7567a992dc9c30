package ledger_test

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"conclave/custodian/ledger"
)

// deletionEntry is the entry that records the deletion of from ≤ seq < to, unchained and without a place.
func deletionEntry(t testing.TB, from, to uint64) ledger.Entry {
	e := dataEntry(t)
	e.Type, e.Outcome, e.Ceremony = ledger.DeletionType, ledger.Done, fmt.Sprintf("01DEL%d", from)
	e.Target = ledger.Target{Type: ledger.SegmentTarget, ID: fmt.Sprintf("seg-%d", from)}
	e.Detail = fmt.Appendf(nil, `{"bytes":12345,"from":%d,"to":%d}`, from, to)
	e.Link = &ledger.Link{Number: 1}
	return e
}

func TestReadDeletion(t *testing.T) {
	good := deletionEntry(t, 256, 768)
	good.Seq = 768
	d, is, err := ledger.ReadDeletion(&good)
	require.NoError(t, err)
	require.True(t, is)
	require.Equal(t, ledger.Deletion{Seq: 768, Segment: "seg-256", Ceremony: "01DEL256", From: 256, To: 768}, d)

	for name, spoil := range map[string]func(e *ledger.Entry){
		"another type":     func(e *ledger.Entry) { e.Type = "ledger.archive" },
		"denied":           func(e *ledger.Entry) { e.Outcome = ledger.Deny },
		"failed":           func(e *ledger.Entry) { e.Outcome = ledger.Failed },
		"no control entry": func(e *ledger.Entry) { e.Link = nil },
	} {
		e := good
		spoil(&e)
		_, is, err := ledger.ReadDeletion(&e)
		require.NoError(t, err, name)
		require.False(t, is, name)
	}
	for name, spoil := range map[string]func(e *ledger.Entry){
		"no range":          func(e *ledger.Entry) { e.Detail = nil },
		"no end":            func(e *ledger.Entry) { e.Detail = []byte(`{"from":256}`) },
		"digest in place":   func(e *ledger.Entry) { e.Detail = []byte(`{"bytes":99999,"digest":"sha256:00"}`) },
		"range of text":     func(e *ledger.Entry) { e.Detail = []byte(`{"from":"256","to":"512"}`) },
		"reversed":          func(e *ledger.Entry) { e.Detail = []byte(`{"from":512,"to":256}`) },
		"part of a group":   func(e *ledger.Entry) { e.Detail = []byte(`{"from":256,"to":513}`) },
		"begins in a group": func(e *ledger.Entry) { e.Detail = []byte(`{"from":255,"to":512}`) },
		"what comes after":  func(e *ledger.Entry) { e.Seq = 767 },
		"another target":    func(e *ledger.Entry) { e.Target.Type = "key" },
		"no segment":        func(e *ledger.Entry) { e.Target.ID = "" },
		"no ceremony":       func(e *ledger.Entry) { e.Ceremony = "" },
	} {
		e := good
		spoil(&e)
		_, is, err := ledger.ReadDeletion(&e)
		require.True(t, is, name)
		require.Error(t, err, name)
	}
}

func TestDeletedErrorSaysWhichAndByWhat(t *testing.T) {
	err := &ledger.DeletedError{From: 256, To: 768, By: "01ABC"}
	require.EqualError(t, err, "ledger entries 256 to 767 were deleted under retention by ceremony 01ABC")
	require.EqualError(t, &ledger.DeletedError{From: 0, To: 256}, "ledger entries 0 to 255 were deleted under retention")
}

// deleteGroups records the deletion of the groups from ≤ index < to and lets the log go on to size.
func (l *testLog) deleteGroups(from, to uint64, spoil func(e *ledger.Entry), size int) {
	e := deletionEntry(l.t, from*ledger.TileWidth, to*ledger.TileWidth)
	e.Epoch, e.At = l.epoch, l.entries[len(l.entries)-1].At
	e.Link = &ledger.Link{Number: l.control, Prev: l.last}
	if spoil != nil {
		spoil(&e)
	}
	l.add(e)
	l.grow(size)
}

// control is the control entries of a group, in the framing of a bundle; but those that skip takes.
func (l *testLog) kept(index uint64, skip ...uint64) []byte {
	var out []byte
	for _, e := range l.entries[index*ledger.TileWidth : (index+1)*ledger.TileWidth] {
		if e.Link == nil || slices.Contains(skip, e.Seq) {
			continue
		}
		var err error
		out, err = ledger.AppendBundle(out, l.raws[e.Seq])
		require.NoError(l.t, err)
	}
	return out
}

// strip makes an export one of a log whose groups were deleted.
func (l *testLog) strip(dir string, groups ...uint64) {
	for _, index := range groups {
		require.NoError(l.t, os.Remove(filepath.Join(dir, ledger.EntriesPath(index, ledger.TileWidth))))
		writeFile(l.t, dir, ledger.KeptPath(index), l.kept(index))
	}
}

func writeFile(t testing.TB, dir, name string, data []byte) {
	t.Helper()
	path := filepath.Join(dir, name)
	require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o700))
	require.NoError(t, os.WriteFile(path, data, 0o600))
}

// deletedLog is a log of five groups and some, of which groups 0 and 2 to 3 were deleted.
func deletedLog(t *testing.T) *testLog {
	l := newTestLog(t, 1024)
	l.deleteGroups(0, 1, nil, 1100)
	l.deleteGroups(2, 4, nil, 1500)
	return l
}

func TestVerifyTakesDeletedGroupsByTheirHashes(t *testing.T) {
	l := deletedLog(t)
	past := l.fork(600)
	dir := l.export()
	whole, err := verify(t, dir, l.trust())
	require.NoError(t, err)
	require.Empty(t, whole.Deleted)

	l.strip(dir, 0, 2, 3)
	var seen []uint64
	report, err := ledger.VerifyDir(t.Context(), dir, ledger.VerifyInput{
		Trust: l.trust(), Known: []ledger.Head{{Size: 600, Root: past.tree().Root()}},
		Observe: func(e *ledger.Entry) error { seen = append(seen, e.Seq); return nil },
	})
	require.NoError(t, err)
	require.Equal(t, []uint64{1500, 600}, report.Contains, "a known head within what was deleted is held against the log")
	require.Equal(t, []ledger.Deletion{
		{Seq: 1024, Segment: "seg-0", Ceremony: "01DEL0", From: 0, To: 256},
		{Seq: 1100, Segment: "seg-512", Ceremony: "01DEL512", From: 512, To: 1024},
	}, report.Deleted)
	require.Equal(t, whole.Instance, report.Instance)
	require.Equal(t, whole.First, report.First)
	var want []uint64
	for _, e := range l.entries {
		if group := e.Seq / ledger.TileWidth; e.Link != nil || (group != 0 && group != 2 && group != 3) {
			want = append(want, e.Seq)
		}
	}
	require.Equal(t, want, seen)
	require.EqualValues(t, len(l.entries)-len(want), report.HashOnly)
	require.Equal(t, fmt.Sprintf("verified against the trust file; %d entries were deleted under retention, as the ledger records, "+
		"and are known by their hash only", report.HashOnly), report.Verdict())

	// A copy from before a deletion, or of one who kept the entries, still holds some of what was deleted.
	dir = l.export()
	l.strip(dir, 3)
	report, err = verify(t, dir, l.trust())
	require.NoError(t, err)
	require.Len(t, report.Deleted, 1)

	// Two deletions may cover a run together, and a record of a deletion may itself stand in a group deleted later.
	l.deleteGroups(4, 5, nil, 1600)
	l.deleteGroups(1, 2, nil, 1700)
	dir = l.export()
	l.strip(dir, 0, 1, 2, 3, 4)
	report, err = verify(t, dir, nil)
	require.NoError(t, err)
	require.Len(t, report.Deleted, 4)
}

func TestInvariant09_WhatNoCeremonyDeletedIsMissed(t *testing.T) {
	deny := func(outcome ledger.Outcome) func(e *ledger.Entry) {
		return func(e *ledger.Entry) { e.Outcome = outcome }
	}
	for name, c := range map[string]struct {
		record func(l *testLog)
		gone   []uint64
		seq    uint64
	}{
		"no deletion at all":         {func(*testLog) {}, []uint64{1}, 256},
		"another group":              {func(l *testLog) { l.deleteGroups(2, 3, nil, 1100) }, []uint64{1}, 256},
		"one group more":             {func(l *testLog) { l.deleteGroups(1, 3, nil, 1100) }, []uint64{1, 2, 3}, 768},
		"one group less at its head": {func(l *testLog) { l.deleteGroups(2, 4, nil, 1100) }, []uint64{1, 2, 3}, 256},
		"between two deletions": {func(l *testLog) {
			l.deleteGroups(0, 1, nil, 1050)
			l.deleteGroups(2, 3, nil, 1100)
		}, []uint64{0, 1, 2}, 256},
		"deletion denied":     {func(l *testLog) { l.deleteGroups(1, 2, deny(ledger.Deny), 1100) }, []uint64{1}, 256},
		"deletion failed":     {func(l *testLog) { l.deleteGroups(1, 2, deny(ledger.Failed), 1100) }, []uint64{1}, 256},
		"deletion only asked": {func(l *testLog) { l.deleteGroups(1, 2, deny(ledger.Allow), 1100) }, []uint64{1}, 256},
		"not of the control plane": {func(l *testLog) {
			l.deleteGroups(1, 2, func(e *ledger.Entry) { e.Link = nil }, 1100)
		}, []uint64{1}, 256},
		"recorded before the group": {func(l *testLog) { l.deleteGroups(4, 5, nil, 1400) }, []uint64{4}, 1024},
	} {
		t.Run(name, func(t *testing.T) {
			l := newTestLog(t, 1024)
			c.record(l)
			l.grow(1400)
			dir := l.export()
			l.strip(dir, c.gone...)
			_, err := verify(t, dir, l.trust())
			requireFinding(t, err, ledger.ErrTruncated, c.seq)
			require.ErrorContains(t, err, "no ceremony deleted them")

			// Without what should remain it is the same finding, not one of the chain.
			require.NoError(t, os.RemoveAll(filepath.Join(dir, "kept")))
			_, err = verify(t, dir, l.trust())
			requireFinding(t, err, ledger.ErrTruncated, c.seq)
		})
	}
}

func TestInvariant09_WhatRemainsOfADeletedGroupIsHeldToTheLog(t *testing.T) {
	l := deletedLog(t) // control entries have seq%7 == 3; of group 2 the first are 514, 521, 528
	edited := *l.entries[521]
	edited.Actor.ID = "somebody-else"
	other := deletedLog(t)
	bundle := func(raws ...[]byte) (out []byte) {
		for _, raw := range raws {
			var err error
			out, err = ledger.AppendBundle(out, raw)
			require.NoError(t, err)
		}
		return out
	}
	for name, c := range map[string]struct {
		kept []byte
		kind error
		seq  int // -1: named by the file
	}{
		"one left out":       {l.kept(2, 521), ledger.ErrTruncated, 521},
		"the first left out": {l.kept(2, 514), ledger.ErrTruncated, 514},
		"the last left out":  {l.kept(2, 766), ledger.ErrTruncated, 766},
		"some left out":      {l.kept(2, 521, 528), ledger.ErrTruncated, -1},
		"all left out":       {nil, ledger.ErrTruncated, -1},
		"edited":             {bundle(l.raws[514], ledger.AppendCanonical(nil, &edited)), ledger.ErrEdited, 521},
		"of another log":     {other.kept(2), ledger.ErrEdited, 514},
		"of another group":   {l.kept(3), ledger.ErrInserted, -1},
		"twice":              {bundle(l.raws[514], l.raws[514]), ledger.ErrReordered, 514},
		"in another order":   {bundle(l.raws[521], l.raws[514]), ledger.ErrReordered, 514},
		"one of the data":    {bundle(l.raws[514], l.raws[515]), ledger.ErrTiles, 515},
		"cut off":            {l.kept(2)[:100], ledger.ErrTruncated, -1},
		"no entry":           {bundle([]byte("{}")), ledger.ErrEdited, -1},
		"no bundle":          {[]byte{0, 0, 0}, ledger.ErrEdited, -1},
	} {
		t.Run(name, func(t *testing.T) {
			dir := l.export()
			l.strip(dir, 0, 2, 3)
			writeFile(t, dir, ledger.KeptPath(2), c.kept)
			for _, trust := range []*ledger.TrustFile{l.trust(), nil} {
				_, err := verify(t, dir, trust)
				if c.seq >= 0 {
					requireFinding(t, err, c.kind, uint64(c.seq))
				} else {
					require.ErrorIs(t, err, c.kind)
				}
			}
		})
	}
	// The genesis entry, and with it who this is, is a control entry like others.
	dir := l.export()
	l.strip(dir, 0)
	writeFile(t, dir, ledger.KeptPath(0), l.kept(0, 0))
	_, err := verify(t, dir, nil)
	requireFinding(t, err, ledger.ErrTruncated, 0)
}

func TestInvariant09_ControlEntryAtTheEndIsNotHidden(t *testing.T) {
	l := newTestLog(t, 300)
	l.deleteGroups(0, 1, nil, 301)
	for len(l.raws) < 600 { // no further control entry
		e := dataEntry(t)
		e.Epoch, e.At = l.epoch, l.entries[300].At
		l.add(e)
	}
	dir := l.export()
	l.strip(dir, 0)
	_, err := verify(t, dir, l.trust())
	require.NoError(t, err)
	l.strip(dir, 1)
	writeFile(t, dir, ledger.KeptPath(1), l.kept(1, 300)) // the record of the deletion itself
	_, err = verify(t, dir, l.trust())
	requireFinding(t, err, ledger.ErrTruncated, 0)

	l = newTestLog(t, 0)
	l.grow(1)
	for len(l.raws) < 300 {
		l.add(func() ledger.Entry { e := dataEntry(t); e.At = l.entries[0].At; return e }())
	}
	dir = l.export()
	l.strip(dir, 0)
	writeFile(t, dir, ledger.KeptPath(0), nil)
	_, err = verify(t, dir, l.trust())
	requireFinding(t, err, ledger.ErrTruncated, 0)
}

func TestInvariant09_DeletedGroupsNeedGenuineTiles(t *testing.T) {
	l := deletedLog(t)
	for name, c := range map[string]struct {
		path string
		kind error
		seq  uint64
	}{
		"of a deleted group": {ledger.TilePath(0, 2, 256), ledger.ErrTruncated, 0},
		"of another group":   {ledger.TilePath(0, 1, 256), ledger.ErrTruncated, 0},
		"above":              {ledger.TilePath(1, 0, 5), ledger.ErrTiles, 256},
	} {
		dir := l.export()
		l.strip(dir, 0, 2, 3)
		data, err := os.ReadFile(filepath.Join(dir, c.path))
		require.NoError(t, err)
		data[40] ^= 1
		writeFile(t, dir, c.path, data)
		_, err = verify(t, dir, l.trust())
		requireFinding(t, err, c.kind, c.seq)
		if c.kind == ledger.ErrTruncated {
			require.ErrorContains(t, err, "can not be told", name)
		}
	}
	dir := l.export()
	l.strip(dir, 0, 2, 3)
	require.NoError(t, os.Remove(filepath.Join(dir, ledger.TilePath(0, 3, 256))))
	_, err := verify(t, dir, l.trust())
	requireFinding(t, err, ledger.ErrTruncated, 0)

	// Tiles that are others the second time they are read.
	dir = l.export()
	l.strip(dir, 0, 2, 3)
	forged := t.TempDir()
	require.NoError(t, os.CopyFS(forged, os.DirFS(dir)))
	data, err := os.ReadFile(filepath.Join(dir, ledger.TilePath(0, 3, 256)))
	require.NoError(t, err)
	data[40] ^= 1
	writeFile(t, forged, ledger.TilePath(0, 3, 256), data)
	first, err := ledger.OpenDir(dir)
	require.NoError(t, err)
	defer first.Close()
	then, err := ledger.OpenDir(forged)
	require.NoError(t, err)
	defer then.Close()
	_, err = ledger.Verify(t.Context(), ledger.VerifyInput{Source: &twoFaced{first: first, then: then, seen: map[string]bool{}}, Trust: l.trust()})
	require.ErrorIs(t, err, ledger.ErrEdited)
}

func TestInvariant09_OnlyWholeGroupsCanBeDeleted(t *testing.T) {
	l := deletedLog(t)
	last := filepath.FromSlash(ledger.EntriesPath(5, 1500-5*256))
	dir := l.export()
	l.strip(dir, 0, 2, 3)
	require.NoError(t, os.Remove(filepath.Join(dir, last)))
	_, err := verify(t, dir, l.trust())
	requireFinding(t, err, ledger.ErrTruncated, 1280)

	// With the group before it gone too, no record could say that it was deleted.
	l.strip(dir, 4)
	_, err = verify(t, dir, l.trust())
	requireFinding(t, err, ledger.ErrTruncated, 1024)

	// A group that the bundles before it run into.
	dir = l.export()
	bundle, err := os.ReadFile(filepath.Join(dir, ledger.EntriesPath(1, 256)))
	require.NoError(t, err)
	l.strip(dir, 0, 2, 3)
	bundle, err = ledger.AppendBundle(bundle, l.raws[512])
	require.NoError(t, err)
	writeFile(t, dir, ledger.EntriesPath(1, 256), bundle)
	_, err = verify(t, dir, l.trust())
	requireFinding(t, err, ledger.ErrTruncated, 513)
}

func TestInvariant09_EntriesBesideADeletedGroupAreHeldToTheLog(t *testing.T) {
	l := deletedLog(t)
	dir := l.export()
	l.strip(dir, 2, 3)
	raws := slices.Clone(l.raws)
	raws[300], raws[301] = raws[301], raws[300]
	var bundle []byte
	for _, raw := range raws[256:512] {
		var err error
		bundle, err = ledger.AppendBundle(bundle, raw)
		require.NoError(t, err)
	}
	writeFile(t, dir, ledger.EntriesPath(1, 256), bundle)
	_, err := verify(t, dir, l.trust())
	requireFinding(t, err, ledger.ErrReordered, 300)
}

// deletedSource gives a log's entries as one does in which groups were deleted.
type deletedSource struct {
	*testLog
	gone  []ledger.DeletedError
	early bool // it refuses before it gives what stands before the deleted ones
}

func (s deletedSource) ReadEntries(ctx context.Context, from, to uint64, fn func(uint64, []byte) error) error {
	for i := range s.gone {
		gone := &s.gone[i]
		if from >= gone.To || to <= gone.From {
			continue
		}
		if !s.early && from < gone.From {
			if err := s.testLog.ReadEntries(ctx, from, gone.From, fn); err != nil {
				return err
			}
		}
		return fmt.Errorf("reading: %w", gone)
	}
	return s.testLog.ReadEntries(ctx, from, to, fn)
}

func TestExportOfALogWithDeletedEntries(t *testing.T) {
	l := deletedLog(t)
	kept := l.export()
	l.strip(kept, 0, 2, 3)
	remains, err := ledger.OpenDir(kept)
	require.NoError(t, err)
	defer remains.Close()
	gone := []ledger.DeletedError{{From: 0, To: 256, By: "01DEL0"}, {From: 512, To: 768, By: "01DEL512"}, {From: 512, To: 1024, By: "01DEL512"}}
	in := ledger.Export{Checkpoint: l.checkpoint(), Keys: l.chain(), Remains: remains}
	for _, early := range []bool{false, true} {
		in.Entries = deletedSource{l, gone, early}
		dir := filepath.Join(t.TempDir(), "export")
		require.NoError(t, ledger.ExportDir(t.Context(), dir, in))
		require.Equal(t, files(t, kept), files(t, dir))
		report, err := verify(t, dir, l.trust())
		require.NoError(t, err)
		require.Len(t, report.Deleted, 2)
	}
	target := func() string { return filepath.Join(t.TempDir(), "export") }
	in.Remains = nil
	var refused *ledger.DeletedError
	require.ErrorAs(t, ledger.ExportDir(t.Context(), target(), in), &refused)
	require.EqualValues(t, 256, refused.To)

	// What is not whole groups, or not what was asked for, is no deletion.
	in.Remains = remains
	for _, odd := range []ledger.DeletedError{{From: 0, To: 100}, {From: 100, To: 256}, {From: 1280, To: 1536}} {
		in.Entries = deletedSource{l, []ledger.DeletedError{odd}, false}
		require.ErrorAs(t, ledger.ExportDir(t.Context(), target(), in), &refused)
	}

	// What remains is checked as well as it can be.
	in.Entries = deletedSource{l, gone, false}
	writeFile(t, kept, ledger.KeptPath(2), l.kept(3))
	require.ErrorIs(t, ledger.ExportDir(t.Context(), target(), in), ledger.ErrInserted)
	writeFile(t, kept, ledger.KeptPath(2), l.kept(2))
	data, err := os.ReadFile(filepath.Join(kept, ledger.TilePath(0, 3, 256)))
	require.NoError(t, err)
	copy(data[:32], data[32:64])
	writeFile(t, kept, ledger.TilePath(0, 3, 256), data)
	require.ErrorIs(t, ledger.ExportDir(t.Context(), target(), in), ledger.ErrEdited)
}

// files is the content of a directory by path.
func files(t *testing.T, dir string) map[string]string {
	out := map[string]string{}
	require.NoError(t, fs.WalkDir(os.DirFS(dir), ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(filepath.Join(dir, path))
		out[path] = string(data)
		return err
	}))
	return out
}
