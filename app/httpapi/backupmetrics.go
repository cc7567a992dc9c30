package httpapi

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"conclave/ceremony/operation"
	"conclave/custodian"
	"conclave/custodian/backup"
	"conclave/custodian/store"
)

// backupCollector tells how old the newest copies and the last restore tests are, by schedule. Schedules are few: each is
// decided by ceremony.
type backupCollector struct{ s *server }

func (backupCollector) descriptions() (copied, drilled, interval *prometheus.Desc) {
	labels := []string{"schedule"}
	return prometheus.NewDesc("conclave_backup_age_seconds", "Age of the newest verified backup of an active schedule; of the schedule itself where there is none.", labels, nil),
		prometheus.NewDesc("conclave_backup_drill_age_seconds", "Time since the last restore test on record that succeeded with a backup of an active schedule; since the schedule began where there was none.", labels, nil),
		prometheus.NewDesc("conclave_backup_interval_seconds", "Time between two backups as the schedule was decided.", labels, nil)
}

// Describe implements prometheus.Collector.
func (c backupCollector) Describe(out chan<- *prometheus.Desc) {
	copied, drilled, interval := c.descriptions()
	for _, d := range []*prometheus.Desc{copied, drilled, interval} {
		out <- d
	}
}

// Collect implements prometheus.Collector.
func (c backupCollector) Collect(out chan<- prometheus.Metric) {
	copied, drilled, interval := c.descriptions()
	view, now := c.s.door.View(), c.s.clock.Now()
	gauge := func(d *prometheus.Desc, v time.Duration, schedule string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, max(v, 0).Seconds(), schedule)
	}
	for _, s := range store.All[backup.Schedule](view, custodian.KindBackupSchedule) {
		if s.Status != backup.ScheduleActive {
			continue
		}
		newest, drill := s.CreatedAt, s.CreatedAt
		for _, b := range operation.Copies(view, s.ID, backup.CopyPresent) {
			if b.LeftBy == "" { // a copy of what a recovery left behind is none of this ledger
				newest = later(newest, b.At)
			}
		}
		for _, b := range store.All[backup.Copy](view, custodian.KindBackup) { // also of copies that are gone
			if n := len(b.Drills); b.Schedule == s.ID && n > 0 {
				drill = later(drill, b.Drills[n-1].At)
			}
		}
		gauge(copied, now.Sub(newest), s.ID)
		gauge(drilled, now.Sub(drill), s.ID)
		gauge(interval, s.Interval(), s.ID)
	}
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}
