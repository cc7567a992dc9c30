package httpapi_test

import (
	"bufio"
	"crypto/tls"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"conclave/app/httpapi"
	"conclave/custodian/custodiantest"
)

func TestTLS13AndNothingOlder(t *testing.T) {
	e := newEdge(t, options{})
	addr := strings.TrimPrefix(e.url, "https://")
	conn, err := tls.Dial("tcp", addr, &tls.Config{MaxVersion: tls.VersionTLS12, InsecureSkipVerify: true}) //nolint:gosec // no certificate is looked at: the handshake must fail
	if err == nil {
		require.NoError(t, conn.Close())
	}
	require.Error(t, err)
	require.EqualValues(t, tls.VersionTLS13, httpapi.NewServer(e.handler, nil, nil).TLSConfig.MinVersion)
}

func TestEveryBoundOfTheServerIsSet(t *testing.T) {
	s := httpapi.NewServer(http.NotFoundHandler(), nil, nil)
	require.NotZero(t, s.ReadHeaderTimeout)
	require.NotZero(t, s.ReadTimeout)
	require.NotZero(t, s.WriteTimeout)
	require.NotZero(t, s.IdleTimeout)
	require.NotZero(t, s.MaxHeaderBytes)
}

// A body may come in pieces and without its length; it is bounded all the same.
func TestChunkedBodies(t *testing.T) {
	e := newEdge(t, options{})
	send := func(chunks ...string) int {
		conn, err := net.Dial("tcp", e.plain(t))
		require.NoError(t, err)
		defer conn.Close()
		var b strings.Builder
		b.WriteString("POST " + keyPath + "/datakeys HTTP/1.1\r\nHost: demo\r\nAuthorization: Bearer " + e.token + "\r\nTransfer-Encoding: chunked\r\n\r\n")
		for _, c := range chunks {
			b.WriteString(hex(len(c)) + "\r\n" + c + "\r\n")
		}
		b.WriteString("0\r\n\r\n")
		go func() { _, _ = conn.Write([]byte(b.String())) }() // the server may stop reading halfway
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		return resp.StatusCode
	}
	require.Equal(t, http.StatusOK, send(`{"byt`, `es":`, `32}`))
	require.Equal(t, http.StatusOK, send(`{"bytes":32`, strings.Repeat(" ", 10_000), `}`), "the buffer grows")
	large := strings.Repeat(" ", 40_000)
	require.Equal(t, http.StatusRequestEntityTooLarge, send(large, large, large, large))
	require.Equal(t, http.StatusBadRequest, send(`{"bytes":32}`, `{}`))
}

func hex(n int) string {
	const digits = "0123456789abcdef"
	out := ""
	for ; n > 0; n /= 16 {
		out = string(digits[n%16]) + out
	}
	return out
}

// plain serves the API without TLS, for bytes written by hand.
func (e *edge) plain(t *testing.T) string {
	t.Helper()
	ts := httptest.NewServer(e.handler)
	t.Cleanup(ts.Close)
	return strings.TrimPrefix(ts.URL, "http://")
}

func TestTooManyAtOnce(t *testing.T) {
	e := newEdge(t, options{limits: httpapi.Limits{InFlight: 1}})
	hold := newHeldBody()
	done := make(chan int, 1)
	go func() {
		req := httptest.NewRequest(http.MethodPost, keyPath+"/datakeys", hold)
		req.Header.Set("Authorization", "Bearer "+e.token)
		w := httptest.NewRecorder()
		e.handler.ServeHTTP(w, req)
		done <- w.Code
	}()
	<-hold.reading
	p := e.app(t, http.MethodPost, "/v1/keys/"+custodiantest.KeyID+"/datakeys", `{"bytes":32}`).problem(t)
	require.Equal(t, "rate_limited", p.Code)
	require.True(t, p.Retryable)
	require.Equal(t, http.StatusOK, e.call(t, http.MethodGet, "/healthz", "", "").status, "probes are answered all the same")
	close(hold.release)
	require.Equal(t, http.StatusOK, <-done)
}

// heldBody gives its bytes only when released.
type heldBody struct {
	reading, release chan struct{}
	rest             *strings.Reader
	began            bool
}

func newHeldBody() *heldBody {
	return &heldBody{reading: make(chan struct{}), release: make(chan struct{}), rest: strings.NewReader(`{"bytes":32}`)}
}

func (h *heldBody) Read(p []byte) (int, error) {
	if !h.began {
		h.began = true
		close(h.reading)
		<-h.release
	}
	return h.rest.Read(p)
}

func TestStorageLostMeansNoPlaintext(t *testing.T) {
	e := newEdge(t, options{})
	require.NoError(t, e.Store.Close())
	a := e.app(t, http.MethodPost, keyPath+"/datakeys", `{"bytes":32,"plaintext":true}`)
	p := a.problem(t)
	require.Equal(t, http.StatusServiceUnavailable, p.Status, string(a.body))
	require.Equal(t, "storage_unavailable", p.Code)
	require.True(t, p.Retryable)
	require.NotContains(t, string(a.body), "plaintext")
}
