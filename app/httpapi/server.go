package httpapi

import (
	"crypto/tls"
	"log/slog"
	"net/http"
	"time"
)

// Bounds of connections (ours): a client that sends or reads slowly holds a connection for a bounded time.
// Answers may take as long as a report does.
const (
	readHeaderTimeout = 5 * time.Second
	readTimeout       = 30 * time.Second
	writeTimeout      = 6 * time.Minute
	idleTimeout       = 2 * time.Minute
	maxHeaderBytes    = 32 << 10
	// An HTTP/2 connection counts once among limits.connections: what one may hold is bounded too.
	maxStreams           = 100
	connectionBuffer     = 256 << 10 // bytes of bodies received ahead of their handlers
	streamBuffer         = 128 << 10
	http2ConnectionAlive = 30 * time.Second // a peer that takes no byte or answers no ping for so long is gone
)

// NewServer returns an HTTP server for the handler with every bound set, that speaks TLS 1.3 and nothing
// older. certificates says which certificate to show; log may be nil.
func NewServer(h http.Handler, certificates func(*tls.ClientHelloInfo) (*tls.Certificate, error), log *slog.Logger) *http.Server {
	s := &http.Server{
		Handler:           h,
		ReadHeaderTimeout: readHeaderTimeout,
		ReadTimeout:       readTimeout,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		HTTP2: &http.HTTP2Config{MaxConcurrentStreams: maxStreams, MaxReceiveBufferPerConnection: connectionBuffer,
			MaxReceiveBufferPerStream: streamBuffer, WriteByteTimeout: http2ConnectionAlive, SendPingTimeout: http2ConnectionAlive},
		TLSConfig: &tls.Config{MinVersion: tls.VersionTLS13, GetCertificate: certificates},
	}
	if log != nil {
		s.ErrorLog = slog.NewLogLogger(log.Handler(), slog.LevelDebug) // handshakes that fail are no error of ours
	}
	return s
}
