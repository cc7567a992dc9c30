package boot

import (
	"github.com/prometheus/client_golang/prometheus"

	"conclave/custodian"
)

// logKeyCollector tells how old the log key is.
type logKeyCollector struct{ s *service }

var _ prometheus.Collector = logKeyCollector{}

func logKeyDescs() (since, due *prometheus.Desc) {
	return prometheus.NewDesc("conclave_log_key_since_seconds", "When the log key came into force, seconds since 1970.", nil, nil),
		prometheus.NewDesc("conclave_log_key_due", "Reasons for which the log key should be replaced.", nil, nil)
}

// Describe implements prometheus.Collector.
func (logKeyCollector) Describe(ch chan<- *prometheus.Desc) {
	since, due := logKeyDescs()
	ch <- since
	ch <- due
}

// Collect implements prometheus.Collector. What can not be read is left out.
func (c logKeyCollector) Collect(ch chan<- prometheus.Metric) {
	term, err := custodian.LogKeyTermOf(c.s.store.View(), c.s.began, c.s.clock.Now())
	if err != nil {
		return
	}
	sinceDesc, dueDesc := logKeyDescs()
	ch <- prometheus.MustNewConstMetric(sinceDesc, prometheus.GaugeValue, float64(term.Since.Unix()))
	ch <- prometheus.MustNewConstMetric(dueDesc, prometheus.GaugeValue, float64(len(term.Due)))
}
