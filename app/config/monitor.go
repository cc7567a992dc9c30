package config

import (
	"fmt"
	"path/filepath"
)

// Monitor says how the service watches itself.
type Monitor struct {
	Rules     string `koanf:"rules"`
	Webhook   string `koanf:"webhook"`
	WebhookCA string `koanf:"webhook_ca"`
}

func (c *Config) checkMonitor() *Error {
	m := &c.Monitor
	for _, f := range []struct{ key, value string }{{"monitor.rules", m.Rules}, {"monitor.webhook_ca", m.WebhookCA}} {
		if f.value != "" && !filepath.IsAbs(f.value) {
			return &Error{Key: f.key, Problem: fmt.Sprintf("%q is no absolute path", clip(f.value)), Allowed: "an absolute path"}
		}
	}
	return exportURL("monitor.webhook", m.Webhook)
}
