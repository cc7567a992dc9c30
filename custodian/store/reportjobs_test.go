package store_test

import (
	"bytes"
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"conclave/custodian/store"
	"conclave/custodian/store/storetest"
)

func reportBounds() store.ReportBounds {
	return store.ReportBounds{Each: 2, All: 3, Bytes: 3 * store.ReportChunk, Wait: time.Hour, Keep: time.Hour}
}

// made makes a report of one chunk and some.
func made(t *testing.T, s *store.Store, content []byte) *store.ReportJob {
	t.Helper()
	ctx := t.Context()
	job, err := s.TakeReport(ctx)
	require.NoError(t, err)
	for idx := int64(0); idx*store.ReportChunk < int64(len(content)); idx++ {
		part := content[idx*store.ReportChunk:]
		require.NoError(t, s.AddReportChunk(ctx, job.Claim, idx, part[:min(len(part), store.ReportChunk)]))
	}
	job.State, job.Bytes, job.SHA256 = store.ReportDone, int64(len(content)), "digest"
	job.SetCheckpoint(7)
	require.NoError(t, s.EndReport(ctx, job, reportBounds()))
	return job
}

func TestReportJobsOutlastTheirProcess(t *testing.T) {
	storetest.Each(t, schema(), seed, func(t *testing.T, open func() *store.Store) {
		s, b := open(), reportBounds()
		ctx := context.Background()
		waits, err := s.ReportWaits(ctx)
		require.NoError(t, err)
		require.False(t, waits)
		_, err = s.TakeReport(ctx)
		require.ErrorIs(t, err, store.ErrNotFound)

		asked, err := s.AddReport(ctx, "human:ada", "pdf", []byte(`{"a":1}`), b)
		require.NoError(t, err)
		dead, err := s.TakeReport(ctx)
		require.NoError(t, err)
		require.Equal(t, asked.ID, dead.ID)
		require.NoError(t, s.NoteReport(ctx, dead, "reads", 3, 9))
		require.NoError(t, s.AddReportChunk(ctx, dead.Claim, 0, []byte("half")))

		s = open() // what another process, or the same anew, finds
		seen, err := s.Report(ctx, asked.ID)
		require.NoError(t, err)
		require.Equal(t, "reads", seen.Stage)
		require.EqualValues(t, 3, seen.ReadEntries)
		require.Equal(t, `{"a":1}`, string(seen.Request))
		content := bytes.Repeat([]byte("0123456789abcdef"), store.ReportChunk/16+1)
		job := made(t, s, content)
		require.Equal(t, asked.ID, job.ID)
		require.Equal(t, 2, job.Tries)
		require.ErrorIs(t, s.NoteReport(ctx, dead, "reads", 4, 9), store.ErrReportTaken, "who was thought dead adds nothing")
		dead.State = store.ReportDone
		require.ErrorIs(t, s.EndReport(ctx, dead, b), store.ErrReportTaken)

		s = open()
		seen, err = s.Report(ctx, asked.ID)
		require.NoError(t, err)
		require.Equal(t, store.ReportDone, seen.State)
		require.EqualValues(t, 7, seen.CheckpointSize)
		one, err := s.ReportPart(ctx, seen, 0)
		require.NoError(t, err)
		two, err := s.ReportPart(ctx, seen, 1)
		require.NoError(t, err)
		require.Equal(t, content, append(one, two...))
		_, err = s.ReportPart(ctx, seen, 2)
		require.ErrorIs(t, err, store.ErrNotFound)

		more, err := s.PurgeReports(ctx, b)
		require.NoError(t, err)
		require.True(t, more, "what the dead attempt left")
		more, err = s.PurgeReports(ctx, b)
		require.NoError(t, err)
		require.False(t, more)
		_, err = s.ReportPart(ctx, seen, 1)
		require.NoError(t, err, "what is kept stays")
	})
}

func TestReportJobsAreBounded(t *testing.T) {
	storetest.Each(t, schema(), seed, func(t *testing.T, open func() *store.Store) {
		s, b := open(), reportBounds()
		ctx := context.Background()
		add := func(owner string) (*store.ReportJob, error) { return s.AddReport(ctx, owner, "pdf", []byte("{}"), b) }
		ids := map[string]string{}
		for _, name := range []string{"first", "second"} {
			j, err := add("human:ada")
			require.NoError(t, err)
			ids[name] = j.ID
		}
		_, err := add("human:ada")
		require.ErrorIs(t, err, store.ErrReportsFull, "two of hers wait")
		_, err = add("human:bob")
		require.NoError(t, err)
		_, err = add("human:cleo")
		require.ErrorIs(t, err, store.ErrReportsFull, "three wait in all")

		first := made(t, s, make([]byte, store.ReportChunk))
		require.Equal(t, ids["first"], first.ID, "who waits longest is first")
		_, err = add("human:ada")
		require.NoError(t, err, "her own finished one makes room")
		_, err = s.Report(ctx, first.ID)
		require.ErrorIs(t, err, store.ErrNotFound)
		second := made(t, s, make([]byte, store.ReportChunk))
		require.NoError(t, s.ReportRoom(ctx, 2*store.ReportChunk, b))
		_, err = s.Report(ctx, second.ID)
		require.NoError(t, err, "there is room")
		require.NoError(t, s.ReportRoom(ctx, 2*store.ReportChunk+1, b))
		_, err = s.Report(ctx, second.ID)
		require.ErrorIs(t, err, store.ErrNotFound)

		b.Wait, b.Keep = time.Nanosecond, time.Nanosecond // all that is there stays longer than any may
		more, err := s.PurgeReports(ctx, b)
		require.NoError(t, err)
		require.True(t, more)
		waits, err := s.ReportWaits(ctx)
		require.NoError(t, err)
		require.False(t, waits)
	})
}

func TestForgedReportsAreNobodys(t *testing.T) {
	edits := map[string]string{
		"owner":    `UPDATE report_jobs SET owner = 'human:eve'`,
		"request":  `UPDATE report_jobs SET request = '{}'`,
		"digest":   `UPDATE report_jobs SET sha256 = 'other'`,
		"length":   `UPDATE report_jobs SET bytes = 3`,
		"life":     `UPDATE report_jobs SET expires_at = expires_at + 1`,
		"state":    `UPDATE report_jobs SET state = 'failed', error = 'call this number'`,
		"made up":  `UPDATE report_jobs SET seal = result_seal`,
		"attempt":  `UPDATE report_jobs SET claim = 'other'`,
		"contents": `UPDATE report_chunks SET body = (SELECT b.body FROM report_chunks b WHERE b.idx = 1)`,
		"cut":      `UPDATE report_chunks SET body = ''`,
	}
	storetest.Each(t, schema(), seed, func(t *testing.T, open func() *store.Store) {
		s := open()
		for name, edit := range edits {
			asked, err := s.AddReport(t.Context(), "human:ada", "pdf", []byte(`{"a":1}`), reportBounds())
			require.NoError(t, err)
			made(t, s, append(make([]byte, store.ReportChunk), 'x'))
			require.NoError(t, store.ExecWrite(s, edit))
			job, err := s.Report(t.Context(), asked.ID)
			for idx := int64(0); err == nil && idx < 2; idx++ {
				_, err = s.ReportPart(t.Context(), job, idx)
			}
			var tampered *store.TamperedError
			require.ErrorAs(t, err, &tampered, name)
			require.NoError(t, store.ExecWrite(s, `DELETE FROM report_jobs`))
			require.NoError(t, store.ExecWrite(s, `DELETE FROM report_chunks`))
		}
		// One that waits is not made for whom it was not asked, and does not hold up the others.
		_, err := s.AddReport(t.Context(), "human:ada", "pdf", []byte(`{"a":1}`), reportBounds())
		require.NoError(t, err)
		require.NoError(t, store.ExecWrite(s, edits["owner"]))
		honest, err := s.AddReport(t.Context(), "human:ada", "pdf", []byte(`{"a":1}`), reportBounds())
		require.NoError(t, err)
		_, err = s.TakeReport(t.Context())
		var tampered *store.TamperedError
		require.ErrorAs(t, err, &tampered)
		job, err := s.TakeReport(t.Context())
		require.NoError(t, err)
		require.Equal(t, honest.ID, job.ID)
	})
}
