// Package client is the Go client of the HTTP API. It speaks TLS 1.3 only, retries only what the
// service calls retryable, bounds every answer, and keeps plaintext data keys in [secret.Bytes].
package client

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"conclave/custodian/clock"
	"conclave/custodian/dsse"
	"conclave/hsm/secret"
)

// Config of a Client. URL is required; everything else has a default.
type Config struct {
	URL    string // https://host[:port]; the service speaks nothing else
	CAFile string // PEM certificates to trust instead of the system's
	// RootCAs to trust instead of the system's; used when CAFile is empty.
	RootCAs *x509.CertPool
	// CertFile and KeyFile, PEM, are shown to a service that asks for a client certificate; both or none.
	CertFile, KeyFile string
	// Token of an application or auditor, "cvt_<id>.<secret>". At most one of Token and Signer is set.
	Token *secret.Bytes
	// Signer is the approval key of the human with id Person. Each of their requests is signed for
	// Instance, the genesis digest in hex: all three are needed.
	Signer   dsse.Signer
	Person   string
	Instance string
	// HTTPClient replaces the client's own transport, TLS settings and redirect rule included.
	HTTPClient *http.Client
	UserAgent  string
	Clock      clock.Clock // default: the system's
	Retry      Retry
}

// Client calls one service. It is safe for concurrent use.
type Client struct {
	base      *url.URL
	http      *http.Client
	token     *secret.Bytes
	signer    dsse.Signer
	person    string
	instance  string
	userAgent string
	clock     clock.Clock
	retry     Retry
	reason    string // reason code of data-plane calls
}

// Bounds of the client's own connections. A request as a whole is bounded by its context alone, since
// reports and ledger reads may take long.
const (
	dialTimeout     = 10 * time.Second
	idleTimeout     = 90 * time.Second
	maxIdlePerHost  = 64
	maxCAFile       = 1 << 20
	maxTokenBytes   = 256
	maxHeaderFields = 64 << 10
)

// New checks the configuration and returns a client. It makes no connection.
func New(cfg Config) (*Client, error) {
	base, err := parseURL(cfg.URL)
	if err != nil {
		return nil, err
	}
	if cfg.Token != nil && cfg.Signer != nil {
		return nil, errors.New("client configuration: token and signer: only one of them may be given")
	}
	if cfg.Token != nil && (cfg.Token.Len() == 0 || cfg.Token.Len() > maxTokenBytes) {
		return nil, fmt.Errorf("client configuration: token: %d bytes; allowed: 1 to %d", cfg.Token.Len(), maxTokenBytes)
	}
	if cfg.Signer != nil && (cfg.Instance == "" || cfg.Person == "") {
		return nil, errors.New("client configuration: instance or person: missing; requests of people are signed for one instance by one person")
	}
	c := &Client{
		base: base, http: cfg.HTTPClient, token: cfg.Token,
		signer: cfg.Signer, person: cfg.Person, instance: cfg.Instance,
		userAgent: cfg.UserAgent, clock: cfg.Clock, retry: cfg.Retry.withDefaults(),
	}
	if c.userAgent == "" {
		c.userAgent = "conclave-go"
	}
	if c.clock == nil {
		c.clock = clock.NewSystem()
	}
	if c.http == nil {
		if c.http, err = newHTTPClient(cfg, c.clock); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// Close drops idle connections. The client stays usable.
func (c *Client) Close() { c.http.CloseIdleConnections() }

func parseURL(text string) (*url.URL, error) {
	u, err := url.Parse(text)
	if err != nil {
		return nil, fmt.Errorf("client configuration: url: %w", err)
	}
	if u.Scheme != "https" || u.Host == "" {
		return nil, fmt.Errorf("client configuration: url: %q; allowed: https://host[:port]", text)
	}
	if u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return nil, fmt.Errorf("client configuration: url: user, query or fragment given; allowed: https://host[:port][/path]")
	}
	u.Path = strings.TrimSuffix(u.Path, "/")
	return u, nil
}

func newHTTPClient(cfg Config, clk clock.Clock) (*http.Client, error) {
	roots := cfg.RootCAs
	if cfg.CAFile != "" {
		var err error
		if roots, err = loadCAs(cfg.CAFile); err != nil {
			return nil, err
		}
	}
	var shown []tls.Certificate
	if cfg.CertFile != "" || cfg.KeyFile != "" {
		pair, err := tls.LoadX509KeyPair(cfg.CertFile, cfg.KeyFile)
		if err != nil {
			return nil, fmt.Errorf("client configuration: client certificate and its key: %w", err)
		}
		shown = append(shown, pair)
	}
	transport, ok := http.DefaultTransport.(*http.Transport)
	if !ok {
		return nil, errors.New("client configuration: the process replaced the default HTTP transport; give HTTPClient")
	}
	transport = transport.Clone()
	transport.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS13, RootCAs: roots, Certificates: shown, Time: clk.Now}
	// HTTP/1.1: for many small calls one HTTP/2 connection serves a tenth to a fifth fewer a second.
	transport.ForceAttemptHTTP2 = false
	transport.TLSNextProto = map[string]func(string, *tls.Conn) http.RoundTripper{}
	transport.TLSHandshakeTimeout = dialTimeout
	transport.MaxIdleConns = maxIdlePerHost
	transport.MaxIdleConnsPerHost = maxIdlePerHost
	transport.IdleConnTimeout = idleTimeout
	transport.MaxResponseHeaderBytes = maxHeaderFields
	return &http.Client{
		Transport: transport,
		// A redirect would carry a token, or a signature for another path, to somebody else.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}, nil
}

func loadCAs(path string) (*x509.CertPool, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("opening CA file: %w", err)
	}
	defer f.Close()
	pem, err := readBounded(f, maxCAFile)
	if err != nil {
		return nil, fmt.Errorf("reading CA file %s: %w", path, err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("reading CA file %s: no certificate in it; allowed: PEM certificates", path)
	}
	return pool, nil
}

// sleep waits for d or until ctx ends.
func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
