package statement

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"

	"conclave/custodian/dsse"
	"conclave/custodian/people"
	"conclave/custodian/strictjson"

	"github.com/go-json-experiment/json"
)

// Scheme is the HTTP authentication scheme of signed requests: "Authorization: Conclave <envelope>".
const Scheme = "Conclave"

// Bounds of signed requests.
const (
	MaxRequestLife = 60 * time.Second // from issued_at to expires_at
	MaxRequestSkew = 10 * time.Second // how far the sender's clock may run ahead
	MaxHeader      = 8 << 10          // bytes of the Authorization header
	maxPath        = 2048             // bytes of path and query
)

// Reasons why a signed request is refused, beside those of envelopes and fields.
var (
	ErrHeader        = errors.New("malformed signed request")
	ErrOtherRequest  = errors.New("signature covers another request")
	ErrOtherInstance = errors.New("signature is for another instance")
)

// Request is one call of a person to the API, signed with their approval key: there are no sessions to
// steal. It covers method, path with query, and the body's digest.
type Request struct {
	Instance   string
	Person     string
	Credential string // thumbprint of the signing key; equals the envelope's keyid
	Method     string
	Path       string // path and query exactly as sent: "/v1/keys?limit=5"
	BodySHA256 string // BodyDigest of the body, which may be empty
	IssuedAt   time.Time
	ExpiresAt  time.Time // at most MaxRequestLife after IssuedAt
	Nonce      string    // to be refused by the server when seen again before ExpiresAt
}

type wireRequest struct {
	BodySHA256 string `json:"body_sha256"`
	Credential string `json:"credential"`
	ExpiresAt  string `json:"expires_at"`
	Instance   string `json:"instance"`
	IssuedAt   string `json:"issued_at"`
	Method     string `json:"method"`
	Nonce      string `json:"nonce"`
	Path       string `json:"path"`
	Person     string `json:"person"`
	Version    int    `json:"v"`
}

// Expected is what the server sees of a call, to be compared with what was signed.
type Expected struct {
	Instance   string
	Method     string
	Path       string
	BodySHA256 string
	Now        time.Time
}

// SignedRequest is a parsed header: a claim, until Verify.
type SignedRequest struct {
	envelope *dsse.Envelope
	claim    Request
}

// BodyDigest is the hexadecimal SHA-256 of a request body.
func BodyDigest(body []byte) string {
	sum := sha256.Sum256(body)
	return hex.EncodeToString(sum[:])
}

// SignRequest returns the value of the Authorization header. Credential is set to the signer's.
func SignRequest(signer dsse.Signer, r Request) (string, error) {
	r.Credential = signer.KeyID()
	if err := r.validate(); err != nil {
		return "", err
	}
	payload, err := json.Marshal(wireRequest{
		BodySHA256: r.BodySHA256, Credential: r.Credential, ExpiresAt: formatTime(r.ExpiresAt),
		Instance: r.Instance, IssuedAt: formatTime(r.IssuedAt), Method: r.Method, Nonce: r.Nonce,
		Path: r.Path, Person: r.Person, Version: Version,
	})
	if err != nil {
		return "", fmt.Errorf("encoding request: %w", err)
	}
	if payload, err = strictjson.Canonical(payload); err != nil {
		return "", err
	}
	envelope, err := dsse.Sign(signer, TypeRequest, payload)
	if err != nil {
		return "", err
	}
	header := Scheme + " " + base64.RawURLEncoding.EncodeToString(envelope)
	if len(header) > MaxHeader {
		return "", fmt.Errorf("%w path: the signed header takes %d bytes, at most %d are allowed", ErrField, len(header), MaxHeader)
	}
	return header, nil
}

// ParseRequest reads an Authorization header. What it claims serves to find the person and credential;
// nothing is believed before Verify.
func ParseRequest(header string) (*SignedRequest, error) {
	if len(header) > MaxHeader {
		return nil, fmt.Errorf("%w: %w: %d bytes, at most %d are allowed", ErrHeader, strictjson.ErrTooLarge, len(header), MaxHeader)
	}
	scheme, text, found := strings.Cut(header, " ")
	if !found || !strings.EqualFold(scheme, Scheme) {
		return nil, fmt.Errorf("%w: the form is %q", ErrHeader, Scheme+" <base64url of the envelope>")
	}
	raw, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil {
		return nil, fmt.Errorf("%w: not base64url: %w", ErrHeader, err)
	}
	envelope, err := dsse.Parse(raw)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrHeader, err)
	}
	claim, err := parseRequestPayload(envelope.UnverifiedPayload())
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrHeader, err)
	}
	if claim.Credential != envelope.KeyID() {
		return nil, fmt.Errorf("%w: credential and keyid differ", ErrHeader)
	}
	return &SignedRequest{envelope: envelope, claim: claim}, nil
}

// ClaimedPerson is the person id the header claims.
func (s *SignedRequest) ClaimedPerson() string { return s.claim.Person }

// ClaimedCredential is the credential id the header claims.
func (s *SignedRequest) ClaimedCredential() string { return s.claim.Credential }

// ClaimedBody is the digest of the body that the header claims.
func (s *SignedRequest) ClaimedBody() string { return s.claim.BodySHA256 }

// VerifyRequest checks signature, instance, time and that the signed call is the call at hand. Whether
// the credential belongs to Request.Person, and whether the nonce is new, is for the caller to check.
func VerifyRequest(s *SignedRequest, credential people.Credential, want Expected) (Request, error) {
	if _, err := s.envelope.Verify(TypeRequest, credential); err != nil {
		return Request{}, err
	}
	r := s.claim
	switch {
	case r.Instance != want.Instance:
		return Request{}, fmt.Errorf("%w: %q, this is %q", ErrOtherInstance, clip(r.Instance), want.Instance)
	case r.Method != want.Method:
		return Request{}, fmt.Errorf("%w: method %s signed, %s sent", ErrOtherRequest, r.Method, clip(want.Method))
	case r.Path != want.Path:
		return Request{}, fmt.Errorf("%w: path %q signed, %q sent", ErrOtherRequest, clip(r.Path), clip(want.Path))
	case r.BodySHA256 != want.BodySHA256:
		return Request{}, fmt.Errorf("%w: the body is not the one signed", ErrOtherRequest)
	case r.IssuedAt.After(want.Now.Add(MaxRequestSkew)):
		return Request{}, fmt.Errorf("signed request %w: at %s, this server's clock says %s", ErrNotYetValid, formatTime(r.IssuedAt), formatTime(want.Now))
	case !want.Now.Before(r.ExpiresAt):
		return Request{}, fmt.Errorf("signed request %w: at %s, this server's clock says %s", ErrExpired, formatTime(r.ExpiresAt), formatTime(want.Now))
	}
	return r, nil
}

func parseRequestPayload(payload []byte) (Request, error) {
	if err := strictjson.CheckCanonical(payload); err != nil {
		return Request{}, err
	}
	if err := requireMembers(payload, "", "body_sha256", "credential", "expires_at", "instance", "issued_at",
		"method", "nonce", "path", "person", "v"); err != nil {
		return Request{}, err
	}
	var w wireRequest
	if err := json.Unmarshal(payload, &w, json.RejectUnknownMembers(true)); err != nil {
		return Request{}, fmt.Errorf("%w: %w", strictjson.ErrSyntax, err)
	}
	if w.Version != Version {
		return Request{}, fmt.Errorf("%w v: %d, this build reads %d", ErrField, w.Version, Version)
	}
	r := Request{
		Instance: w.Instance, Person: w.Person, Credential: w.Credential, Method: w.Method, Path: w.Path,
		BodySHA256: w.BodySHA256, Nonce: w.Nonce,
	}
	var err error
	if r.IssuedAt, err = parseTime("issued_at", w.IssuedAt); err != nil {
		return Request{}, err
	}
	if r.ExpiresAt, err = parseTime("expires_at", w.ExpiresAt); err != nil {
		return Request{}, err
	}
	if err := r.validate(); err != nil {
		return Request{}, err
	}
	return r, nil
}

func (r Request) validate() error {
	for _, n := range []struct{ field, value string }{
		{"instance", r.Instance}, {"person", r.Person}, {"credential", r.Credential},
	} {
		if err := checkName(n.field, n.value); err != nil {
			return err
		}
	}
	if len(r.Method) > 10 || r.Method == "" || strings.ContainsFunc(r.Method, func(c rune) bool { return c < 'A' || c > 'Z' }) {
		return fmt.Errorf("%w method: %q, allowed is an HTTP method in capitals", ErrField, clip(r.Method))
	}
	notPath := func(c rune) bool { return c <= ' ' || c > '~' }
	if !strings.HasPrefix(r.Path, "/") || len(r.Path) > maxPath || strings.ContainsFunc(r.Path, notPath) {
		return fmt.Errorf("%w path: %q, allowed are 1 to %d printable ASCII characters starting with /", ErrField, clip(r.Path), maxPath)
	}
	notHex := func(c rune) bool { return (c < '0' || c > '9') && (c < 'a' || c > 'f') }
	if len(r.BodySHA256) != 2*sha256.Size || strings.ContainsFunc(r.BodySHA256, notHex) {
		return fmt.Errorf("%w body_sha256: must be %d lower-case hexadecimal digits", ErrField, 2*sha256.Size)
	}
	if err := checkNonce(r.Nonce); err != nil {
		return err
	}
	if err := checkPeriod(r.IssuedAt, r.ExpiresAt); err != nil {
		return err
	}
	if r.ExpiresAt.Sub(r.IssuedAt) > MaxRequestLife {
		return fmt.Errorf("%w expires_at: %s after issued_at, at most %s is allowed", ErrField, r.ExpiresAt.Sub(r.IssuedAt), MaxRequestLife)
	}
	return nil
}
