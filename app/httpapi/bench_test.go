package httpapi_test

import (
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"conclave/app/bench/floor"
	"conclave/app/httpapi"
)

// sink is a response nobody reads.
type sink struct {
	h      http.Header
	status int
}

func (s *sink) Header() http.Header         { return s.h }
func (s *sink) WriteHeader(status int)      { s.status = status }
func (s *sink) Write(b []byte) (int, error) { return len(b), nil }

// BenchmarkDataKeyHandler is one data-key call without network and TLS: the floor, and the whole product
// with identity, policy and durable record, 64 callers waiting at a time.
func BenchmarkDataKeyHandler(b *testing.B) {
	e := newEdge(b, options{limits: httpapi.Limits{InFlight: 1 << 20}})
	bare, err := floor.Handler()
	if err != nil {
		b.Fatal(err)
	}
	for _, bench := range []struct {
		name, path string
		handler    http.Handler
	}{{"floor", "/datakey", bare}, {"product", keyPath + "/datakeys", e.handler}} {
		b.Run(bench.name, func(b *testing.B) {
			target, err := url.Parse(bench.path)
			if err != nil {
				b.Fatal(err)
			}
			var n atomic.Int64
			b.SetParallelism(32)
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					body := `{"bytes":32,"context":{"order":"` + strconv.FormatInt(n.Add(1), 10) + `"},"plaintext":true}`
					r := &http.Request{Method: http.MethodPost, URL: target, RequestURI: bench.path, RemoteAddr: "127.0.0.1:4711",
						Header: http.Header{"Authorization": {"Bearer " + e.token}, "Content-Type": {"application/json"}},
						Body:   io.NopCloser(strings.NewReader(body)), ContentLength: int64(len(body))}
					w := &sink{h: http.Header{}}
					bench.handler.ServeHTTP(w, r)
					if w.status != http.StatusOK {
						b.Fatalf("status %d", w.status)
					}
				}
			})
		})
	}
}
