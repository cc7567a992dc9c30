package httpapi

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"conclave/ceremony/quorum"
	"conclave/policies"
)

// quorumCollector tells how near quorums are to being out of reach. Labels are bounded by the operations that the
// program knows, two kinds of keys, the registered share sets and the kinds of duties; of the sets that one
// operation may take, the worst counts.
type quorumCollector struct{ s *server }

// assessWithin bounds what a scrape waits for an assessment; usually the last one still holds.
const assessWithin = 5 * time.Second

func (quorumCollector) descriptions() (operations, sets, overdue *prometheus.Desc) {
	return prometheus.NewDesc("conclave_quorum_losses_survived", "People, whoever they are, that an operation can lose and still find a quorum; -1 when it finds none as it is.",
			[]string{"operation", "keys"}, nil),
		prometheus.NewDesc("conclave_share_set_losses_survived", "Usable shares that a set can lose and still be opened; negative when it cannot be opened.", []string{"share_set"}, nil),
		prometheus.NewDesc("conclave_duties_overdue", "Acknowledgements, confirmations and drills that are overdue.", []string{"kind"}, nil)
}

// Describe implements prometheus.Collector.
func (c quorumCollector) Describe(out chan<- *prometheus.Desc) {
	operations, sets, overdue := c.descriptions()
	for _, d := range []*prometheus.Desc{operations, sets, overdue} {
		out <- d
	}
}

// Collect implements prometheus.Collector. What cannot be assessed is left out.
func (c quorumCollector) Collect(out chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), assessWithin)
	defer cancel()
	h, err := c.s.engine.QuorumHealth(ctx)
	if err != nil {
		c.s.log.Warn("quorum health could not be assessed", "error", err)
		return
	}
	operations, sets, overdue := c.descriptions()
	type matter struct{ operation, keys string }
	worst := map[matter]int{}
	for _, o := range h.Operations {
		if o.Class == policies.PreAuthorised {
			continue
		}
		m := matter{o.Operation, o.Target}
		if n, seen := worst[m]; !seen || o.Losses.Survived < n {
			worst[m] = o.Losses.Survived
		}
	}
	for m, n := range worst {
		out <- prometheus.MustNewConstMetric(operations, prometheus.GaugeValue, float64(n), m.operation, m.keys)
	}
	for _, s := range h.Sets {
		out <- prometheus.MustNewConstMetric(sets, prometheus.GaugeValue, float64(s.LossesSurvived), s.Set)
	}
	late := map[string]int{}
	for _, kind := range quorum.Duties() {
		late[kind] = 0
	}
	for _, o := range h.Overdue {
		if o.Late {
			late[o.Kind]++
		}
	}
	for kind, n := range late {
		out <- prometheus.MustNewConstMetric(overdue, prometheus.GaugeValue, float64(n), kind)
	}
}
