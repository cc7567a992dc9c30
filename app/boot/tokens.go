package boot

import (
	"fmt"
	"maps"
	"slices"

	"github.com/prometheus/client_golang/prometheus"

	"conclave/app/config"
	"conclave/custodian/key"
	"conclave/hsm"
	"conclave/hsm/pkcs11"
	"conclave/hsm/soft"
)

// driver makes the driver of a keystore's governed record. A token is not asked for anything where the record says what it
// can, so that a node starts while its tokens are away.
func (s *service) driver(record *key.Keystore) (hsm.Keystore, error) {
	switch record.Driver {
	case "software":
		return soft.New(soft.Config{ID: record.ID, Verifier: record.Verifier, Conveys: s.cfg.Node.HandOver})
	case pkcs11.Driver:
		return s.tokenDriver(record)
	case key.DriverGroup:
		return s.door.Group(record.ID)
	default:
		return nil, fmt.Errorf("keystore %q: driver %q is not in this program; it has: software, %s, %s", record.ID, record.Driver, pkcs11.Driver, key.DriverGroup)
	}
}

func (s *service) tokenDriver(record *key.Keystore) (hsm.Keystore, error) {
	if record.Token == nil {
		return nil, fmt.Errorf("keystore %q: the record names no token", record.ID)
	}
	modules, err := s.cfg.Modules()
	if err != nil {
		return nil, err
	}
	path, known := modules[record.Token.Module]
	if !known {
		return nil, config.Unusable("pkcs11.modules", fmt.Errorf("keystore %q: module %q is not among this node's: %w", record.ID, record.Token.Module, hsm.ErrUnsupported))
	}
	k, err := pkcs11.New(pkcs11.Config{ID: record.ID, Verifier: record.Verifier, Modules: s.modules, Module: path, Token: record.Token.Device,
		Sessions: s.cfg.PKCS11.Sessions, Capabilities: record.Capabilities, SOPINFile: s.cfg.PKCS11.SOPINFile, Logger: s.log})
	if err != nil {
		return nil, err // not k: a nil pointer would be no nil keystore
	}
	return k, nil
}

// checkModules refuses to start with a module that is not there or can not be loaded: custodians would bring their shares for a
// token that this node can not reach.
func (s *service) checkModules() error {
	modules, err := s.cfg.Modules()
	if err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(modules)) {
		if err := pkcs11.CheckFile(modules[name]); err != nil {
			return config.Unusable("pkcs11.modules", fmt.Errorf("%s: %w", name, err))
		}
	}
	return nil
}

// tokenCollector tells how tokens answer. Labels are bounded by the registered keystores.
type tokenCollector struct{ s *service }

var _ prometheus.Collector = tokenCollector{}

// tokenMetric is one number of a token.
type tokenMetric struct {
	name, help string
	kind       prometheus.ValueType
	value      func(pkcs11.Stats) float64
}

func tokenMetrics() []tokenMetric {
	flag := func(b bool) float64 {
		if b {
			return 1
		}
		return 0
	}
	count, now := prometheus.CounterValue, prometheus.GaugeValue
	return []tokenMetric{
		{"conclave_token_calls_total", "Calls that the token answered.", count, func(s pkcs11.Stats) float64 { return float64(s.Calls) }},
		{"conclave_token_unavailable_total", "Calls that found the token unavailable.", count, func(s pkcs11.Stats) float64 { return float64(s.Unavailable) }},
		{"conclave_token_refused_total", "Calls that the circuit breaker refused at once.", count, func(s pkcs11.Stats) float64 { return float64(s.Refused) }},
		{"conclave_token_abandoned_total", "Calls given up at the deadline.", count, func(s pkcs11.Stats) float64 { return float64(s.Abandoned) }},
		{"conclave_token_logins_total", "Logins, the first included.", count, func(s pkcs11.Stats) float64 { return float64(s.Logins) }},
		{"conclave_token_module_restarts_total", "Initialisations of the module because the token was missing.", count, func(s pkcs11.Stats) float64 { return float64(s.Restarts) }},
		{"conclave_token_busy_seconds_total", "Time spent in calls, waiting for a session included.", count, func(s pkcs11.Stats) float64 { return s.Busy.Seconds() }},
		{"conclave_token_stuck_calls", "Calls that hang in the module.", now, func(s pkcs11.Stats) float64 { return float64(s.Stuck) }},
		{"conclave_token_sessions", "Calls that the token is given at once.", now, func(s pkcs11.Stats) float64 { return float64(s.Sessions) }},
		{"conclave_token_breaker_open", "1 while the circuit breaker lets no call through.", now, func(s pkcs11.Stats) float64 { return flag(s.Open) }},
	}
}

func (m tokenMetric) desc() *prometheus.Desc {
	return prometheus.NewDesc(m.name, m.help, []string{"keystore"}, nil)
}

// Describe implements prometheus.Collector.
func (tokenCollector) Describe(out chan<- *prometheus.Desc) {
	for _, m := range tokenMetrics() {
		out <- m.desc()
	}
}

// Collect implements prometheus.Collector.
func (c tokenCollector) Collect(out chan<- prometheus.Metric) {
	for _, record := range c.s.keystores() {
		d, err := c.s.door.Keystore(record.ID)
		token, ok := d.(*pkcs11.Keystore)
		if err != nil || !ok {
			continue
		}
		stats := token.Stats()
		for _, m := range tokenMetrics() {
			out <- prometheus.MustNewConstMetric(m.desc(), m.kind, m.value(stats), record.ID)
		}
	}
}
