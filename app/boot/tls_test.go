package boot

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"conclave/app/config"
)

// hand is a clock that moves when told to.
type hand struct {
	mu      sync.Mutex
	wall    time.Time
	elapsed time.Duration
}

func newHand() *hand { return &hand{wall: time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)} }

func (h *hand) Now() time.Time {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.wall
}

func (h *hand) Elapsed() time.Duration {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.elapsed
}

func (h *hand) advance(d time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.wall, h.elapsed = h.wall.Add(d), h.elapsed+d
}

func tlsOf(t *testing.T, cfg *config.Config, clk *hand) *tls.Config {
	t.Helper()
	c, err := newTLS(cfg, clk, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	require.EqualValues(t, tls.VersionTLS13, c.MinVersion)
	return c
}

func shown(t *testing.T, c *tls.Config) *x509.Certificate {
	t.Helper()
	cert, err := c.GetCertificate(&tls.ClientHelloInfo{})
	require.NoError(t, err)
	return cert.Leaf
}

func TestDevelopmentCertificateRenewsItself(t *testing.T) {
	cfg, clk := &config.Config{DataDir: t.TempDir()}, newHand()
	c := tlsOf(t, cfg, clk)
	first := shown(t, c)
	clk.advance(leafLife - leafRenewal - time.Hour)
	require.Equal(t, first.SerialNumber, shown(t, c).SerialNumber)
	clk.advance(2 * time.Hour)
	second := shown(t, c)
	require.NotEqual(t, first.SerialNumber, second.SerialNumber, "without a restart")
	require.Equal(t, second.SerialNumber, shown(t, tlsOf(t, cfg, clk)).SerialNumber, "a restart keeps it")
	require.True(t, clk.Now().Add(leafLife).Equal(second.NotAfter))
}

func TestDevelopmentAuthorityIsReplacedBeforeItsEnd(t *testing.T) {
	dir, clk := t.TempDir(), newHand()
	first, err := openAuthority(dir, clk.Now())
	require.NoError(t, err)
	clk.advance(authorityLife - leafLife + time.Hour)
	second, err := openAuthority(dir, clk.Now())
	require.NoError(t, err)
	require.NotEqual(t, first.cert.SerialNumber, second.cert.SerialNumber)
	leaf, err := second.leaf(clk.Now())
	require.NoError(t, err)
	require.NoError(t, leaf.Leaf.CheckSignatureFrom(second.cert))
}

func TestDevelopmentAuthorityVouchesForThisMachineOnly(t *testing.T) {
	dir, now := t.TempDir(), newHand().Now()
	a, err := openAuthority(dir, now)
	require.NoError(t, err)
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	leaf, err := a.leaf(now)
	require.NoError(t, err)
	for _, name := range []string{"localhost", "127.0.0.1", "::1"} {
		_, err := leaf.Leaf.Verify(x509.VerifyOptions{Roots: pool, DNSName: name, CurrentTime: now})
		require.NoError(t, err, name)
	}
	for name, change := range map[string]func(*x509.Certificate){
		"another host":    func(c *x509.Certificate) { c.DNSNames = []string{"bank.example"} },
		"another address": func(c *x509.Certificate) { c.IPAddresses = []net.IP{net.IPv4(10, 0, 0, 1).To4()} },
	} {
		template, err := certificate("false", now, leafLife)
		require.NoError(t, err)
		change(template)
		cert, _, err := issue(template, a, filepath.Join(t.TempDir(), "c.pem"), filepath.Join(t.TempDir(), "k.pem"))
		require.NoError(t, err)
		_, err = cert.Verify(x509.VerifyOptions{Roots: pool, CurrentTime: now})
		require.Error(t, err, name)
	}
}

func TestOwnCertificateIsReadAgain(t *testing.T) {
	dir, clk := t.TempDir(), newHand()
	write := func() *x509.Certificate {
		template, err := certificate("own", clk.Now(), leafLife)
		require.NoError(t, err)
		template.DNSNames = []string{"localhost"}
		cert, _, err := issue(template, nil, filepath.Join(dir, "c.pem"), filepath.Join(dir, "k.pem"))
		require.NoError(t, err)
		return cert
	}
	first := write()
	cfg := &config.Config{TLS: config.TLS{Cert: filepath.Join(dir, "c.pem"), Key: filepath.Join(dir, "k.pem")}}
	c := tlsOf(t, cfg, clk)
	require.Equal(t, first.Raw, shown(t, c).Raw)
	second := write()
	require.Equal(t, first.Raw, shown(t, c).Raw, "not looked at before its time")
	clk.advance(certificateCheck)
	require.Equal(t, second.Raw, shown(t, c).Raw)
	require.NoError(t, os.Remove(filepath.Join(dir, "c.pem")))
	clk.advance(certificateCheck)
	require.Equal(t, second.Raw, shown(t, c).Raw, "a bad replacement changes nothing")
	require.NoError(t, os.Chmod(filepath.Join(dir, "k.pem"), 0o604))
	_, err := newTLS(cfg, clk, slog.New(slog.DiscardHandler))
	require.ErrorIs(t, err, ErrKeyFile)
}

func TestClientAuthoritiesAreDemanded(t *testing.T) {
	cfg, clk := &config.Config{DataDir: t.TempDir()}, newHand()
	a, err := openAuthority(t.TempDir(), clk.Now())
	require.NoError(t, err)
	path := filepath.Join(t.TempDir(), "clients.pem")
	require.NoError(t, os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.cert.Raw}), 0o600))
	cfg.TLS.ClientCA = path
	c := tlsOf(t, cfg, clk)
	require.Equal(t, tls.RequireAndVerifyClientCert, c.ClientAuth)
	require.NotNil(t, c.ClientCAs)
}
