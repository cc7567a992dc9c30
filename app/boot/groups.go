package boot

import (
	"github.com/prometheus/client_golang/prometheus"

	"conclave/custodian"
	"conclave/custodian/key"
	"conclave/custodian/store"
	"conclave/hsm/group"
)

// addGroups makes the drivers of keystore groups, once their members have theirs.
func (s *service) addGroups() error {
	for _, record := range s.keystores() {
		if record.Group == nil {
			continue
		}
		d, err := s.driver(record)
		if err != nil {
			return err
		}
		if err := s.door.AddKeystore(record.ID, d); err != nil {
			return err
		}
	}
	return nil
}

// inactive counts the keystores that can not serve here and that something waits for: of a group that serves no member is
// waited for.
func (s *service) inactive() (inactive, all int) {
	for _, record := range s.keystores() {
		all++
		d, err := s.door.Keystore(record.ID)
		if err == nil && d.Active() {
			continue
		}
		if record.MemberOf != "" {
			if g, err := s.door.Keystore(record.MemberOf); err == nil && g.Active() {
				continue
			}
		}
		inactive++
	}
	return inactive, all
}

// asksFor reports whether custodians are to be asked for their shares of a keystore: a group has none, and a drained member
// is left alone.
func (s *service) asksFor(record *key.Keystore) bool {
	if record.Group != nil {
		return false
	}
	if record.MemberOf == "" {
		return true
	}
	g, err := store.Peek[key.Keystore](s.store.View(), custodian.KindKeystore, record.MemberOf)
	if err != nil {
		return true
	}
	m := g.Group.Member(record.ID)
	return m == nil || m.State == key.MemberServing
}

// groupCollector tells how the members of keystore groups serve. Labels are bounded by the registered keystores.
type groupCollector struct{ s *service }

var _ prometheus.Collector = groupCollector{}

// groupMetric is one number of a member.
type groupMetric struct {
	name, help string
	kind       prometheus.ValueType
	value      func(group.Stats) float64
}

func groupMetrics() []groupMetric {
	flag := func(b bool) float64 {
		if b {
			return 1
		}
		return 0
	}
	return []groupMetric{
		{"conclave_group_member_able", "1 while the member can be asked: not drained, and active on this node.", prometheus.GaugeValue, func(s group.Stats) float64 { return flag(s.Able) }},
		{"conclave_group_member_drained", "1 while the member is drained.", prometheus.GaugeValue, func(s group.Stats) float64 { return flag(!s.Serving) }},
		{"conclave_group_member_breaker_open", "1 while the circuit breaker lets no call through to the member.", prometheus.GaugeValue, func(s group.Stats) float64 { return flag(s.Open) }},
		{"conclave_group_calls_total", "Calls that the member answered.", prometheus.CounterValue, func(s group.Stats) float64 { return float64(s.Calls) }},
		{"conclave_group_failures_total", "Calls that the member could not serve, and another was asked.", prometheus.CounterValue, func(s group.Stats) float64 { return float64(s.Failures) }},
	}
}

func (m groupMetric) desc() *prometheus.Desc {
	return prometheus.NewDesc(m.name, m.help, []string{"keystore", "member"}, nil)
}

func degradedDesc() *prometheus.Desc {
	return prometheus.NewDesc("conclave_group_degraded_versions", "Key versions that not every serving member of the group holds.", []string{"keystore"}, nil)
}

// Describe implements prometheus.Collector.
func (groupCollector) Describe(out chan<- *prometheus.Desc) {
	for _, m := range groupMetrics() {
		out <- m.desc()
	}
	out <- degradedDesc()
}

// Collect implements prometheus.Collector.
func (c groupCollector) Collect(out chan<- prometheus.Metric) {
	degraded := custodian.Degraded(c.s.door.View())
	for _, record := range c.s.keystores() {
		d, err := c.s.door.Keystore(record.ID)
		g, ok := d.(*group.Keystore)
		if err != nil || !ok {
			continue
		}
		out <- prometheus.MustNewConstMetric(degradedDesc(), prometheus.GaugeValue, float64(degraded[record.ID]), record.ID)
		for _, stats := range g.Stats() {
			for _, m := range groupMetrics() {
				out <- prometheus.MustNewConstMetric(m.desc(), m.kind, m.value(stats), record.ID, stats.Member)
			}
		}
	}
}
