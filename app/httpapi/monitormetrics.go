package httpapi

import (
	"strconv"

	"github.com/prometheus/client_golang/prometheus"

	"conclave/custodian"
	"conclave/custodian/oversight"
	"conclave/custodian/store"
)

// monitorCollector tells what the daily run found and what rules found since the process began. Frameworks, verdicts and
// rules are few.
type monitorCollector struct{ s *server }

func (monitorCollector) descriptions() (verdicts, age, alerts *prometheus.Desc) {
	return prometheus.NewDesc("conclave_control_verdicts", "Controls by the verdict of the last daily run.", []string{"framework", "verdict"}, nil),
		prometheus.NewDesc("conclave_monitor_run_age_seconds", "Time since the controls of the framework were judged last by the daily run.", []string{"framework"}, nil),
		prometheus.NewDesc("conclave_monitor_alerts_total", "What rules found in the ledger, recorded by this process.", []string{"rule"}, nil)
}

// Describe implements prometheus.Collector.
func (c monitorCollector) Describe(out chan<- *prometheus.Desc) {
	verdicts, age, alerts := c.descriptions()
	for _, d := range []*prometheus.Desc{verdicts, age, alerts} {
		out <- d
	}
}

// Collect implements prometheus.Collector.
func (c monitorCollector) Collect(out chan<- prometheus.Metric) {
	verdicts, age, alerts := c.descriptions()
	for _, m := range store.All[oversight.Monitored](c.s.door.View(), custodian.KindMonitored) {
		counts := map[string]int{}
		for _, v := range m.Verdicts {
			counts[v.Verdict]++
		}
		for verdict, n := range counts {
			out <- prometheus.MustNewConstMetric(verdicts, prometheus.GaugeValue, float64(n), m.Framework, verdict)
		}
		out <- prometheus.MustNewConstMetric(age, prometheus.GaugeValue, max(0, c.s.clock.Now().Sub(m.RunAt).Seconds()), m.Framework)
	}
	if c.s.cfg.Alerts == nil {
		return
	}
	for rule, n := range c.s.cfg.Alerts() {
		out <- prometheus.MustNewConstMetric(alerts, prometheus.CounterValue, float64(n), rule)
	}
}

// logDayCollector tells how many days' logs wait for their review.
type logDayCollector struct{ s *server }

func (logDayCollector) description() *prometheus.Desc {
	return prometheus.NewDesc("conclave_log_days_unreviewed", "Days whose log waits for its review, by whether it is late.", []string{"late"}, nil)
}

// Describe implements prometheus.Collector.
func (c logDayCollector) Describe(out chan<- *prometheus.Desc) { out <- c.description() }

// Collect implements prometheus.Collector.
func (c logDayCollector) Collect(out chan<- prometheus.Metric) {
	now, counts := c.s.clock.Now(), map[bool]int{}
	for _, d := range store.All[oversight.LogDay](c.s.door.View(), custodian.KindLogDay) {
		if d.Reviewed == nil {
			counts[d.Late(now)]++
		}
	}
	for _, late := range []bool{false, true} {
		out <- prometheus.MustNewConstMetric(c.description(), prometheus.GaugeValue, float64(counts[late]), strconv.FormatBool(late))
	}
}
