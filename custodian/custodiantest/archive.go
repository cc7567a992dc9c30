package custodiantest

import (
	"io"
	"testing"

	"github.com/stretchr/testify/require"

	"conclave/custodian"
	"conclave/custodian/ledger"
	"conclave/custodian/segment"
	"conclave/custodian/store"
)

// Archive moves the entries from ≤ seq < to of a ledger into a segment in a directory and records it, as the governed
// operation does. They stay in the database until [Drop].
func Archive(t testing.TB, st *store.Store, dir string, from, to uint64) *segment.Segment {
	t.Helper()
	instance, _, err := store.Get[custodian.Instance](st.View(), custodian.KindInstance, custodian.InstanceRow)
	require.NoError(t, err)
	_, note, _ := st.Published()
	head, err := st.OpenCheckpoint(note)
	require.NoError(t, err)
	place, name := segment.Archive{Directory: dir}, segment.FileName(instance.ID, from, to)
	require.NoError(t, place.Mark(t.Context(), instance.ID))
	require.NoError(t, place.Create(t.Context(), name, func(w io.Writer) error {
		return segment.Write(t.Context(), w, segment.Content{Instance: instance.ID, From: from, To: to, Checkpoint: note, Head: head, Entries: st,
			Hashes: ledger.HashReader(t.Context(), st.Tree(), st)})
	}))
	file, closer, err := place.Open(t.Context(), name)
	require.NoError(t, err)
	require.NoError(t, closer.Close())
	sum, size, err := place.Sum(t.Context(), name)
	require.NoError(t, err)
	m := file.Manifest
	g := &segment.Segment{ID: segment.ID(from, to), From: from, To: to, FirstAt: m.FirstAt, LastAt: m.LastAt, Control: m.Control, Directory: dir, File: name,
		Bytes: size, SHA256: sum, Node: NodeID, Status: segment.Kept, ArchivedBy: "c-archive"}
	putSegment(t, st, "ledger.archive", g, func(tx *store.Tx) { g.ArchivedAt = tx.Now() })
	return g
}

// Drop takes archived entries out of the database.
func Drop(t testing.TB, st *store.Store) {
	t.Helper()
	for next, end := uint64(0), custodian.ArchivedTo(st.View()); next < end; {
		var err error
		next, err = st.DropArchived(t.Context(), next, end, 100)
		require.NoError(t, err)
	}
}

// DeleteArchived deletes a segment for good and records it, as the governed operation does.
func DeleteArchived(t testing.TB, st *store.Store, g *segment.Segment) {
	t.Helper()
	gone, err := segment.Archive{Directory: g.Directory}.Remove(t.Context(), g.File)
	require.NoError(t, err)
	require.True(t, gone)
	putSegment(t, st, ledger.DeletionType, g, func(tx *store.Tx) {
		at := tx.Now()
		g.Status, g.DeletedAt, g.DeletedBy = segment.Deleted, &at, "c-delete"
	})
}

func putSegment(t testing.TB, st *store.Store, event string, g *segment.Segment, change func(*store.Tx)) {
	t.Helper()
	_, err := st.Control(t.Context(), func(tx *store.Tx) error {
		change(tx)
		if err := tx.Put(custodian.KindSegment, g.ID, g); err != nil {
			return err
		}
		e := entry(event, ledger.Target{Type: ledger.SegmentTarget, ID: g.ID})
		e.Ceremony = g.ArchivedBy
		if g.DeletedBy != "" {
			e.Ceremony = g.DeletedBy
		}
		e.Detail = custodian.Detail(map[string]any{"from": g.From, "to": g.To, "first_at": g.FirstAt, "last_at": g.LastAt})
		return tx.Append(e)
	})
	require.NoError(t, err)
}
