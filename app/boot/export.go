package boot

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"conclave/app/config"
	"conclave/app/siem"
)

// exportEvery is how often a target is looked after; entries that are there then go at once.
const exportEvery = time.Second

// exporters makes those that the configuration names.
func (s *service) exporters() ([]*siem.Exporter, error) {
	e := s.cfg.Export
	instance := s.door.Instance()
	src := siem.Source{Instance: instance.ID, Mode: string(instance.Mode), Node: s.cfg.Node.ID, Version: s.version}
	var targets []siem.Target
	if e.Syslog != "" {
		trust, err := clientTLS(e.SyslogCA, e.SyslogCert, e.SyslogKey)
		if err != nil {
			return nil, config.Unusable("export.syslog", err)
		}
		targets = append(targets, siem.NewSyslog(e.Syslog, trust, uint64(e.SyslogRepeat), src))
	}
	if e.File != "" {
		targets = append(targets, siem.NewFile(e.File, src))
	}
	if e.HTTP != "" {
		trust, err := clientTLS(e.HTTPCA, "", "")
		if err != nil {
			return nil, config.Unusable("export.http", err)
		}
		targets = append(targets, siem.NewHTTP(e.HTTP, e.HTTPTokenFile, trust, src))
	}
	if e.OTLP != "" {
		trust, err := clientTLS(e.OTLPCA, "", "")
		if err != nil {
			return nil, config.Unusable("export.otlp", err)
		}
		targets = append(targets, siem.NewOTLP(e.OTLP, e.OTLPTokenFile, trust, src))
	}
	if m := s.cfg.Monitor; m.Webhook != "" {
		trust, err := clientTLS(m.WebhookCA, "", "")
		if err != nil {
			return nil, config.Unusable("monitor.webhook", err)
		}
		targets = append(targets, siem.NewWebhook(m.Webhook, trust, s.node.signer, src))
	}
	out := make([]*siem.Exporter, len(targets))
	for i, t := range targets {
		out[i] = siem.New(s.store, t, src, s.clock, s.log)
	}
	return out, nil
}

// clientTLS trusts the authorities in a file, or those of the machine, and shows a certificate where there is one.
func clientTLS(ca, cert, key string) (*tls.Config, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if ca != "" {
		pem, err := os.ReadFile(ca)
		if err != nil {
			return nil, fmt.Errorf("reading authorities: %w", err)
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("%s holds no PEM certificate", ca)
		}
	}
	if cert != "" {
		pair, err := tls.LoadX509KeyPair(cert, key)
		if err != nil {
			return nil, fmt.Errorf("reading the client certificate: %w", err)
		}
		config.Certificates = []tls.Certificate{pair}
	}
	return config, nil
}

// runExports delivers to every target until ctx ends, each at its own pace.
func (s *service) runExports(ctx context.Context, group *sync.WaitGroup) {
	for _, x := range s.exports {
		group.Go(func() {
			s.every(ctx, exportEvery, "export/"+x.State().Target, x.Run)
			if err := x.Close(); err != nil {
				s.log.Debug("closing an export", "target", x.State().Target, "error", err)
			}
		})
	}
}

// exportStates is how far each target is.
func (s *service) exportStates() []siem.State {
	out := make([]siem.State, len(s.exports))
	for i, x := range s.exports {
		out[i] = x.State()
	}
	return out
}

// releaseExports lets another replica deliver at once.
func (s *service) releaseExports(ctx context.Context) error {
	var errs []error
	for _, x := range s.exports {
		errs = append(errs, s.store.Release(ctx, "export/"+x.State().Target, s.cfg.Node.ID))
	}
	return errors.Join(errs...)
}
