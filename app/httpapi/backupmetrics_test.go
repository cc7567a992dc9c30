package httpapi_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"conclave/custodian"
	"conclave/custodian/backup"
)

// What is missing counts from when the schedule began: nothing stays unseen because there is none of it.
func TestBackupMetrics(t *testing.T) {
	e := newEdge(t, options{})
	now := e.Clock.Now()
	ago := func(d time.Duration) time.Time { return now.Add(-d) }
	for _, s := range []backup.Schedule{{ID: "nightly", Status: backup.ScheduleActive, EveryMinutes: 60, CreatedAt: ago(100 * time.Hour)},
		{ID: "stopped", Status: backup.ScheduleStopped, EveryMinutes: 60, CreatedAt: ago(time.Hour)}} {
		e.Put(t, custodian.KindBackupSchedule, s.ID, s)
	}
	shown := func(want ...string) {
		t.Helper()
		text := string(e.call(t, http.MethodGet, "/metrics", "", "").body)
		for _, line := range want {
			require.Contains(t, text, line+"\n")
		}
		require.NotContains(t, text, `"stopped"`)
	}
	shown(`conclave_backup_age_seconds{schedule="nightly"} 360000`, `conclave_backup_drill_age_seconds{schedule="nightly"} 360000`,
		`conclave_backup_interval_seconds{schedule="nightly"} 3600`)
	for _, c := range []backup.Copy{
		{ID: "gone", Status: backup.CopyDeleted, At: ago(50 * time.Hour), Drills: []backup.Drill{{At: ago(40 * time.Hour)}}},
		{ID: "good", Status: backup.CopyPresent, At: ago(2 * time.Hour)},
		{ID: "left", Status: backup.CopyPresent, At: ago(time.Hour), LeftBy: "r-1"},
		{ID: "expired", Status: backup.CopyExpired, At: ago(time.Minute)},
	} {
		c.Schedule = "nightly"
		e.Put(t, custodian.KindBackup, c.ID, c)
	}
	shown(`conclave_backup_age_seconds{schedule="nightly"} 7200`, `conclave_backup_drill_age_seconds{schedule="nightly"} 144000`)
}
