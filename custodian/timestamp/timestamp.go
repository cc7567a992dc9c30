// Package timestamp has an authority outside say when a checkpoint existed (RFC 3161), and checks what it said.
package timestamp

import (
	"bytes"
	"context"
	"crypto"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/digitorus/pkcs7"
	"github.com/digitorus/timestamp"
)

// ErrToken: a time-stamp that does not hold.
var ErrToken = errors.New("time-stamp does not hold")

// maxToken bounds an answer, in bytes: a token with a chain of certificates.
const maxToken = 256 << 10

// parsing is held while the library reads: it counts its depth in a variable that all its callers share.
var parsing sync.Mutex

// alone has the library read, whose parser of BER panics at some input that is cut: that is an error like any other.
func alone[T any](read func([]byte) (T, error), raw []byte) (out T, err error) {
	parsing.Lock()
	defer parsing.Unlock()
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("malformed: %v", p)
		}
	}()
	return read(raw)
}

// Authority asks a time-stamping authority.
type Authority struct {
	url   string
	roots *x509.CertPool
	http  *http.Client
}

// NewAuthority asks at a URL. roots are whom its certificate must come from; config is for the connection.
func NewAuthority(url string, roots *x509.CertPool, config *tls.Config) *Authority {
	return &Authority{url: url, roots: roots, http: &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{TLSClientConfig: config, MaxIdleConns: 1, IdleConnTimeout: time.Minute}}}
}

// Stamp has the authority sign when it saw the message, and returns the token once it is checked.
func (a *Authority) Stamp(ctx context.Context, message []byte) ([]byte, time.Time, error) {
	nonce, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return nil, time.Time{}, err
	}
	query, err := timestamp.CreateRequest(bytes.NewReader(message), &timestamp.RequestOptions{Hash: crypto.SHA256, Certificates: true, Nonce: nonce})
	if err != nil {
		return nil, time.Time{}, fmt.Errorf("asking for a time-stamp: %w", err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, a.url, bytes.NewReader(query))
	if err != nil {
		return nil, time.Time{}, err
	}
	req.Header.Set("Content-Type", "application/timestamp-query")
	res, err := a.http.Do(req)
	if err != nil {
		return nil, time.Time{}, fmt.Errorf("asking for a time-stamp: %w", err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, maxToken))
	if err != nil {
		return nil, time.Time{}, fmt.Errorf("asking for a time-stamp: %w", err)
	}
	if res.StatusCode != http.StatusOK {
		return nil, time.Time{}, fmt.Errorf("asking for a time-stamp: answered %s", res.Status)
	}
	answer, err := alone(timestamp.ParseResponse, body)
	if err != nil {
		return nil, time.Time{}, fmt.Errorf("%w: %w", ErrToken, err)
	}
	if answer.Nonce == nil || answer.Nonce.Cmp(nonce) != 0 {
		return nil, time.Time{}, fmt.Errorf("%w: it answers another question", ErrToken)
	}
	at, err := Check(answer.RawToken, message, a.roots)
	return answer.RawToken, at, err
}

// Check holds a token to the message that it is said to be of, its signature, and the authorities trusted for
// time-stamping; it returns the time stated.
func Check(token, message []byte, roots *x509.CertPool) (time.Time, error) {
	bad := func(err error) (time.Time, error) { return time.Time{}, fmt.Errorf("%w: %w", ErrToken, err) }
	if len(token) > maxToken {
		return bad(fmt.Errorf("%d bytes", len(token)))
	}
	stamp, err := alone(timestamp.Parse, token)
	if err != nil {
		return bad(err)
	}
	sum := sha256.Sum256(message)
	if stamp.HashAlgorithm != crypto.SHA256 || !bytes.Equal(stamp.HashedMessage, sum[:]) {
		return bad(errors.New("it is of another message"))
	}
	signed, err := alone(pkcs7.Parse, token)
	if err != nil {
		return bad(err)
	}
	signer := signed.GetOnlySigner()
	if signer == nil {
		return bad(errors.New("it does not hold its one signer's certificate"))
	}
	if _, err := alone(func([]byte) (struct{}, error) { return struct{}{}, signed.Verify() }, nil); err != nil {
		return bad(err)
	}
	if !slices.Contains(signer.ExtKeyUsage, x509.ExtKeyUsageTimeStamping) { // for anything is not enough (RFC 3161, 2.3)
		return bad(errors.New("its signer's certificate is not for time-stamping"))
	}
	between := x509.NewCertPool()
	for _, c := range signed.Certificates {
		between.AddCert(c)
	}
	_, err = signer.Verify(x509.VerifyOptions{Roots: roots, Intermediates: between, CurrentTime: stamp.Time, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageTimeStamping}})
	if err != nil {
		return bad(err)
	}
	return stamp.Time.UTC(), nil
}
