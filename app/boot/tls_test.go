package boot

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"log"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
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

// clientOf is a certificate for a client, by an authority made for it, as files: authority, certificate, key.
func clientOf(t *testing.T, now time.Time) (string, tls.Certificate) {
	t.Helper()
	authorityKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	top := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "clients"}, NotBefore: now.Add(-time.Hour), NotAfter: now.Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	raw, err := x509.CreateCertificate(rand.Reader, top, top, authorityKey.Public(), authorityKey)
	require.NoError(t, err)
	path := filepath.Join(t.TempDir(), "clients.pem")
	require.NoError(t, os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: raw}), 0o600))
	clientKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	leaf := &x509.Certificate{SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "shop"}, NotBefore: now.Add(-time.Hour), NotAfter: now.Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}
	cert, err := x509.CreateCertificate(rand.Reader, leaf, top, clientKey.Public(), authorityKey)
	require.NoError(t, err)
	return path, tls.Certificate{Certificate: [][]byte{cert}, PrivateKey: clientKey}
}

// Clients without a certificate are served unless one is required; a foreign one never is.
func TestClientCertificatesAreAskedForOrRequired(t *testing.T) {
	clk := newHand()
	clk.wall = time.Now()
	ca, own := clientOf(t, clk.Now())
	_, foreign := clientOf(t, clk.Now())
	for _, required := range []bool{false, true} {
		cfg := &config.Config{DataDir: t.TempDir(), TLS: config.TLS{ClientCA: ca, RequireClientCert: required}}
		server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }))
		server.Config.ErrorLog = log.New(io.Discard, "", 0)
		c := tlsOf(t, cfg, clk)
		server.Listener = tls.NewListener(server.Listener, c)
		server.Start()
		t.Cleanup(server.Close)
		authority, err := openAuthority(cfg.TLSDir(), clk.Now())
		require.NoError(t, err)
		roots := x509.NewCertPool()
		roots.AddCert(authority.cert)
		reaches := func(shown ...tls.Certificate) bool {
			transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS13,
				GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
					return &append(shown, tls.Certificate{})[0], nil
				}}}
			defer transport.CloseIdleConnections()
			resp, err := (&http.Client{Transport: transport}).Get("https://" + server.Listener.Addr().String())
			if err != nil {
				return false
			}
			return resp.Body.Close() == nil && resp.StatusCode == http.StatusNoContent
		}
		require.True(t, reaches(own))
		require.Equal(t, !required, reaches())
		require.False(t, reaches(foreign))
	}
}
