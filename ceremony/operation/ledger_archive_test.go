package operation_test

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"conclave/ceremony"
	"conclave/ceremony/operation"
	"conclave/custodian"
	"conclave/custodian/custodiantest"
	"conclave/custodian/key"
	"conclave/custodian/ledger"
	"conclave/custodian/segment"
	"conclave/custodian/store"
)

// used is a rig whose ledger has entries of three days, a hundred days ago and later: 700 on the first, 300 on each of the others.
func used(t *testing.T) (*rig, string) {
	t.Helper()
	r := newRig(t)
	r.uses(t, 700)
	r.Clock.Advance(24 * time.Hour)
	r.uses(t, 300)
	r.Clock.Advance(24 * time.Hour)
	r.uses(t, 300)
	r.Clock.Advance(100 * 24 * time.Hour)
	r.run(t, "retention.change", human("demo-ada"), map[string]any{"class": "ledger", "days": 366, "immediate_days": 92, "reason": "storage"})
	return r, t.TempDir()
}

func (r *rig) uses(t *testing.T, n int) {
	t.Helper()
	for range n {
		e := ledger.Entry{Type: "key.use.datakey", Actor: r.App, Target: ledger.Target{Type: "key", ID: custodiantest.KeyID, Version: 1}, Outcome: ledger.Allow}
		_, err := r.Store.Append(context.Background(), &e, r.View().Epoch())
		require.NoError(t, err)
	}
}

func until(day, dir string) map[string]any {
	return map[string]any{"until": day, "directory": dir, "reason": "storage"}
}

func (r *rig) raw(t *testing.T, from, to uint64) [][]byte {
	t.Helper()
	var out [][]byte
	require.NoError(t, r.Store.ReadEntries(t.Context(), from, to, func(_ uint64, raw []byte) error {
		out = append(out, append([]byte(nil), raw...))
		return nil
	}))
	return out
}

func (r *rig) drop(t *testing.T) {
	t.Helper()
	end := custodian.ArchivedTo(r.View())
	for next := uint64(0); next < end; {
		var err error
		next, err = r.Store.DropArchived(t.Context(), next, end, 50)
		require.NoError(t, err)
	}
}

func TestTheLedgerIsArchivedAndReadFromThere(t *testing.T) {
	r, dir := used(t)
	for field, params := range map[string]map[string]any{
		"until":     until("yesterday", dir),
		"directory": until("2026-11-24", "../else"),
		"reason":    {"until": "2026-11-24", "directory": dir},
	} {
		in := r.input(t, human("demo-ada"), params)
		if field == "reason" {
			in.Reason = ""
		}
		_, err := r.prepare(t, "ledger.archive", in)
		require.Equal(t, field, fieldOf(t, err))
	}
	require.Equal(t, []string{"at_hand"}, r.denied(t, "ledger.archive", human("demo-ada"), until("2027-01-01", dir)), "three months stay at hand")
	require.Equal(t, []string{"no_object_store"}, r.denied(t, "ledger.archive", human("demo-ada"), until("2026-11-24", "s3://archive/conclave")))
	examine := func(day string) []string {
		deny, err := op(t, "ledger.archive").(operation.Examining).Examine(t.Context(), r.env, r.View(), r.input(t, human("demo-ada"), until(day, dir)))
		require.NoError(t, err)
		var codes []string
		for _, reason := range deny {
			codes = append(codes, reason.Code)
		}
		return codes
	}
	require.Equal(t, []string{"nothing_to_archive"}, examine("2026-11-23"))
	require.Empty(t, examine("2026-11-24"))

	before := r.raw(t, 0, r.View().Head().Size)
	r.run(t, "ledger.archive", human("demo-ada"), until("2026-11-24", dir))
	first := custodian.Segments(r.View())
	require.Len(t, first, 1)
	require.EqualValues(t, 512, first[0].To, "whole groups of the first day")
	require.FileExists(t, filepath.Join(dir, first[0].File))
	require.Equal(t, []string{"nothing_to_archive"}, examine("2026-11-24"))
	r.run(t, "ledger.archive", human("demo-ada"), until("2026-11-25", dir))
	require.EqualValues(t, 768, custodian.ArchivedTo(r.View()), "the next one goes on where it ended")

	r.drop(t)
	require.Equal(t, before, r.raw(t, 0, uint64(len(before))))
	for _, e := range r.events(t, "ledger.archive") {
		require.Equal(t, ledger.SegmentTarget, e.Target.Type)
	}
	// A restart needs no archive; without it, entries in it can not be read, and nothing else is touched.
	require.NoError(t, r.Segments.Close())
	require.NoError(t, os.Rename(dir, dir+"-away"))
	require.NoError(t, r.Store.Close())
	r.Open(t)
	_, _, err := r.Store.EntryAt(t.Context(), 300)
	require.ErrorIs(t, err, segment.ErrUnreachable)
	require.NotErrorIs(t, err, store.ErrEdited)
	require.ErrorIs(t, r.Segments.Check(t.Context(), custodian.Segments(r.View())[0]), segment.ErrUnreachable)
	require.NoError(t, os.Rename(dir+"-away", dir))
	_, _, err = r.Store.EntryAt(t.Context(), 300)
	require.NoError(t, err)

	// Whoever alters the file is named.
	g := custodian.Segments(r.View())[1]
	require.NoError(t, r.Segments.Check(t.Context(), g))
	path := filepath.Join(dir, g.File)
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	data[len(data)/3] ^= 1
	require.NoError(t, os.WriteFile(path, data, 0o600))
	require.ErrorIs(t, r.Segments.Check(t.Context(), g), segment.ErrAltered)
}

// A process that dies leaves files that are whole, which are adopted, or parts, which are nothing.
func TestInvariant10_ArchivingSurvivesACrashAtEachStep(t *testing.T) {
	r, dir := used(t)
	run := op(t, "ledger.archive").(operation.Effectful)
	in := r.input(t, human("demo-ada"), until("2026-11-24", dir))
	_, err := run.Effect(t.Context(), r.env, in, "e-1", nil)
	require.NoError(t, err)
	effect, found, err := run.Recover(t.Context(), r.env, in, "e-1") // the file is there, the record is not
	require.NoError(t, err)
	require.True(t, found)
	_, err = r.record(t, "ledger.archive", in, effect)
	require.NoError(t, err)
	require.Len(t, custodian.Segments(r.View()), 1)
	require.NoError(t, run.Undo(t.Context(), r.env, in, effect))
	require.FileExists(t, filepath.Join(dir, custodian.Segments(r.View())[0].File), "what is on record is not taken back")

	// What stands under the name and is not the segment is not adopted.
	in = r.input(t, human("demo-ada"), until("2026-11-25", dir))
	name := segment.FileName(r.Instance.ID, 512, 768)
	require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte("something else"), 0o600))
	_, _, err = run.Recover(t.Context(), r.env, in, "e-2")
	require.ErrorIs(t, err, segment.ErrFormat)
	require.NoError(t, os.Remove(filepath.Join(dir, name)))

	// Of two ceremonies for the same entries one is recorded.
	a, b := r.input(t, human("demo-ada"), until("2026-11-25", dir)), r.input(t, human("demo-ada"), until("2026-11-25", dir))
	one, err := run.Effect(t.Context(), r.env, a, "e-a", nil)
	require.NoError(t, err)
	two, err := run.Effect(t.Context(), r.env, b, "e-b", nil)
	require.NoError(t, err)
	_, err = r.record(t, "ledger.archive", a, one)
	require.NoError(t, err)
	_, err = r.record(t, "ledger.archive", b, two)
	require.Error(t, err)
	require.NoError(t, run.Undo(t.Context(), r.env, b, two))
	require.FileExists(t, filepath.Join(dir, name))
	require.Len(t, custodian.Segments(r.View()), 2)
}

func TestArchivedEntriesAreDeletedOnceRetentionHasPassed(t *testing.T) {
	r, dir := used(t)
	r.run(t, "ledger.archive", human("demo-ada"), until("2026-11-25", dir))
	g := custodian.Segments(r.View())[0]
	r.drop(t)
	remove := map[string]any{"segments": []string{g.ID}, "reason": "retention has passed"}
	require.Equal(t, []string{"retention"}, r.denied(t, "ledger.delete-archived", human("demo-ada"), remove))
	for _, bad := range []any{[]string{}, []string{"no-such"}, []string{g.ID, g.ID}} {
		_, err := r.prepare(t, "ledger.delete-archived", r.input(t, human("demo-ada"), map[string]any{"segments": bad, "reason": "test"}))
		require.Equal(t, "segments", fieldOf(t, err))
	}
	r.Clock.Advance(300 * 24 * time.Hour)
	for i, on := range []map[string]any{{"type": "key", "id": custodiantest.KeyID}, {"type": "instance"}, {"type": "ledger"}} {
		params := map[string]any{"id": []string{"m1", "m2", "m3"}[i], "on": on, "matter": "Doe v. Shop", "reason": "litigation"}
		if on["type"] == "ledger" {
			params["from"], params["to"] = 767, 800
		}
		r.run(t, "hold.set", human("demo-ben"), params)
		require.Equal(t, []string{key.CodeLegalHold}, r.denied(t, "ledger.delete-archived", human("demo-ada"), remove))
		plan, err := r.prepare(t, "ledger.delete-archived", r.input(t, human("demo-ada"), remove))
		require.NoError(t, err)
		require.Contains(t, plan.Deny[0].Message, "hold "+params["id"].(string)+" for Doe v. Shop keeps segment "+g.ID)
		r.run(t, "hold.lift", human("demo-ada"), map[string]any{"hold": params["id"], "reason": "settled"})
	}
	r.run(t, "hold.set", human("demo-ben"), map[string]any{"id": "m4", "on": map[string]any{"type": "ledger"}, "from": 768, "to": 800, "matter": "Doe v. Shop", "reason": "other entries"})

	// An archive that is not there, as an absent mount, deletes nothing.
	require.NoError(t, os.Rename(dir, dir+"-away"))
	require.NoError(t, os.Mkdir(dir, 0o700))
	in := r.input(t, human("demo-ada"), remove)
	_, err := r.execute(t, "ledger.delete-archived", in, nil)
	require.ErrorIs(t, err, segment.ErrUnreachable)
	require.NoError(t, os.Remove(dir))
	require.NoError(t, os.Rename(dir+"-away", dir))

	head := r.View().Head()
	control := 0
	require.NoError(t, r.Store.ControlEntriesIn(t.Context(), 0, g.To, func(*ledger.Entry, []byte) error { control++; return nil }))
	require.EqualValues(t, control, g.Control)
	r.run(t, "ledger.delete-archived", human("demo-ada"), remove)
	require.NoFileExists(t, filepath.Join(dir, g.File))
	var gone *ledger.DeletedError
	_, _, err = r.Store.EntryAt(t.Context(), 300)
	require.ErrorAs(t, err, &gone)
	require.Equal(t, ledger.DeletedError{From: 0, To: 768, By: custodian.Segments(r.View())[0].DeletedBy, FirstAt: g.FirstAt, LastAt: g.LastAt}, *gone)
	_, err = r.Store.Inclusion(t.Context(), 300, head.Size)
	require.NoError(t, err)
	left := 0
	require.NoError(t, r.Store.Present(t.Context(), 0, g.To, func(*ledger.Entry, []byte) error { left++; return nil }))
	require.Equal(t, control, left)
	var deleted []*ledger.Entry
	require.NoError(t, r.Store.ControlEntries(t.Context(), 0, func(e *ledger.Entry, _ []byte) error {
		if e.Type == ledger.DeletionType {
			deleted = append(deleted, e)
		}
		return nil
	}))
	require.Len(t, deleted, 1)
	d, is, err := ledger.ReadDeletion(deleted[0])
	require.NoError(t, err)
	require.True(t, is)
	require.EqualValues(t, 768, d.To)
	require.Equal(t, []string{"already_deleted"}, r.denied(t, "ledger.delete-archived", human("demo-ada"), remove))
	require.NoError(t, r.Store.Close())
	r.Open(t) // the start reads the control plane, which is whole
	require.NoError(t, r.Store.Health())
}

func TestInvariant01_ArchivesTakeAQuorum(t *testing.T) {
	r := newEngineRig(t)
	r.uses(t, 700)
	dir := t.TempDir()
	r.govern(t, "demo-ada", "retention.change", map[string]any{"class": "ledger", "days": 366, "immediate_days": 92, "reason": "storage"})
	r.Clock.Advance(100 * 24 * time.Hour)
	c := r.propose(t, "demo-ada", "ledger.archive", until("2026-11-24", dir))
	require.Equal(t, ceremony.Proposed, c.State)
	require.Empty(t, custodian.Segments(r.View()))
	r.approve(t, "demo-ben", c.ID)
	require.Empty(t, custodian.Segments(r.View()))
}
