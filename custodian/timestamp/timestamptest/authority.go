// Package timestamptest is a time-stamping authority (RFC 3161) for tests: a root, an authority in between, and the one that
// signs.
package timestamptest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"io"
	"math/big"
	"net/http"
	"testing"
	"time"

	rfc3161 "github.com/digitorus/timestamp"
	"github.com/stretchr/testify/require"
)

// Authority answers with stamps. Alter changes what it says before it is signed; Now is its clock.
type Authority struct {
	Root  *x509.Certificate
	Alter func(*rfc3161.Timestamp)
	Now   func() time.Time

	cert, between *x509.Certificate
	key           crypto.Signer
}

// Option changes what the signer's and the middle certificate say.
type Option func(signer, middle *x509.Certificate)

// For has the signer's certificate be for a use.
func For(usage ...x509.ExtKeyUsage) Option {
	return func(signer, _ *x509.Certificate) { signer.ExtKeyUsage = usage }
}

// New makes an authority whose certificates are valid around a time, which is near now: the library signs with the machine's
// clock beside Now. rsaKeys: its keys are RSA, and otherwise on P-256.
func New(t testing.TB, at time.Time, rsaKeys bool, options ...Option) *Authority {
	t.Helper()
	template := func(n int64, name string, ca bool) *x509.Certificate {
		c := &x509.Certificate{SerialNumber: big.NewInt(n), Subject: pkix.Name{CommonName: name}, NotBefore: at.Add(-time.Hour), NotAfter: at.Add(time.Hour), IsCA: ca,
			BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature}
		if ca {
			c.KeyUsage = x509.KeyUsageCertSign
		}
		return c
	}
	root, middle, signer := template(1, "demo root", true), template(2, "demo middle", true), template(3, "demo authority", false)
	signer.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageTimeStamping}
	for _, o := range options {
		o(signer, middle)
	}
	rootKey, middleKey, key := newKey(t, rsaKeys), newKey(t, rsaKeys), newKey(t, rsaKeys)
	a := &Authority{key: key, Alter: func(*rfc3161.Timestamp) {}, Now: func() time.Time { return at }}
	a.Root = issue(t, root, root, rootKey, rootKey)
	between := issue(t, middle, a.Root, middleKey, rootKey)
	a.cert = issue(t, signer, between, key, middleKey)
	a.between = between
	return a
}

func newKey(t testing.TB, rsaKeys bool) crypto.Signer {
	t.Helper()
	if rsaKeys {
		key, err := rsa.GenerateKey(rand.Reader, 2048)
		require.NoError(t, err)
		return key
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	return key
}

func issue(t testing.TB, template, parent *x509.Certificate, key, by crypto.Signer) *x509.Certificate {
	t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), by)
	require.NoError(t, err)
	c, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	return c
}

// Roots is whom to trust.
func (a *Authority) Roots() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(a.Root)
	return pool
}

// ServeHTTP answers a query.
func (a *Authority) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	q, err := rfc3161.ParseRequest(body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	answer, err := a.answer(q.HashedMessage, q.Nonce)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	_, _ = w.Write(answer)
}

func (a *Authority) answer(digest []byte, nonce *big.Int) ([]byte, error) {
	between := *a.between // the library signs below one that may issue only; what goes out is as it was made
	between.IsCA, between.BasicConstraintsValid, between.KeyUsage = true, true, x509.KeyUsageCertSign
	stamp := &rfc3161.Timestamp{HashAlgorithm: crypto.SHA256, HashedMessage: digest, Time: a.Now(), Nonce: nonce, Policy: asn1.ObjectIdentifier{1, 2, 3}, AddTSACertificate: true,
		Certificates: []*x509.Certificate{&between}}
	a.Alter(stamp)
	return stamp.CreateResponseWithOpts(a.cert, a.key, crypto.SHA256)
}

// Token is a stamp over a digest.
func (a *Authority) Token(t testing.TB, digest []byte) []byte {
	t.Helper()
	answer, err := a.answer(digest, nil)
	require.NoError(t, err)
	var response struct{ Status, Token asn1.RawValue } // read without being judged
	_, err = asn1.Unmarshal(answer, &response)
	require.NoError(t, err)
	return response.Token.FullBytes
}
