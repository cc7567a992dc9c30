package httpapi

import (
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"conclave/ceremony"
	"conclave/custodian"
	"conclave/custodian/key"
	"conclave/custodian/store"
)

// metrics are the numbers of the edge. Labels are bounded: routes as they are registered, five status
// classes. Counters are resolved once a route, not once a request.
type metrics struct {
	requests *prometheus.CounterVec
	seconds  *prometheus.HistogramVec
	batches  prometheus.Histogram
	handler  func(x *exchange)
}

// routeMetrics are one route's own.
type routeMetrics struct {
	class   [6]prometheus.Counter // by status / 100; 0 for a status outside 1xx to 5xx
	seconds prometheus.Observer
}

func newMetrics(registry *prometheus.Registry, s *server) (*metrics, error) {
	m := &metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "conclave_http_requests_total", Help: "HTTP requests by route and status class."}, []string{"method", "route", "class"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "conclave_http_request_seconds", Help: "Time from the first byte of a request to its answer, in seconds.",
			Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, 1, 5}}, []string{"method", "route"}),
		batches: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "conclave_batch_items", Help: "Items of data-plane batches.", Buckets: []float64{1, 2, 5, 10, 25, 50, 100}}),
	}
	for _, c := range []prometheus.Collector{m.requests, m.seconds, m.batches, stateCollector{s}, quorumCollector{s}, backupCollector{s}, exportCollector{s}, witnessCollector{s}, monitorCollector{s}, logDayCollector{s}} {
		if err := registry.Register(c); err != nil {
			return nil, fmt.Errorf("registering metrics: %w", err)
		}
	}
	scrape := promhttp.HandlerFor(registry, promhttp.HandlerOpts{MaxRequestsInFlight: 4})
	m.handler = func(x *exchange) { scrape.ServeHTTP(x.c.Writer, x.c.Request) }
	return m, nil
}

func (m *metrics) batch(items int) { m.batches.Observe(float64(items)) }

// route resolves a route's counters.
func (m *metrics) route(method, path string) *routeMetrics {
	r := &routeMetrics{seconds: m.seconds.WithLabelValues(method, path)}
	for i, class := range []string{"other", "1xx", "2xx", "3xx", "4xx", "5xx"} {
		r.class[i] = m.requests.WithLabelValues(method, path, class)
	}
	return r
}

func (r *routeMetrics) done(status int, took time.Duration) {
	class := status / 100
	if class < 1 || class > 5 {
		class = 0
	}
	r.class[class].Inc()
	r.seconds.Observe(took.Seconds())
}

// stateCollector reads the state of custody when it is scraped.
type stateCollector struct{ s *server }

// states are the numbers that a scrape reads from the newest View.
func (stateCollector) states() (size, epoch, violations, open, active *prometheus.Desc) {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc(name, help, labels, nil)
	}
	return desc("conclave_ledger_entries", "Entries of the ledger."),
		desc("conclave_authority_epoch", "Authority epoch in force."),
		desc("conclave_integrity_violations", "Rows that contradict the ledger and are quarantined."),
		desc("conclave_ceremonies_open", "Ceremonies that have not ended."),
		desc("conclave_keystore_active", "1 when the keystore can serve on this node.", "keystore")
}

// Describe implements prometheus.Collector.
func (c stateCollector) Describe(out chan<- *prometheus.Desc) {
	size, epoch, violations, open, active := c.states()
	for _, d := range []*prometheus.Desc{size, epoch, violations, open, active} {
		out <- d
	}
}

// Collect implements prometheus.Collector.
func (c stateCollector) Collect(out chan<- prometheus.Metric) {
	size, epoch, violations, open, active := c.states()
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	view := c.s.door.View()
	gauge(size, float64(view.Head().Size))
	gauge(epoch, float64(view.Epoch()))
	gauge(violations, float64(view.Quarantined()))
	n := 0
	for range store.Active[ceremony.Ceremony](view, ceremony.Kind) {
		n++
	}
	gauge(open, float64(n))
	for row := range view.List(custodian.KindKeystore) {
		if record, ok := row.Value.(*key.Keystore); ok {
			v := 0.0
			if ks, err := c.s.door.Keystore(record.ID); err == nil && ks.Active() {
				v = 1
			}
			gauge(active, v, record.ID)
		}
	}
}
