package client

import (
	"encoding/json"
	"fmt"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode"

	"conclave/app/api"
)

// CodeUnexpected is the code of an answer that is no problem document: a proxy's error page, a redirect,
// another service.
const CodeUnexpected = "unexpected_response"

// Problem is a refusal by the service (RFC 9457). Callers decide by Code and Retryable.
type Problem struct {
	api.Problem
	// RetryAfter is how long the service asks to wait, 0 when it does not say.
	RetryAfter time.Duration
}

// Error implements error.
func (p *Problem) Error() string {
	var b strings.Builder
	switch {
	case p.Detail != "":
		b.WriteString(p.Detail)
	case p.Title != "":
		b.WriteString(p.Title)
	default:
		fmt.Fprintf(&b, "HTTP status %d", p.Status)
	}
	fmt.Fprintf(&b, " (%s)", p.Code)
	if p.Field != "" {
		fmt.Fprintf(&b, "; field %s", p.Field)
	}
	if p.Allowed != "" {
		fmt.Fprintf(&b, "; allowed: %s", p.Allowed)
	}
	return b.String()
}

// maxProblem bounds a problem document; reasons of a refused placement are the longest.
const maxProblem = 256 << 10

// maxExcerpt bounds what is shown of an answer that is no problem document.
const maxExcerpt = 160

// readProblem turns an answer with an error status into a Problem.
func readProblem(resp *http.Response) *Problem {
	p := &Problem{RetryAfter: retryAfter(resp)}
	body, err := readBounded(resp.Body, maxProblem)
	mediaType, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	if err == nil && mediaType == "application/problem+json" && json.Unmarshal(body, &p.Problem) == nil && p.Code != "" {
		p.Status = resp.StatusCode
		return p
	}
	p.Problem = api.Problem{
		Status: resp.StatusCode, Code: CodeUnexpected, Title: "the answer is not from this API",
		Detail: fmt.Sprintf("HTTP status %d without a problem document: %s", resp.StatusCode, excerpt(body)),
	}
	return p
}

func excerpt(body []byte) string {
	s := strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(string(body[:min(len(body), maxExcerpt)]), "�"))
	return strconv.Quote(strings.Join(strings.Fields(s), " "))
}

// retryAfter reads the header in its delay form (RFC 9110 section 10.2.3), the one this API sends.
func retryAfter(resp *http.Response) time.Duration {
	seconds, err := strconv.Atoi(resp.Header.Get("Retry-After"))
	if err != nil || seconds < 0 || seconds > 86400 {
		return 0
	}
	return time.Duration(seconds) * time.Second
}
