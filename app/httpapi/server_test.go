package httpapi_test

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"conclave/app/httpapi"
	"conclave/custodian/custodiantest"
	"conclave/custodian/ledger"
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

// Who proves nobody is answered before a body is waited for, and holds no place meanwhile.
func TestNobodyWaitsForTheBodyOfAStranger(t *testing.T) {
	e := newEdge(t, options{})
	for name, authorization := range map[string]string{
		"none": "", "bad token": "Bearer cvt_nonsense", "bad signature": e.sign(t, "demo-ada", http.MethodPost, "/v1/other", "", nil),
	} {
		t.Run(name, func(t *testing.T) {
			conn, err := net.Dial("tcp", e.plain(t))
			require.NoError(t, err)
			defer conn.Close()
			head := "POST /v1/ceremonies HTTP/1.1\r\nHost: demo\r\nContent-Length: 200000\r\n"
			if authorization != "" {
				head += "Authorization: " + authorization + "\r\n"
			}
			_, err = conn.Write([]byte(head + "\r\n")) // and never a body
			require.NoError(t, err)
			require.NoError(t, conn.(*net.TCPConn).CloseWrite())
			resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
			require.NoError(t, err)
			require.NoError(t, resp.Body.Close())
			require.Equal(t, http.StatusUnauthorized, resp.StatusCode)
		})
	}
}

func TestTheControlPlaneHasRoomLeft(t *testing.T) {
	e := newEdge(t, options{limits: httpapi.Limits{InFlight: 8}})
	var group sync.WaitGroup
	release := make(chan struct{})
	for range 7 {
		hold := newHeldBody()
		hold.release = release
		group.Go(func() {
			req := httptest.NewRequest(http.MethodPost, keyPath+"/datakeys", hold)
			req.Header.Set("Authorization", "Bearer "+e.token)
			e.handler.ServeHTTP(httptest.NewRecorder(), req)
		})
		<-hold.reading
	}
	require.Equal(t, "rate_limited", e.app(t, http.MethodPost, keyPath+"/datakeys", `{"bytes":32}`).problem(t).Code)
	require.Equal(t, http.StatusOK, e.as(t, "demo-ada", http.MethodGet, "/v1/keys", "").status)
	close(release)
	group.Wait()
}

// Paths that one reader takes for another are no paths at all.
func TestPathsAreTakenLiterally(t *testing.T) {
	e := newEdge(t, options{})
	addr := e.plain(t)
	for _, path := range []string{
		"/v1/keys/" + custodiantest.KeyID + "%2Fversions", "/v1/keys%2F" + custodiantest.KeyID, "/v1/%6Beys", "/v1//keys", "/v1/keys/",
		"/v1/keys/../people", "/v1/keys/" + custodiantest.KeyID + "/", "/v1/keys/%00", "//v1/keys",
	} {
		conn, err := net.Dial("tcp", addr)
		require.NoError(t, err)
		_, err = conn.Write([]byte("GET " + path + " HTTP/1.1\r\nHost: demo\r\nAuthorization: Bearer " + e.token + "\r\nConnection: close\r\n\r\n"))
		require.NoError(t, err)
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		require.NoError(t, err, path)
		require.NoError(t, resp.Body.Close())
		require.NoError(t, conn.Close())
		require.Equal(t, http.StatusNotFound, resp.StatusCode, path)
	}
}

// Bytes that are no proper request take nobody else's request with them.
func TestAmbiguousRequestsAreRefused(t *testing.T) {
	e := newEdge(t, options{})
	addr := e.plain(t)
	head := "POST " + keyPath + "/datakeys HTTP/1.1\r\nHost: demo\r\nAuthorization: Bearer " + e.token + "\r\n"
	for name, raw := range map[string]string{
		"two lengths":       head + "Content-Length: 12\r\nContent-Length: 13\r\n\r\n" + `{"bytes":32}`,
		"unknown encoding":  head + "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
		"space before name": head + "Content-Length : 12\r\n\r\n" + `{"bytes":32}`,
		"connect":           "CONNECT demo:443 HTTP/1.1\r\nHost: demo\r\n\r\n",
		"asterisk":          "GET * HTTP/1.1\r\nHost: demo\r\n\r\n",
		"no host":           "GET /v1/keys HTTP/1.1\r\n\r\n",
	} {
		conn, err := net.Dial("tcp", addr)
		require.NoError(t, err)
		_, err = conn.Write([]byte(raw))
		require.NoError(t, err)
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		require.NoError(t, err, name)
		require.NoError(t, resp.Body.Close())
		require.NoError(t, conn.Close())
		require.GreaterOrEqual(t, resp.StatusCode, 400, name)
		require.Less(t, resp.StatusCode, 502, name)
		require.NotEqual(t, 500, resp.StatusCode, name)
	}
	require.NotContains(t, e.logs.String(), "panicked")
}

func TestHashesAreForEverybodyEntriesAreNot(t *testing.T) {
	e := newEdge(t, options{})
	e.app(t, http.MethodPost, keyPath+"/datakeys", `{"bytes":32}`)
	size := int(e.size())
	for _, path := range []string{"/v1/ledger/checkpoint", "/v1/ledger/" + ledger.TilePath(0, 0, size), fmt.Sprintf("/v1/ledger/proof/consistency?from=1&to=%d", size)} {
		require.Equal(t, http.StatusOK, e.call(t, http.MethodGet, path, "", "").status, path)
	}
	for _, path := range []string{"/v1/ledger/" + ledger.EntriesPath(0, size), "/v1/ledger/entries", "/v1/ledger/proof/inclusion?seq=0"} {
		require.Equal(t, http.StatusUnauthorized, e.call(t, http.MethodGet, path, "", "").status, path)
	}
	limited := false
	for range 400 { // no time passes
		limited = limited || e.call(t, http.MethodGet, "/v1/ledger/checkpoint", "", "").status == http.StatusTooManyRequests
	}
	require.True(t, limited)
	require.Equal(t, http.StatusOK, e.call(t, http.MethodGet, "/healthz", "", "").status)
	require.Equal(t, http.StatusOK, e.app(t, http.MethodGet, "/v1/ledger/"+ledger.TilePath(0, 0, size), "").status, "whoever is known is not counted among them")
}
