package boot

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"

	"conclave/custodian/ledger"
	"conclave/hsm/secret"
)

// Lives of the development authority and of the certificates that it gives. The leaf is made anew when a third
// of its life is left.
const (
	authorityLife = 5 * 365 * 24 * time.Hour
	leafLife      = 90 * 24 * time.Hour
	leafRenewal   = 30 * 24 * time.Hour
	clockSkew     = 5 * time.Minute // certificates begin a little earlier than now
)

// Files of the development authority.
const (
	caCertFile   = "ca.pem"
	caKeyFile    = "ca.key"
	leafCertFile = "server.pem"
	leafKeyFile  = "server.key"
)

// authority is a certificate authority for this machine only: name constraints keep it from vouching for any
// other, so that trusting it costs little (RFC 5280 section 4.2.1.10).
type authority struct {
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// openAuthority loads the development authority, or makes it at first run. One at its end is replaced, which
// clients notice: they must be given the new ca.pem.
func openAuthority(dir string, now time.Time) (*authority, error) {
	cert, key, err := loadPair(filepath.Join(dir, caCertFile), filepath.Join(dir, caKeyFile))
	switch {
	case err == nil && now.Before(cert.NotAfter.Add(-leafLife)):
		return &authority{dir: dir, cert: cert, key: key}, nil
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("loading the development authority: %w", err)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("making the TLS directory: %w", err)
	}
	template, err := certificate("Conclave development authority", now, authorityLife)
	if err != nil {
		return nil, err
	}
	template.IsCA, template.MaxPathLenZero = true, true
	template.KeyUsage = x509.KeyUsageCertSign
	template.PermittedDNSDomainsCritical = true
	template.PermittedDNSDomains = []string{"localhost"}
	for _, ip := range loopback() {
		ones := 8 * len(ip)
		template.PermittedIPRanges = append(template.PermittedIPRanges, &net.IPNet{IP: ip, Mask: net.CIDRMask(ones, ones)})
	}
	a := &authority{dir: dir}
	a.cert, a.key, err = issue(template, nil, filepath.Join(dir, caCertFile), filepath.Join(dir, caKeyFile))
	if err != nil {
		return nil, fmt.Errorf("making the development authority: %w", err)
	}
	return a, nil
}

// leaf returns the server's certificate, made anew when its end is near or it is of another authority.
func (a *authority) leaf(now time.Time) (*tls.Certificate, error) {
	certFile, keyFile := filepath.Join(a.dir, leafCertFile), filepath.Join(a.dir, leafKeyFile)
	cert, key, err := loadPair(certFile, keyFile)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("loading the server certificate: %w", err)
	}
	if err != nil || cert.CheckSignatureFrom(a.cert) != nil || now.After(cert.NotAfter.Add(-leafRenewal)) || now.Before(cert.NotBefore) {
		template, err := certificate("Conclave server", now, leafLife)
		if err != nil {
			return nil, err
		}
		template.KeyUsage = x509.KeyUsageDigitalSignature
		template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
		template.DNSNames, template.IPAddresses = []string{"localhost"}, loopback()
		if cert, key, err = issue(template, a, certFile, keyFile); err != nil {
			return nil, fmt.Errorf("making the server certificate: %w", err)
		}
	}
	return &tls.Certificate{Certificate: [][]byte{cert.Raw, a.cert.Raw}, PrivateKey: key, Leaf: cert}, nil
}

func loopback() []net.IP { return []net.IP{net.IPv4(127, 0, 0, 1).To4(), net.IPv6loopback} }

func certificate(name string, now time.Time, life time.Duration) (*x509.Certificate, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 128))
	if err != nil {
		return nil, fmt.Errorf("drawing a serial number: %w", err)
	}
	return &x509.Certificate{
		SerialNumber: serial.Add(serial, big.NewInt(1)), Subject: pkix.Name{CommonName: name},
		NotBefore: now.Add(-clockSkew), NotAfter: now.Add(life), BasicConstraintsValid: true,
	}, nil
}

// issue makes a key and a certificate for it, signed by a parent or by itself, and writes both.
func issue(template *x509.Certificate, parent *authority, certFile, keyFile string) (*x509.Certificate, *ecdsa.PrivateKey, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, fmt.Errorf("generating key: %w", err)
	}
	signer, above := key, template
	if parent != nil {
		signer, above = parent.key, parent.cert
	}
	der, err := x509.CreateCertificate(rand.Reader, template, above, key.Public(), signer)
	if err != nil {
		return nil, nil, fmt.Errorf("signing: %w", err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, nil, fmt.Errorf("reading back: %w", err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, nil, fmt.Errorf("encoding key: %w", err)
	}
	defer secret.Wipe(private)
	text := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})
	defer secret.Wipe(text)
	if err := ledger.WriteFileAtomic(keyFile, text, 0o600); err != nil {
		return nil, nil, err
	}
	return cert, key, ledger.WriteFileAtomic(certFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o644)
}

func loadPair(certFile, keyFile string) (*x509.Certificate, *ecdsa.PrivateKey, error) {
	text, err := readPrivate(keyFile)
	if err != nil {
		return nil, nil, err
	}
	defer secret.Wipe(text)
	chain, err := os.ReadFile(certFile)
	if err != nil {
		return nil, nil, err
	}
	pair, err := tls.X509KeyPair(chain, text)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w: %w", certFile, ErrKeyFile, err)
	}
	key, ok := pair.PrivateKey.(*ecdsa.PrivateKey)
	if !ok {
		return nil, nil, fmt.Errorf("%s: %w: not an ECDSA key", keyFile, ErrKeyFile)
	}
	return pair.Leaf, key, nil
}
