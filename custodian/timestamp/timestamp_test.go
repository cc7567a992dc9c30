package timestamp_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	rfc3161 "github.com/digitorus/timestamp"
	"github.com/stretchr/testify/require"

	"conclave/custodian/timestamp"
)

// authority is a time-stamping authority of the test's own, with a root.
type authority struct {
	root  *x509.Certificate
	cert  *x509.Certificate
	key   crypto.Signer
	alter func(*rfc3161.Timestamp)
}

func newAuthority(t *testing.T, usage x509.ExtKeyUsage) *authority {
	t.Helper()
	rootKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	now := time.Now()
	root := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "demo root"}, NotBefore: now.Add(-time.Hour), NotAfter: now.Add(time.Hour), IsCA: true,
		BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	leaf := &x509.Certificate{SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "demo authority"}, NotBefore: now.Add(-time.Hour), NotAfter: now.Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{usage}}
	a := &authority{key: key, alter: func(*rfc3161.Timestamp) {}}
	make := func(template, parent *x509.Certificate, public any, signer crypto.Signer) *x509.Certificate {
		der, err := x509.CreateCertificate(rand.Reader, template, parent, public, signer)
		require.NoError(t, err)
		c, err := x509.ParseCertificate(der)
		require.NoError(t, err)
		return c
	}
	a.root = make(root, root, rootKey.Public(), rootKey)
	a.cert = make(leaf, a.root, key.Public(), rootKey)
	return a
}

func (a *authority) roots() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(a.root)
	return pool
}

func (a *authority) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	q, err := rfc3161.ParseRequest(body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	stamp := &rfc3161.Timestamp{HashAlgorithm: q.HashAlgorithm, HashedMessage: q.HashedMessage, Time: time.Now(), Nonce: q.Nonce, Policy: asn1.ObjectIdentifier{1, 2, 3}, AddTSACertificate: true}
	a.alter(stamp)
	answer, err := stamp.CreateResponseWithOpts(a.cert, a.key, crypto.SHA256)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Write(answer)
}

func (a *authority) stamp(t *testing.T, roots *x509.CertPool) ([]byte, error) {
	t.Helper()
	s := httptest.NewServer(a)
	t.Cleanup(s.Close)
	token, _, err := timestamp.NewAuthority(s.URL, roots, nil).Stamp(t.Context(), []byte("message"))
	return token, err
}

func TestStampIsCheckedAgainstMessageAndAuthority(t *testing.T) {
	t.Parallel()
	a, other := newAuthority(t, x509.ExtKeyUsageTimeStamping), newAuthority(t, x509.ExtKeyUsageTimeStamping)
	token, err := a.stamp(t, a.roots())
	require.NoError(t, err)
	at, err := timestamp.Check(token, []byte("message"), a.roots())
	require.NoError(t, err)
	require.WithinDuration(t, time.Now(), at, time.Hour)

	_, err = timestamp.Check(token, []byte("another message"), a.roots())
	require.ErrorIs(t, err, timestamp.ErrToken)
	_, err = timestamp.Check(token, []byte("message"), other.roots())
	require.ErrorIs(t, err, timestamp.ErrToken)
	for i := 0; i < len(token); i += 7 {
		bad := append([]byte(nil), token...)
		bad[i] ^= 1
		if at2, err := timestamp.Check(bad, []byte("message"), a.roots()); err == nil {
			require.Equal(t, at, at2, "a flipped bit that changes nothing stated")
		}
	}
}

func TestStampsOfOthersAreRefused(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(a *authority){
		"another message": func(a *authority) { a.alter = func(s *rfc3161.Timestamp) { s.HashedMessage[0] ^= 1 } },
		"another nonce":   func(a *authority) { a.alter = func(s *rfc3161.Timestamp) { s.Nonce = big.NewInt(7) } },
		"certificate over": func(a *authority) {
			a.alter = func(s *rfc3161.Timestamp) { s.Time = time.Now().Add(48 * time.Hour) }
		},
		"no certificate": func(a *authority) { a.alter = func(s *rfc3161.Timestamp) { s.AddTSACertificate = false } },
	} {
		a := newAuthority(t, x509.ExtKeyUsageTimeStamping)
		change(a)
		_, err := a.stamp(t, a.roots())
		require.ErrorIs(t, err, timestamp.ErrToken, name)
	}
	a := newAuthority(t, x509.ExtKeyUsageServerAuth)
	_, err := a.stamp(t, a.roots())
	require.ErrorIs(t, err, timestamp.ErrToken, "a certificate for something else")
}
