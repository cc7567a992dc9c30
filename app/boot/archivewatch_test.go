package boot_test

import (
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"conclave/app/boot"
	"conclave/custodian/clock"
	"conclave/custodian/custodiantest"
	"conclave/custodian/segment"
)

// An archive's file that is lost or altered is noticed and named although nobody asks for what is in it, and no longer once
// it is put back.
func TestInvariant09_LostAndAlteredArchivesAreNoticed(t *testing.T) {
	cfg, _, _ := made(t)
	cfg = settings(t, cfg.DataDir, map[string]string{"metrics.listen": "127.0.0.1:0"})
	hand := clock.NewManual(time.Now().Add(time.Minute))
	rehearsal, err := boot.Rehearse(t.Context(), cfg, hand, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	t.Cleanup(func() { stop(t, rehearsal.Running) })
	r, dir := rehearsal.Running, t.TempDir()
	st := r.Custodian.Store()
	require.NoError(t, r.LookAtArchives(t.Context()), "nothing is archived")
	uses(t, st, 600)
	one, two := custodiantest.Archive(t, st, dir, 0, 256), custodiantest.Archive(t, st, dir, 256, 512)
	file := func(g *segment.Segment) string { return filepath.Join(dir, g.File) }
	look := func(unreadable string) error {
		t.Helper()
		err := r.LookAtArchives(t.Context())
		require.Equal(t, [2]string{"2", unreadable}, segmentMetrics(t, r))
		return err
	}
	require.NoError(t, look("0"))

	require.NoError(t, os.Rename(file(one), file(one)+".away"))
	err = look("1")
	require.ErrorIs(t, err, segment.ErrUnreachable)
	require.ErrorContains(t, err, "of 2 segments of the ledger 1 can not be read as recorded")
	require.ErrorContains(t, err, file(one))
	require.NoError(t, os.Rename(file(one)+".away", file(one)))
	require.NoError(t, look("0"))
	require.False(t, recorded(t, r, "integrity.violation"), "what is away may come back")

	whole, err := os.ReadFile(file(two))
	require.NoError(t, err)
	altered := append([]byte(nil), whole...)
	altered[len(altered)/2] ^= 1
	require.NoError(t, os.WriteFile(file(two), altered, 0o600))
	require.NoError(t, look("0"), "it was read whole within the day")
	hand.Advance(25 * time.Hour)
	for range 2 { // one file is read at a time
		err = r.LookAtArchives(t.Context())
	}
	require.ErrorIs(t, err, segment.ErrAltered)
	require.ErrorContains(t, err, file(two))
	require.Eventually(t, func() bool { return recorded(t, r, "integrity.violation") }, time.Minute, 10*time.Millisecond)
	require.Error(t, look("1"), "it stays on the list until it was read anew")
	require.NoError(t, os.WriteFile(file(two), whole, 0o600))
	require.NoError(t, look("0"))

	require.NoError(t, os.Truncate(file(two), int64(len(whole)-1)))
	require.ErrorIs(t, look("1"), segment.ErrAltered, "its length is seen at once")
}

// segmentMetrics are how many segments there are and how many of them are unreadable.
func segmentMetrics(t *testing.T, r *boot.Running) [2]string {
	t.Helper()
	_, body := get(t, http.DefaultClient, r.MetricsURL+"/metrics")
	var out [2]string
	for i, name := range []string{"conclave_ledger_segments", "conclave_ledger_segments_unreadable"} {
		found := regexp.MustCompile(`(?m)^` + name + ` (\S+)$`).FindStringSubmatch(body)
		require.NotNil(t, found, name)
		out[i] = found[1]
	}
	return out
}
