package timestamp_test

import (
	"crypto/sha256"
	"crypto/x509"
	"math/big"
	"net/http/httptest"
	"testing"
	"time"

	rfc3161 "github.com/digitorus/timestamp"
	"github.com/stretchr/testify/require"

	"conclave/custodian/timestamp"
	"conclave/custodian/timestamp/timestamptest"
)

func newAuthority(t *testing.T, options ...timestamptest.Option) *timestamptest.Authority {
	t.Helper()
	return timestamptest.New(t, time.Now(), false, options...)
}

func stamp(t *testing.T, a *timestamptest.Authority, roots *x509.CertPool) ([]byte, error) {
	t.Helper()
	s := httptest.NewServer(a)
	t.Cleanup(s.Close)
	token, _, err := timestamp.NewAuthority(s.URL, roots, nil).Stamp(t.Context(), []byte("message"))
	return token, err
}

func TestStampIsCheckedAgainstMessageAndAuthority(t *testing.T) {
	t.Parallel()
	a, other := newAuthority(t), newAuthority(t)
	token, err := stamp(t, a, a.Roots())
	require.NoError(t, err)
	at, err := timestamp.Check(token, []byte("message"), a.Roots())
	require.NoError(t, err)
	require.WithinDuration(t, time.Now(), at, time.Hour)

	_, err = timestamp.Check(token, []byte("another message"), a.Roots())
	require.ErrorIs(t, err, timestamp.ErrToken)
	_, err = timestamp.Check(token, []byte("message"), other.Roots())
	require.ErrorIs(t, err, timestamp.ErrToken)
	for i := 0; i < len(token); i += 7 {
		bad := append([]byte(nil), token...)
		bad[i] ^= 1
		if at2, err := timestamp.Check(bad, []byte("message"), a.Roots()); err == nil {
			require.Equal(t, at, at2, "a flipped bit that changes nothing stated")
		}
	}
}

func TestStampsOfOthersAreRefused(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(a *timestamptest.Authority){
		"another message": func(a *timestamptest.Authority) { a.Alter = func(s *rfc3161.Timestamp) { s.HashedMessage[0] ^= 1 } },
		"another nonce":   func(a *timestamptest.Authority) { a.Alter = func(s *rfc3161.Timestamp) { s.Nonce = big.NewInt(7) } },
		"certificate over": func(a *timestamptest.Authority) {
			a.Alter = func(s *rfc3161.Timestamp) { s.Time = time.Now().Add(48 * time.Hour) }
		},
		"no certificate": func(a *timestamptest.Authority) { a.Alter = func(s *rfc3161.Timestamp) { s.AddTSACertificate = false } },
	} {
		a := newAuthority(t)
		change(a)
		_, err := stamp(t, a, a.Roots())
		require.ErrorIs(t, err, timestamp.ErrToken, name)
	}
	for _, usage := range [][]x509.ExtKeyUsage{{x509.ExtKeyUsageServerAuth}, nil} {
		a := newAuthority(t, timestamptest.For(usage...))
		_, err := stamp(t, a, a.Roots())
		require.ErrorIs(t, err, timestamp.ErrToken, "a certificate for something else, or for anything")
	}
}

// What is cut anywhere is refused, and breaks nobody who reads it.
func TestCutTokenIsRefused(t *testing.T) {
	a := newAuthority(t)
	digest := sha256.Sum256([]byte("message"))
	token := a.Token(t, digest[:])
	for n := range token {
		_, err := timestamp.Check(token[:n], []byte("message"), a.Roots())
		require.ErrorIs(t, err, timestamp.ErrToken)
	}
	_, err := timestamp.Check([]byte{0x30, 0x81}, []byte("message"), a.Roots())
	require.ErrorIs(t, err, timestamp.ErrToken)
}

// A token that somebody else gives proves a time of the message by a trusted authority, or nothing.
func FuzzCheck(f *testing.F) {
	a := timestamptest.New(f, time.Now(), false)
	digest := sha256.Sum256([]byte("message"))
	token := a.Token(f, digest[:])
	f.Add(token)
	f.Add(token[:len(token)/2])
	f.Add([]byte{0x30, 0x80})
	f.Add([]byte{0x30, 0x81})
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, token []byte) {
		if _, err := timestamp.Check(token, []byte("another message"), a.Roots()); err == nil {
			t.Fatal("a token of another message")
		}
		if at, err := timestamp.Check(token, []byte("message"), a.Roots()); err == nil && at.IsZero() {
			t.Fatal("a token without a time")
		}
	})
}
