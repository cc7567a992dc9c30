package httpapi

import (
	"github.com/prometheus/client_golang/prometheus"

	"conclave/app/siem"
)

// exportCollector tells how far behind the targets are that the ledger is delivered to. They are few and configured.
type exportCollector struct{ s *server }

func (exportCollector) descriptions() (entries, seconds, failures *prometheus.Desc) {
	labels := []string{"target"}
	return prometheus.NewDesc("conclave_export_lag_entries", "Ledger entries that the target has not got.", labels, nil),
		prometheus.NewDesc("conclave_export_lag_seconds", "Age of the oldest ledger entry that the target has not got; 0 where it has all.", labels, nil),
		prometheus.NewDesc("conclave_export_failures_total", "Deliveries by this process that failed, and are tried again.", labels, nil)
}

// Describe implements prometheus.Collector.
func (c exportCollector) Describe(out chan<- *prometheus.Desc) {
	entries, seconds, failures := c.descriptions()
	for _, d := range []*prometheus.Desc{entries, seconds, failures} {
		out <- d
	}
}

// Collect implements prometheus.Collector.
func (c exportCollector) Collect(out chan<- prometheus.Metric) {
	entries, seconds, failures := c.descriptions()
	if c.s.cfg.Exports == nil {
		return
	}
	size := c.s.door.View().Head().Size
	for _, e := range c.s.cfg.Exports() {
		age := 0.0
		if !e.Oldest.IsZero() {
			age = max(0, c.s.clock.Now().Sub(e.Oldest).Seconds())
		}
		out <- prometheus.MustNewConstMetric(entries, prometheus.GaugeValue, float64(size-min(size, e.Next)), e.Target)
		out <- prometheus.MustNewConstMetric(seconds, prometheus.GaugeValue, age, e.Target)
		out <- prometheus.MustNewConstMetric(failures, prometheus.CounterValue, float64(e.Failures), e.Target)
	}
}

// Exports tells how far each target of the export is.
type Exports func() []siem.State
