// Package boot is the composition root: it turns a configuration into a running service, and a signed genesis
// file, or a backup with a quorum's contributions, into an instance. Everything is wired by hand, here.
package boot

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"runtime/debug"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"conclave/app/auth"
	"conclave/app/config"
	"conclave/app/httpapi"
	"conclave/custodian"
	"conclave/custodian/clock"
	"conclave/custodian/ledger"
	"conclave/hsm/secret"
)

// gcPercent trades some 20 MiB of memory for several per cent of the CPU time of a busy service: what lives long is
// little, what a call needs is short-lived.
const gcPercent = 150

// Running is a service at work.
type Running struct {
	URL        string // of the API
	MetricsURL string // of the plain monitoring listener; "" for none
	CAFile     string // authority that clients name; "" with an own certificate
	TrustFile  string
	Custodian  *custodian.Service

	service *service
	auth    *auth.Authenticator
	log     *slog.Logger

	listeners []net.Listener
	servers   []*http.Server

	stopJobs context.CancelFunc
	jobs     chan struct{} // closed when the background has ended
	failed   chan error    // a listener gave up
	closing  sync.Once
	closed   error
}

// Start opens the instance of a configuration, serves it, and returns once requests are accepted. An inactive
// keystore is no obstacle: custodians reach the node to activate it. ctx bounds the start alone.
func Start(ctx context.Context, cfg *config.Config, logger *slog.Logger) (*Running, error) {
	version := "(devel)"
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		version = info.Main.Version
	}
	return startAs(ctx, cfg, logger, version)
}

// startAs is Start of a program that calls itself version, which is recorded.
func startAs(ctx context.Context, cfg *config.Config, logger *slog.Logger, version string) (*Running, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if logger == nil {
		logger = slog.New(slog.DiscardHandler)
	}
	if os.Getenv("GOGC") == "" { // an operator's own setting stands
		debug.SetGCPercent(gcPercent)
	}
	if err := secret.Harden(); err != nil {
		logger.Warn("the process is not fully protected", "error", err)
	}
	return start(ctx, cfg, clock.NewSystem(), logger, version)
}

func start(ctx context.Context, cfg *config.Config, clk clock.Clock, logger *slog.Logger, version string) (*Running, error) {
	s, err := openService(ctx, cfg, clk, logger, version)
	if err != nil {
		return nil, err
	}
	return serve(ctx, s)
}

// serve sets an open service to work.
func serve(ctx context.Context, s *service) (*Running, error) {
	r := &Running{TrustFile: s.cfg.TrustFile(), Custodian: s.door, service: s, log: s.log, failed: make(chan error, 3), jobs: make(chan struct{})}
	if err := r.begin(ctx); err != nil {
		return nil, errors.Join(err, r.abandon(ctx))
	}
	return r, nil
}

// begin takes the node's place and the addresses, recovers what was left behind, records the start, and only then serves.
func (r *Running) begin(ctx context.Context) error {
	s := r.service
	if err := s.presence.claim(ctx); err != nil {
		return err
	}
	handler, err := r.edge()
	if err != nil {
		return err
	}
	tlsConfig, err := newTLS(s.cfg, s.clock, s.log)
	if err != nil {
		return err
	}
	server := httpapi.NewServer(handler, tlsConfig.GetCertificate, s.log)
	server.TLSConfig = tlsConfig
	main, err := r.listen(ctx, "listen", s.cfg.Listen, s.cfg.Limits.Connections)
	if err != nil {
		return err
	}
	r.URL = "https://" + reachable(main.Addr())
	if s.cfg.TLS.Cert == "" {
		r.CAFile = s.cfg.CAFile()
	}
	var plain net.Listener
	if s.cfg.Metrics.Listen != "" {
		if plain, err = r.listen(ctx, "metrics.listen", s.cfg.Metrics.Listen, monitoringConnections); err != nil {
			return err
		}
		r.MetricsURL = "http://" + reachable(plain.Addr())
	}
	if err := s.logKeys.obtain(ctx); err != nil {
		return err
	}
	if err := s.recover(ctx); err != nil {
		return err
	}
	r.serve(server, func() error { return server.ServeTLS(main, "", "") })
	if plain != nil {
		probes := httpapi.NewServer(monitoring(handler), nil, s.log)
		r.serve(probes, func() error { return probes.Serve(plain) })
	}
	r.background()
	go r.watchStanding()
	return nil
}

// watchStanding stops the service once its node is revoked, or another process serves as it: what its keystores hold is
// wiped at once.
func (r *Running) watchStanding() {
	var err error
	select {
	case <-r.jobs: // it ended otherwise
		return
	case <-r.service.store.Barred():
		err = r.service.store.Standing()
	case <-r.service.presence.displaced:
		err = r.service.presence.duplicate()
	}
	r.service.stopping.Store(true)
	err = errors.Join(err, r.service.wipeKeystores(context.Background()))
	select {
	case r.failed <- err:
	default: // a listener gave up before
	}
}

// background sets the jobs going.
func (r *Running) background() {
	ctx, stop := context.WithCancel(context.Background())
	r.stopJobs = stop
	go func() {
		defer close(r.jobs)
		r.service.run(ctx)
	}()
}

// edge builds the HTTP API over the service.
func (r *Running) edge() (http.Handler, error) {
	s := r.service
	var err error
	if r.auth, err = auth.New(auth.Config{Custodian: s.door, Clock: s.clock, Logger: s.log}); err != nil {
		return nil, err
	}
	s.reportJobs = newReportJobs(reporter{s})
	registry := prometheus.NewRegistry()
	registry.MustRegister(logKeyCollector{s}, tokenCollector{s}, groupCollector{s}, archiveCollector{s}, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return httpapi.New(httpapi.Config{
		Custodian: s.door, Ceremonies: s.engine, Bundles: s.bundles, Auth: r.auth, Store: s.store, Reports: reporter{s}, ReportJobs: s.reportJobs, Assessor: assessor{s}, Ready: s.ready,
		Version: s.version, FIPS: fips(), Clock: s.clock, Logger: s.log, Metrics: registry, Limits: limits(s.cfg),
		Exports: s.exportStates, Witnesses: s.witnessStates, Alerts: s.watch.Alerts,
	})
}

func limits(cfg *config.Config) httpapi.Limits {
	return httpapi.Limits{ApplicationRate: float64(cfg.Limits.ApplicationPerSecond), ApplicationBurst: cfg.Limits.ApplicationBurst}
}

// serve serves until the server is shut down.
func (r *Running) serve(server *http.Server, work func() error) {
	r.servers = append(r.servers, server)
	go func() {
		if err := work(); !errors.Is(err, http.ErrServerClosed) {
			r.failed <- fmt.Errorf("serving: %w", err)
		}
	}()
}

// Failed gives an error when a listener has given up; the service should then be closed.
func (r *Running) Failed() <-chan error { return r.failed }

// Ready lists why the node must not be given traffic; empty when it may.
func (r *Running) Ready() []string { return r.service.ready() }

// Close drains: no new connection, calls under way finish until ctx ends, the background stops, what keystores
// hold is wiped, the ledger is closed. It is safe to call more than once.
func (r *Running) Close(ctx context.Context) error {
	r.closing.Do(func() { r.closed = r.close(ctx) })
	return r.closed
}

func (r *Running) close(ctx context.Context) (err error) {
	r.service.stopping.Store(true)
	for _, server := range r.servers {
		if err := server.Shutdown(ctx); err != nil {
			r.log.Warn("calls were still under way at the end of the grace time", "error", err)
			_ = server.Close() // cuts them off; nothing else is left to do
		}
	}
	r.stopJobs()
	<-r.jobs
	r.auth.Close()
	// The caller's patience is for callers; what closes the ledger is short and must be done.
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTimeout)
	defer cancel()
	switch {
	case r.service.store.Standing() != nil: // a revoked node records nothing
	case r.service.presence.lost(): // the node has not stopped
		err = r.service.presence.record(last, "this one ends")
	default:
		err = r.service.recordNode(last, "node.stop", ledger.Done, "", nil)
	}
	return errors.Join(err, r.service.close(last))
}

// abandon undoes a start that failed half-way.
func (r *Running) abandon(ctx context.Context) error {
	for _, l := range r.listeners {
		_ = l.Close()
	}
	if r.auth != nil {
		r.auth.Close()
	}
	return r.service.close(context.WithoutCancel(ctx))
}
