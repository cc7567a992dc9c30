package client

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"sync"

	"github.com/go-json-experiment/json/jsontext"

	"conclave/ceremony/statement"
	"conclave/hsm/secret"
)

// Largest answers read, in bytes. Reports are the exception: they are streamed to their receiver.
const (
	maxAnswer     = 4 << 20
	maxBundleTile = 256 * (2 + 1<<16) // C2SP tlog-tiles: 256 entries of at most 65,535 bytes
)

var errTooLarge = errors.New("larger than allowed")

// call is one logical call of the API, whatever number of attempts it takes.
type call struct {
	method string
	path   string // under the base URL, segments already escaped
	query  url.Values
	body   any
	// control marks an unsafe control-plane call: it carries one Idempotency-Key over all attempts.
	control bool
	// canonical has the body sent as RFC 8785 JSON: whoever has what it says can make the bytes again that were signed.
	canonical bool
	// sensitive marks bodies that carry plaintext: their buffers are wiped.
	sensitive bool
	accept    string
	// resume asks for the bytes from there on (RFC 9110, 14.2), 0 for all; read anew at each attempt.
	resume *int64
}

// do makes the call and decodes its JSON answer into out, unless out is nil.
func (c *Client) do(ctx context.Context, r call, out any) error {
	return c.send(ctx, r, func(resp *http.Response) error {
		body, err := readBounded(resp.Body, maxAnswer)
		if r.sensitive {
			defer secret.Wipe(body)
		}
		if err != nil {
			return fmt.Errorf("reading answer: %w", err)
		}
		if out == nil {
			return nil
		}
		if err := json.Unmarshal(body, out); err != nil {
			return fmt.Errorf("reading answer: %w", err)
		}
		return nil
	})
}

// raw makes the call and returns the bytes of its answer.
func (c *Client) raw(ctx context.Context, r call, limit int64) ([]byte, error) {
	var body []byte
	err := c.send(ctx, r, func(resp *http.Response) (err error) {
		if body, err = readBounded(resp.Body, limit); err != nil {
			return fmt.Errorf("reading answer: %w", err)
		}
		return nil
	})
	return body, err
}

// send encodes the call once and attempts it until it is answered; good gets an answer of status 2xx.
func (c *Client) send(ctx context.Context, r call, good func(*http.Response) error) error {
	var body []byte
	if r.body != nil {
		var err error
		if body, err = encode(r); err != nil {
			return fmt.Errorf("%s %s: encoding request: %w", r.method, r.path, err)
		}
		if r.sensitive {
			defer secret.Wipe(body)
		}
	}
	key := ""
	if r.control {
		key = newIdempotencyKey()
	}
	err := c.retry.repeat(ctx, func() error { return c.attempt(ctx, r, body, key, good) })
	if err != nil {
		return fmt.Errorf("%s %s: %w", r.method, r.path, err)
	}
	return nil
}

func encode(r call) ([]byte, error) {
	body, err := json.Marshal(r.body)
	if err != nil || !r.canonical {
		return body, err
	}
	value := jsontext.Value(body)
	err = value.Canonicalize()
	return value, err
}

func (c *Client) attempt(ctx context.Context, r call, body []byte, key string, good func(*http.Response) error) error {
	req, err := c.request(ctx, r, body)
	if err != nil {
		return err
	}
	if key != "" {
		req.Header.Set("Idempotency-Key", key)
	}
	if err := c.authorize(req, body); err != nil {
		return err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		var ue *url.Error // repeats method and URL, which send names already
		if errors.As(err, &ue) {
			err = ue.Err
		}
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		return readProblem(resp)
	}
	return good(resp)
}

func (c *Client) request(ctx context.Context, r call, body []byte) (*http.Request, error) {
	target := c.base.String() + r.path
	if len(r.query) > 0 {
		target += "?" + r.query.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, r.method, target, nil)
	if err != nil {
		return nil, fmt.Errorf("making request: %w", err)
	}
	if body != nil {
		// The transport may go on reading a body after it has answered; a sensitive one therefore gets a
		// copy of its own, wiped when the transport lets go of it.
		req.GetBody = func() (io.ReadCloser, error) {
			if r.sensitive {
				return newWipingBody(body), nil
			}
			return io.NopCloser(bytes.NewReader(body)), nil
		}
		req.Body, _ = req.GetBody()
		req.ContentLength = int64(len(body))
		req.Header.Set("Content-Type", "application/json")
	}
	accept := r.accept
	if accept == "" {
		accept = "application/json"
	}
	req.Header.Set("Accept", accept)
	if r.resume != nil && *r.resume > 0 {
		req.Header.Set("Range", fmt.Sprintf("bytes=%d-", *r.resume))
	}
	req.Header.Set("User-Agent", c.userAgent)
	return req, nil
}

// authorize adds who is calling. People's signatures are made for each attempt, since each carries a
// nonce that the service accepts once.
func (c *Client) authorize(req *http.Request, body []byte) error {
	switch {
	case c.signer != nil:
		now := c.clock.Now()
		value, err := statement.SignRequest(c.signer, statement.Request{
			Instance: c.instance, Person: c.person, Method: req.Method, Path: req.URL.RequestURI(),
			BodySHA256: statement.BodyDigest(body), Nonce: statement.NewNonce(),
			IssuedAt: now, ExpiresAt: now.Add(statement.MaxRequestLife),
		})
		if err != nil {
			return fmt.Errorf("signing request: %w", err)
		}
		req.Header.Set("Authorization", value)
	case c.token != nil:
		return c.token.Use(func(b []byte) error {
			req.Header.Set("Authorization", "Bearer "+string(b))
			return nil
		})
	}
	return nil
}

// wipingBody is a request body that wipes its bytes when it is closed.
type wipingBody struct {
	mu   sync.Mutex
	b    []byte
	read int
}

func newWipingBody(b []byte) *wipingBody { return &wipingBody{b: bytes.Clone(b)} }

func (w *wipingBody) Read(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.read >= len(w.b) {
		return 0, io.EOF
	}
	n := copy(p, w.b[w.read:])
	w.read += n
	return n, nil
}

func (w *wipingBody) Close() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	secret.Wipe(w.b)
	w.b = nil
	return nil
}

func newIdempotencyKey() string {
	b := make([]byte, 16)
	rand.Read(b) // never fails: crypto/rand ends the process instead
	return base64.RawURLEncoding.EncodeToString(b)
}

// readBounded reads all of r, at most limit bytes.
func readBounded(r io.Reader, limit int64) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(b)) > limit {
		secret.Wipe(b)
		return nil, fmt.Errorf("%w: over %d bytes", errTooLarge, limit)
	}
	return b, nil
}
