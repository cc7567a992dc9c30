package httpapi

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// WitnessState is what one witness of the ledger saw last.
type WitnessState struct {
	Witness  string
	Size     uint64    // entries of the checkpoint that it cosigned last
	At       time.Time // when, by its clock; zero: never
	Refusals uint64    // by it, of this process
}

// Witnesses tells what each configured witness saw last.
type Witnesses func(ctx context.Context) []WitnessState

// witnessCollector tells how long ago the ledger was witnessed. Witnesses are few and configured.
type witnessCollector struct{ s *server }

func (witnessCollector) descriptions() (age, size, refusals *prometheus.Desc) {
	labels := []string{"witness"}
	return prometheus.NewDesc("conclave_witness_age_seconds", "Time since the witness cosigned a checkpoint; -1 where it never did.", labels, nil),
		prometheus.NewDesc("conclave_witness_entries", "Entries of the checkpoint that the witness cosigned last.", labels, nil),
		prometheus.NewDesc("conclave_witness_refusals_total", "Times the witness said to this process that the ledger is not the one it saw.", labels, nil)
}

// Describe implements prometheus.Collector.
func (c witnessCollector) Describe(out chan<- *prometheus.Desc) {
	age, size, refusals := c.descriptions()
	for _, d := range []*prometheus.Desc{age, size, refusals} {
		out <- d
	}
}

// Collect implements prometheus.Collector.
func (c witnessCollector) Collect(out chan<- prometheus.Metric) {
	if c.s.cfg.Witnesses == nil {
		return
	}
	age, size, refusals := c.descriptions()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second) // a scrape has no context
	defer cancel()
	for _, w := range c.s.cfg.Witnesses(ctx) {
		since := -1.0
		if !w.At.IsZero() {
			since = max(0, c.s.clock.Now().Sub(w.At).Seconds())
		}
		out <- prometheus.MustNewConstMetric(age, prometheus.GaugeValue, since, w.Witness)
		out <- prometheus.MustNewConstMetric(size, prometheus.GaugeValue, float64(w.Size), w.Witness)
		out <- prometheus.MustNewConstMetric(refusals, prometheus.CounterValue, float64(w.Refusals), w.Witness)
	}
}
