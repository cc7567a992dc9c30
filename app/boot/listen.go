package boot

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"time"

	"golang.org/x/net/netutil"
)

const (
	// monitoringConnections is plenty for probes and a scraper.
	monitoringConnections = 16
	// closeTimeout bounds what closes the ledger once callers have gone.
	closeTimeout = 10 * time.Second
)

// listen opens an address for at most so many connections at once; more wait in the operating system's queue.
func (r *Running) listen(ctx context.Context, key, address string, connections int) (net.Listener, error) {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", key, err)
	}
	l = netutil.LimitListener(l, connections)
	r.listeners = append(r.listeners, l)
	return l, nil
}

// reachable is an address that a client on this machine can use.
func reachable(addr net.Addr) string {
	tcp, ok := addr.(*net.TCPAddr)
	if !ok || !tcp.IP.IsUnspecified() {
		return addr.String()
	}
	return net.JoinHostPort("localhost", fmt.Sprint(tcp.Port))
}

// monitoring lets through what monitoring needs, on a listener without TLS and without callers' secrets.
func monitoring(api http.Handler) http.Handler {
	mux := http.NewServeMux()
	for _, path := range []string{"GET /metrics", "GET /healthz", "GET /readyz"} {
		mux.Handle(path, api)
	}
	return mux
}
