package boot

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"

	"conclave/app/config"
	"conclave/custodian/clock"
)

// certificateCheck is how often a certificate is looked at again: own files may be replaced, the development
// certificate may near its end. Neither takes a restart.
const certificateCheck = time.Minute

// certificates gives the server its certificate and keeps it fresh.
type certificates struct {
	load func(now time.Time) (*tls.Certificate, error)
	now  clock.Clock
	log  *slog.Logger

	mu      sync.Mutex
	current *tls.Certificate
	checked time.Duration
}

// newTLS is the server's TLS configuration: version 1.3 alone, whose cipher suites are all approved where the
// process runs in FIPS mode.
func newTLS(cfg *config.Config, clk clock.Clock, logger *slog.Logger) (*tls.Config, error) {
	c := &certificates{now: clk, log: logger, checked: clk.Elapsed()}
	if cfg.TLS.Cert != "" {
		c.load = func(time.Time) (*tls.Certificate, error) { return ownCertificate(cfg.TLS.Cert, cfg.TLS.Key) }
	} else {
		a, err := openAuthority(cfg.TLSDir(), clk.Now())
		if err != nil {
			return nil, err
		}
		c.load = a.leaf
	}
	var err error
	if c.current, err = c.load(clk.Now()); err != nil {
		return nil, err
	}
	out := &tls.Config{
		MinVersion:     tls.VersionTLS13,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return c.get(), nil },
	}
	if cfg.TLS.ClientCA == "" {
		return out, nil
	}
	out.ClientAuth = tls.VerifyClientCertIfGiven
	if cfg.TLS.RequireClientCert {
		out.ClientAuth = tls.RequireAndVerifyClientCert
	}
	if out.ClientCAs, err = clientAuthorities(cfg.TLS.ClientCA); err != nil {
		return nil, err
	}
	return out, nil
}

func (c *certificates) get() *tls.Certificate {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.now.Elapsed()-c.checked < certificateCheck {
		return c.current
	}
	c.checked = c.now.Elapsed()
	fresh, err := c.load(c.now.Now())
	if err != nil {
		c.log.Error("server certificate not loaded again; the one in use stays", "error", err)
		return c.current
	}
	c.current = fresh
	return fresh
}

func ownCertificate(certFile, keyFile string) (*tls.Certificate, error) {
	info, err := os.Stat(keyFile)
	if err != nil {
		return nil, config.Unusable("tls.key", err)
	}
	if perm := info.Mode().Perm(); perm&0o007 != 0 {
		return nil, config.Unusable("tls.key", fmt.Errorf("%s: %w: mode %04o lets everybody in; allowed: 0600, 0400, 0640 or 0440", keyFile, ErrKeyFile, perm))
	}
	pair, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		return nil, config.Unusable("tls.cert", err)
	}
	return &pair, nil
}

func clientAuthorities(path string) (*x509.CertPool, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, config.Unusable("tls.client_ca", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return nil, config.Unusable("tls.client_ca", fmt.Errorf("%s: no certificate in it; allowed: PEM blocks CERTIFICATE", path))
	}
	return pool, nil
}
