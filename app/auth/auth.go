// Package auth turns the credentials of an HTTP request into an identity.Principal: bearer tokens of
// applications and auditors, signed requests of people, secrets of invitations. It decides who is calling, never what
// they may do. Callers that prove nobody are counted by source and recorded in aggregate.
package auth

import (
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"conclave/ceremony/statement"
	"conclave/custodian"
	"conclave/custodian/access"
	"conclave/custodian/clock"
	"conclave/custodian/identity"
	"conclave/custodian/people"
	"conclave/custodian/store"
)

// Codes of refusals, stable.
const (
	CodeUnauthenticated = "unauthenticated"
	CodeTokenExpired    = "token_expired"
	CodeTokenRevoked    = "token_revoked"
	CodeRateLimited     = "rate_limited"
)

// Refusal says that a caller did not prove who they are. Detail may be shown to them: it repeats no
// credential and tells nothing about credentials they do not hold.
type Refusal struct {
	Code       string
	Detail     string
	RetryAfter time.Duration // CodeRateLimited only
	reason     string        // what is recorded
}

func (e *Refusal) Error() string { return e.Code + ": " + e.Detail }

// Config of an Authenticator. Logger may be nil.
type Config struct {
	Custodian *custodian.Service
	Clock     clock.Clock
	Logger    *slog.Logger
}

// Authenticator is safe for concurrent use. Close it when serving has ended.
type Authenticator struct {
	door     *custodian.Service
	clock    clock.Clock
	replays  *replayCache
	failures *failures
	// start bounds signed requests from below: those signed before this process began may have been used
	// with the one before it, whose memory of nonces is gone.
	start time.Time
}

// New returns an Authenticator for the instance behind the door.
func New(cfg Config) (*Authenticator, error) {
	if cfg.Custodian == nil || cfg.Clock == nil {
		return nil, errors.New("authenticator: custodian and clock are required")
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	return &Authenticator{
		door: cfg.Custodian, clock: cfg.Clock, replays: newReplayCache(),
		failures: newFailures(cfg.Custodian, cfg.Clock, cfg.Logger),
		start:    cfg.Clock.Now().Truncate(time.Millisecond), // the resolution of signed times
	}, nil
}

// Close records the failures that are still counted and ends the background work.
func (a *Authenticator) Close() { a.failures.close() }

const bearer = "Bearer "

// Caller is who sent a request.
type Caller struct {
	identity.Principal
	// Evidence is the DSSE envelope by which a person signed the request, nil for tokens.
	Evidence []byte
	body     string // digest of the body that was signed
}

// Authenticate says who sent this request, by its head alone: a caller who proves nobody gets no body read. The
// body of a person's request must then pass [Authenticator.CheckBody]. Errors: *Refusal (counted, and recorded by
// source), *store.TamperedError when the register cannot be believed.
func (a *Authenticator) Authenticate(r *http.Request) (Caller, error) {
	header := ""
	if values := r.Header["Authorization"]; len(values) == 1 {
		header = values[0]
	} else if len(values) > 1 {
		return a.refuse(r, refusal("several_credentials", "several Authorization headers; send one"))
	}
	switch {
	case strings.HasPrefix(header, bearer):
		return a.token(r, header[len(bearer):])
	case strings.HasPrefix(header, statement.Scheme+" "):
		return a.signed(r, header)
	case header == "":
		return a.refuse(r, refusal("credentials_missing", "no credentials: send a bearer token or a signed request"))
	}
	return a.refuse(r, refusal("scheme_unknown", "unknown authentication scheme; allowed are Bearer and "+statement.Scheme))
}

// CheckBody refuses a body that is not the one a person signed. Tokens say nothing about bodies.
func (a *Authenticator) CheckBody(r *http.Request, c Caller, body []byte) error {
	if c.Kind != identity.Human || statement.BodyDigest(body) == c.body {
		return nil
	}
	_, err := a.refuse(r, refusal("request_signature", "the signed request is not accepted: the body is not the one signed"))
	return err
}

// Present says whether the request carries credentials at all.
func Present(r *http.Request) bool { return len(r.Header["Authorization"]) > 0 }

func refusal(reason, detail string) *Refusal {
	return &Refusal{Code: CodeUnauthenticated, Detail: detail, reason: reason}
}

// refuse counts a failure and answers it.
func (a *Authenticator) refuse(r *http.Request, why *Refusal) (Caller, error) {
	if wait := a.failures.count(r.Context(), Origin(r), why.reason); wait > 0 {
		why = &Refusal{Code: CodeRateLimited, Detail: "too many failed attempts from this address", RetryAfter: wait}
	}
	return Caller{}, why
}

// Origin is the address a request came from, without its port. Forwarding headers are not believed: who
// sends them is not known.
func Origin(r *http.Request) string {
	host := r.RemoteAddr
	if i := strings.LastIndexByte(host, ':'); i >= 0 {
		host = host[:i]
	}
	if len(host) >= 2 && host[0] == '[' && host[len(host)-1] == ']' {
		host = host[1 : len(host)-1]
	}
	return host
}

const notAccepted = "the credentials are not accepted"

// token authenticates an application or auditor.
func (a *Authenticator) token(r *http.Request, text string) (Caller, error) {
	presented, err := access.ParseToken(text)
	if err != nil {
		return a.refuse(r, refusal("token_malformed", notAccepted))
	}
	view := a.door.View()
	row, err := store.Peek[access.Token](view, custodian.KindToken, presented.ID)
	if errors.Is(err, store.ErrNotFound) {
		return a.refuse(r, refusal("token_unknown", notAccepted))
	}
	if err != nil {
		return a.broken(r, err)
	}
	if err := access.Verify(row, presented, a.clock.Now()); err != nil {
		return a.refuse(r, tokenRefusal(err))
	}
	p := identity.Principal{Kind: identity.Kind(row.Kind), ID: row.Subject, Credential: row.ID, Origin: Origin(r)}
	if why, err := subject(view, p, a.clock.Now()); err != nil {
		return a.broken(r, err)
	} else if why != nil {
		return a.refuse(r, why)
	}
	return Caller{Principal: p}, nil
}

// tokenRefusal words what is wrong with a known token. Expiry and revocation are told only to whoever has
// the secret: access.Verify compares it first.
func tokenRefusal(err error) *Refusal {
	switch {
	case errors.Is(err, access.ErrTokenExpired):
		return &Refusal{Code: CodeTokenExpired, Detail: "the token has expired", reason: CodeTokenExpired}
	case errors.Is(err, access.ErrTokenRevoked):
		return &Refusal{Code: CodeTokenRevoked, Detail: "the token is revoked", reason: CodeTokenRevoked}
	case errors.Is(err, access.ErrTokenNotYet):
		return refusal("token_not_yet", "the token is not valid yet")
	}
	return refusal("token_secret", notAccepted)
}

// subject says why whom a token stands for may not come in, nil when they may.
func subject(view *store.View, p identity.Principal, now time.Time) (*Refusal, error) {
	switch p.Kind {
	case identity.Application:
		app, err := store.Peek[access.Application](view, custodian.KindApplication, p.ID)
		if errors.Is(err, store.ErrNotFound) {
			return refusal("application_unknown", notAccepted), nil
		}
		if err != nil {
			return nil, err
		}
		if app.Status != string(people.StatusActive) {
			return refusal("application_suspended", "the application is suspended"), nil
		}
	case identity.Auditor:
		who, err := store.Peek[people.Person](view, custodian.KindPerson, p.ID)
		if errors.Is(err, store.ErrNotFound) {
			return refusal("person_unknown", notAccepted), nil
		}
		if err != nil {
			return nil, err
		}
		if who.Status != people.StatusActive {
			return refusal("person_not_active", "the person is not active"), nil
		}
		if who.Ended(now) {
			return refusal("engagement_ended", "the person's engagement has ended"), nil
		}
		if !who.Has(people.RoleAuditor) {
			return refusal("person_no_auditor", "the person is not an auditor any more"), nil
		}
	default:
		return refusal("token_kind", notAccepted), nil
	}
	return nil, nil
}

// signed authenticates a person by the signature over this very request.
func (a *Authenticator) signed(r *http.Request, header string) (Caller, error) {
	claim, err := statement.ParseRequest(header)
	if err != nil {
		return a.refuse(r, refusal("request_malformed", err.Error()))
	}
	view := a.door.View()
	who, err := store.Peek[people.Person](view, custodian.KindPerson, claim.ClaimedPerson())
	if errors.Is(err, store.ErrNotFound) {
		return a.refuse(r, refusal("person_unknown", notAccepted))
	}
	if err != nil {
		return a.broken(r, err)
	}
	credential := approvalKey(who, claim.ClaimedCredential())
	if credential == nil {
		return a.refuse(r, refusal("credential_unknown", notAccepted))
	}
	now := a.clock.Now()
	request, err := statement.VerifyRequest(claim, *credential, statement.Expected{
		Instance: a.door.Instance().ID, Method: r.Method, Path: r.RequestURI, BodySHA256: claim.ClaimedBody(), Now: now})
	if err != nil {
		return a.refuse(r, refusal("request_signature", requestDetail(err)))
	}
	// From here on the caller has proven to hold the key, and is told what is wrong.
	switch {
	case who.Status != people.StatusActive:
		return a.refuse(r, refusal("person_not_active", "the person is not active"))
	case who.Ended(now):
		return a.refuse(r, refusal("engagement_ended", "your engagement has ended"))
	case credential.Revoked:
		return a.refuse(r, refusal("credential_revoked", "the approval key is revoked"))
	case request.IssuedAt.Before(a.start):
		return a.refuse(r, refusal("request_before_start", "the request was signed before this node started: sign it again"))
	}
	switch a.replays.use(who.ID, request.Nonce, request.ExpiresAt, now) {
	case replayed:
		return a.refuse(r, refusal("request_replayed", "the signed request was used before: sign each request anew"))
	case tooMany:
		return Caller{}, &Refusal{Code: CodeRateLimited, Detail: "too many requests by one person", RetryAfter: statement.MaxRequestLife}
	}
	evidence, err := base64.RawURLEncoding.DecodeString(header[len(statement.Scheme)+1:])
	if err != nil {
		return a.refuse(r, refusal("request_malformed", "the envelope is not base64url"))
	}
	return Caller{Principal: identity.Principal{Kind: identity.Human, ID: who.ID, Credential: credential.ID, Origin: Origin(r)},
		Evidence: evidence, body: request.BodySHA256}, nil
}

// requestDetail says what is wrong with a signed request, once its signature is right: until then the answer is
// the same as for a person or key that does not exist.
func requestDetail(err error) string {
	for _, told := range []error{statement.ErrOtherInstance, statement.ErrOtherRequest, statement.ErrNotYetValid, statement.ErrExpired} {
		if errors.Is(err, told) {
			return "the signed request is not accepted: " + err.Error()
		}
	}
	return notAccepted
}

func approvalKey(who *people.Person, id string) *people.Credential {
	for i := range who.ApprovalKeys {
		if who.ApprovalKeys[i].ID == id {
			return &who.ApprovalKeys[i]
		}
	}
	return nil
}

// broken refuses because the register itself is not to be believed.
func (a *Authenticator) broken(r *http.Request, err error) (Caller, error) {
	a.failures.count(r.Context(), Origin(r), "integrity")
	return Caller{}, fmt.Errorf("authenticating: %w", err)
}
