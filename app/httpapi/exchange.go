package httpapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"runtime"
	"runtime/debug"
	"strconv"
	"time"

	"github.com/gin-gonic/gin"

	"conclave/app/auth"
	"conclave/custodian/identity"
	"conclave/custodian/people"
	"conclave/hsm/secret"
)

// exchange is one request and its answer. Its buffers are reused and wiped in between: bodies carry
// plaintext in both directions.
type exchange struct {
	s        *server
	c        *gin.Context
	id       string // request id
	who      identity.Principal
	evidence []byte // envelope by which a person signed the request
	invited  *people.Invitation
	body     []byte
	out      []byte
}

const (
	bufferSize = 2 << 10
	// firstRead is how much room a body gets before any of it has come: what a caller announces costs nothing yet.
	firstRead = 64 << 10
	// maxAnswerBody bounds what an invited person hands in: two public keys in a signed envelope.
	maxAnswerBody = 8 << 10
	// largestKept is the largest buffer that goes back for reuse.
	largestKept = 256 << 10
)

const (
	typeJSON    = "application/json"
	typeProblem = "application/problem+json"
	typeText    = "text/plain; charset=utf-8"
	typeBytes   = "application/octet-stream"
)

// Refusals of the edge itself.
var (
	errNoRoute   = errors.New("no such route")
	errMethod    = errors.New("method not allowed on this route")
	errBusy      = errors.New("too many requests at once")
	errAnonymous = errors.New("too many requests without credentials")
	errReports   = errors.New("too many reports at once")
	errRate      = errors.New("request rate of the application is exceeded")
	errBodySize  = errors.New("body too large")
	errBody      = errors.New("body could not be read")
)

// serve is everything that is common to all routes. It is one function and no chain of middleware: on the
// data plane each layer would cost as much as the work.
func (s *server) serve(r route) gin.HandlerFunc {
	limit, timeout := s.bounds(r.kind)
	observed := s.metrics.route(r.method, r.path)
	return func(c *gin.Context) {
		started := s.clock.Elapsed()
		x := s.buffers.Get().(*exchange)
		x.s, x.c, x.id = s, c, s.requestID()
		x.headers(r.kind)
		running := s.inFlight.Add(1)
		defer func() {
			s.inFlight.Add(-1)
			x.end(recover()) // x is somebody else's from here on
			observed.done(c.Writer.Status(), s.clock.Elapsed()-started)
		}()
		if timeout > 0 {
			ctx, cancel := context.WithTimeout(c.Request.Context(), timeout)
			defer cancel()
			c.Request = c.Request.WithContext(ctx)
		}
		if err := x.run(&r, limit, running); err != nil {
			x.problem(err)
		}
	}
}

func (s *server) bounds(kind plane) (limit int64, timeout time.Duration) {
	switch kind {
	case data:
		return s.limits.DataBody, 0
	case batch:
		return s.limits.BatchBody, 0
	case control:
		return s.limits.ControlBody, s.limits.ControlTimeout
	case report:
		return s.limits.ControlBody, s.limits.ReportTimeout
	case answer:
		return maxAnswerBody, s.limits.ControlTimeout
	}
	return 0, 0
}

// requestID is unique while no two processes draw the same 40 bits.
func (s *server) requestID() string {
	var b [32]byte
	out := append(b[:0], s.boot...)
	out = append(out, '-')
	return string(strconv.AppendUint(out, s.requests.Add(1), 36))
}

// run authenticates, reads and handles, in this order: who proves nobody holds no memory and no slot while a
// body trickles in.
func (x *exchange) run(r *route, limit, running int64) error {
	if running > x.s.room(r.kind) {
		return errBusy
	}
	if x.c.Request.URL.RawPath != "" {
		return errNoRoute // escapes that ids never need: what one reader takes for a path, another may not
	}
	if r.kind != probe {
		if err := x.s.store.Standing(); err != nil { // revoked: what this node knows is not its to tell any more
			return err
		}
	}
	caller, err := x.authenticate(r)
	if err != nil {
		return err
	}
	if caller.Kind == identity.Human { // whose calls are those of the control plane
		limit = min(limit, x.s.limits.ControlBody)
	}
	if r.method == "" { // no such path or method, whatever the body is
		return r.handle(x)
	}
	if err := x.read(limit); err != nil {
		return err
	}
	if err := x.s.cfg.Auth.CheckBody(x.c.Request, caller, x.body); err != nil {
		x.who = identity.Principal{}
		return err
	}
	return r.handle(x)
}

// room is how many requests may run at once. The data plane leaves some of it to the control plane, so that a
// key in wrong hands can be suspended however busy the service is; probes are always answered.
func (s *server) room(kind plane) int64 {
	switch kind {
	case probe:
		return math.MaxInt64
	case data, batch:
		return s.limits.InFlight - s.limits.InFlight/8
	}
	return s.limits.InFlight
}

// authenticate finds out who calls, as far as the route asks for it.
func (x *exchange) authenticate(r *route) (auth.Caller, error) {
	if r.access != known && (r.access != optional || !auth.Present(x.c.Request)) {
		if r.kind != probe && !x.s.anonymous.Allow(auth.Origin(x.c.Request)) {
			return auth.Caller{}, errAnonymous
		}
		if r.access == invited {
			var err error
			x.invited, err = x.s.cfg.Auth.Invited(x.c.Request)
			return auth.Caller{}, err
		}
		return auth.Caller{}, nil
	}
	caller, err := x.s.cfg.Auth.Authenticate(x.c.Request)
	if err != nil {
		return auth.Caller{}, err
	}
	x.who, x.evidence = caller.Principal, caller.Evidence
	x.who.RequestID = x.id
	x.s.engine.Seen(x.who)
	if x.who.Kind == identity.Application {
		if l := x.s.limiter(x.who.ID); l != nil && !l.Allow() {
			return auth.Caller{}, errRate
		}
	}
	return caller, nil
}

// read takes the body whole: it is small, and signatures of people cover it.
func (x *exchange) read(limit int64) error {
	r := x.c.Request
	if r.ContentLength > limit {
		return errBodySize
	}
	if r.ContentLength == 0 || r.Body == nil || r.Body == http.NoBody {
		return nil
	}
	want := int(r.ContentLength) // one more byte, so that the end is seen without growing
	if want < 0 {
		want = bufferSize - 1
	}
	if first := min(want+1, firstRead); cap(x.body) < first {
		x.body = make([]byte, 0, first)
	}
	for {
		n, err := r.Body.Read(x.body[len(x.body):cap(x.body)])
		x.body = x.body[:len(x.body)+n]
		if int64(len(x.body)) > limit {
			return errBodySize
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return fmt.Errorf("%w: %w", errBody, err)
		}
		if len(x.body) == cap(x.body) {
			grown := append(make([]byte, 0, 2*cap(x.body)), x.body...)
			secret.Wipe(x.body)
			x.body = grown
		}
	}
}

// end answers a panic, wipes the buffers and gives the exchange back.
func (x *exchange) end(panicked any) {
	if panicked != nil {
		if panicked == http.ErrAbortHandler {
			panic(panicked)
		}
		x.panicked(panicked)
		return // whoever panicked may still hold a buffer
	}
	if cap(x.body) > largestKept || cap(x.out) > largestKept {
		secret.Wipe(x.body)
		secret.Wipe(x.out)
		return
	}
	clear(x.body)
	clear(x.out)
	s, body, out := x.s, x.body[:0], x.out[:0]
	*x = exchange{body: body, out: out}
	s.buffers.Put(x)
}

// panicked logs what happened without the panic's value, which may hold anything, and answers.
func (x *exchange) panicked(v any) {
	what := fmt.Sprintf("%T", v)
	if re, ok := v.(runtime.Error); ok { // index out of range and the like: no values of ours in it
		what = re.Error()
	}
	x.s.log.Error("request handler panicked", "request", x.id, "route", x.c.FullPath(), "panic", what, "stack", string(debug.Stack()))
	if !x.c.Writer.Written() {
		x.problem(errors.New("internal error"))
	}
}

// headers sets what every answer carries. Values are slices set directly: keys are in canonical form.
func (x *exchange) headers(kind plane) {
	h := x.c.Writer.Header()
	h["Cache-Control"] = []string{"no-store"}
	h["X-Request-Id"] = []string{x.id}
	if kind != data && kind != batch {
		h["X-Content-Type-Options"] = []string{"nosniff"}
		h["Strict-Transport-Security"] = []string{"max-age=31536000"}
		h["Content-Security-Policy"] = []string{"default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"}
		h["Referrer-Policy"] = []string{"no-referrer"}
	}
}

// write sends an answer whose size is known.
func (x *exchange) write(status int, contentType string, body []byte) error {
	h := x.c.Writer.Header()
	h["Content-Type"] = []string{contentType}
	if len(body) > bufferSize { // net/http counts shorter ones itself
		h["Content-Length"] = []string{strconv.Itoa(len(body))}
	}
	x.c.Writer.WriteHeader(status)
	_, err := x.c.Writer.Write(body)
	if err != nil {
		x.s.log.Debug("answer could not be sent", "request", x.id, "error", err)
	}
	return nil // nothing else can be told to a caller who is gone
}

// ok sends the answer that a handler has put into x.out.
func (x *exchange) ok() error { return x.write(http.StatusOK, typeJSON, x.out) }

// json sends a control-plane answer.
func (x *exchange) json(status int, v any) error {
	body, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encoding answer: %w", err)
	}
	return x.write(status, typeJSON, body)
}

// ctx is the request's context: it ends with the connection and, off the data plane, in time.
func (x *exchange) ctx() context.Context { return x.c.Request.Context() }
