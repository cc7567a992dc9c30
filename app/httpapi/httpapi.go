// Package httpapi is the HTTP edge: routes, handlers of a few lines, problem documents, metrics and the
// OpenAPI document. It checks form and authenticates; whether a caller may do something is decided, and
// recorded, by the parts behind it.
package httpapi

import (
	"context"
	"crypto/rand"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/time/rate"

	"conclave/app/api"
	"conclave/app/auth"
	"conclave/ceremony"
	"conclave/ceremony/bundles"
	"conclave/custodian"
	"conclave/custodian/clock"
	"conclave/custodian/identity"
	"conclave/custodian/store"
)

// Reporter makes evidence reports.
type Reporter interface {
	// Report writes the report in a format: one of the formats below. A request that cannot
	// be met is a *custodian.InputError; what was written before an error is dropped.
	Report(ctx context.Context, req api.ReportRequest, format string, w io.Writer) error
}

// ReportJobs makes reports in the background. Whoever asked for one may see it, and nobody else.
type ReportJobs interface {
	// Start begins; ErrReportsBusy when too many wait. A request that can not be met is a *custodian.InputError.
	Start(ctx context.Context, who identity.Principal, req api.ReportRequest, format string) (api.ReportJob, error)
	// Get says how it stands; ErrNoReport for what is not there, or not theirs.
	Get(ctx context.Context, who identity.Principal, id string) (api.ReportJob, error)
	// Content is the report; ErrNoReport until it is done. It is read while ctx lasts.
	Content(ctx context.Context, who identity.Principal, id string) (ReportContent, error)
}

// ReportContent is a finished report.
type ReportContent struct {
	io.ReadSeeker
	Type, ETag string
	At         time.Time
}

// Refusals of report jobs.
var (
	ErrNoReport    = errors.New("no such report, or not done yet; reports are kept for an hour")
	ErrReportsBusy = errors.New("too many reports wait to be made")
)

// Formats of reports.
const (
	FormatJSON   = "json"
	FormatHTML   = "html"
	FormatBundle = "bundle" // zip, signed
	FormatPDF    = "pdf"
	FormatXLSX   = "xlsx"
	FormatCSV    = "csv" // zip of CSV files
)

// Limits of the edge. Zero fields take the default.
type Limits struct {
	DataBody    int64 // bytes of a data-plane body; default 128 KiB: 64 KiB in base64 with its context
	BatchBody   int64 // bytes of a batch body; default 1 MiB
	ControlBody int64 // bytes of a control-plane body; default 256 KiB
	// InFlight is how many requests are served at once; more are answered 429. Default 4096.
	InFlight int64
	// ApplicationRate bounds the requests a second of one application, with bursts of ApplicationBurst.
	// 0: no bound.
	ApplicationRate  float64
	ApplicationBurst int
	// ControlTimeout bounds a control-plane request, ReportTimeout a report. Defaults 30 s and 5 min.
	ControlTimeout time.Duration
	ReportTimeout  time.Duration
}

func (l Limits) withDefaults() Limits {
	set := func(v *int64, def int64) {
		if *v <= 0 {
			*v = def
		}
	}
	set(&l.DataBody, 128<<10)
	set(&l.BatchBody, 1<<20)
	set(&l.ControlBody, 256<<10)
	set(&l.InFlight, 4096)
	if l.ControlTimeout <= 0 {
		l.ControlTimeout = 30 * time.Second
	}
	if l.ReportTimeout <= 0 {
		l.ReportTimeout = 5 * time.Minute
	}
	if l.ApplicationRate > 0 && l.ApplicationBurst <= 0 {
		l.ApplicationBurst = max(1, int(l.ApplicationRate))
	}
	return l
}

// Config wires the edge. All fields are required but Reports (none: reports are 404), Ready (none: always
// ready), Version, FIPS, Logger and Limits.
type Config struct {
	Custodian  *custodian.Service
	Ceremonies *ceremony.Engine
	Bundles    *bundles.Keeper
	Auth       *auth.Authenticator
	Store      *store.Store
	Reports    Reporter
	ReportJobs ReportJobs      // none: jobs are 404
	Assessor   Assessor        // the auditor's workspace; none: it is 404
	Ready      func() []string // why the service should not be used now; empty when it should
	Version    string
	FIPS       string // of the running binary, in words
	Clock      clock.Clock
	Logger     *slog.Logger
	Metrics    *prometheus.Registry
	Limits     Limits
	Exports    Exports                  // may be nil
	Witnesses  Witnesses                // may be nil
	Alerts     func() map[string]uint64 // what each rule of the monitor found, by this process; may be nil
}

// server is the state behind the handlers.
type server struct {
	cfg       Config
	door      *custodian.Service
	engine    *ceremony.Engine
	store     *store.Store
	clock     clock.Clock
	log       *slog.Logger
	limits    Limits
	dev       bool
	sentinels []sentinel
	metrics   *metrics
	openapi   []byte
	replies   *replies

	boot      string // in request ids
	requests  atomic.Uint64
	inFlight  atomic.Int64
	buffers   sync.Pool // of *exchange
	anonymous *auth.Sources
	reporting chan struct{} // holds a token for each report being made
	rates     sync.Map      // application id → *rate.Limiter
}

// New returns the handler of the whole API. Serve it over TLS 1.3: see [NewServer].
func New(cfg Config) (http.Handler, error) {
	if cfg.Custodian == nil || cfg.Ceremonies == nil || cfg.Bundles == nil || cfg.Auth == nil || cfg.Store == nil || cfg.Clock == nil || cfg.Metrics == nil {
		return nil, errors.New("http api: custodian, ceremonies, bundles, auth, store, clock and metrics are required")
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Ready == nil {
		cfg.Ready = func() []string { return nil }
	}
	s := &server{
		cfg: cfg, door: cfg.Custodian, engine: cfg.Ceremonies, store: cfg.Store, clock: cfg.Clock, log: cfg.Logger,
		limits: cfg.Limits.withDefaults(), dev: cfg.Custodian.Instance().Mode == custodian.Development,
		sentinels: sentinels(), replies: newReplies(cfg.Store), boot: strings.ToLower(rand.Text()[:8]),
		anonymous: auth.NewSources(cfg.Clock), reporting: make(chan struct{}, maxReports),
	}
	s.buffers.New = func() any { return &exchange{body: make([]byte, 0, bufferSize), out: make([]byte, 0, bufferSize)} }
	var err error
	if s.openapi, err = openAPIDocument(); err != nil {
		return nil, err
	}
	if s.metrics, err = newMetrics(cfg.Metrics, s); err != nil {
		return nil, err
	}
	return s.router(), nil
}

// router builds the gin engine. It carries no middleware: everything common stands in serve.
func (s *server) router() *gin.Engine {
	gin.SetMode(gin.ReleaseMode)
	g := gin.New()
	g.HandleMethodNotAllowed = true
	g.RedirectTrailingSlash = false // a signature covers the path that was sent
	g.ForwardedByClientIP = false
	for _, r := range s.routes() {
		g.Handle(r.method, r.path, s.serve(r))
	}
	missing := route{path: "(none)", access: open, handle: func(*exchange) error { return errNoRoute }, kind: probe}
	g.NoRoute(s.serve(missing))
	wrong := route{path: "(method)", access: open, handle: func(*exchange) error { return errMethod }, kind: probe}
	g.NoMethod(s.serve(wrong))
	return g
}

// limiter is the rate limiter of one application, nil for no bound. There are no more of them than the
// register has applications: only authenticated ones get here.
func (s *server) limiter(application string) *rate.Limiter {
	if s.limits.ApplicationRate <= 0 {
		return nil
	}
	if l, ok := s.rates.Load(application); ok {
		return l.(*rate.Limiter)
	}
	l, _ := s.rates.LoadOrStore(application, rate.NewLimiter(rate.Limit(s.limits.ApplicationRate), s.limits.ApplicationBurst))
	return l.(*rate.Limiter)
}
