package httpapi

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"sync"

	"conclave/app/api"
	"conclave/custodian"
	"conclave/custodian/store"
	"conclave/hsm/secret"
)

// maxIdempotencyKey is the longest Idempotency-Key, in characters.
const maxIdempotencyKey = 128

// replies gives unsafe calls with an Idempotency-Key the answer they were given before.
type replies struct {
	store   *store.Store
	mu      sync.Mutex
	pending map[string]chan struct{} // by principal and key: closed when the call under way is done
}

func newReplies(s *store.Store) *replies {
	return &replies{store: s, pending: make(map[string]chan struct{})}
}

// reply is an answer of an unsafe call. once is part of the first answer only: it is never kept, and whoever
// repeats the call gets the rest.
type reply struct {
	status int
	body   []byte
	first  []byte // body with the secret; nil where there is none
}

// newReply encodes an answer. once is wiped; it can go with an api.ProposeResponse only.
func newReply(status int, v any, once *secret.Bytes) (reply, error) {
	text, err := cleartext(once)
	if err != nil {
		return reply{}, fmt.Errorf("reading what is delivered once: %w", err)
	}
	r := reply{status: status}
	if r.body, err = json.Marshal(v); err != nil {
		return reply{}, fmt.Errorf("encoding answer: %w", err)
	}
	if p, ok := v.(api.ProposeResponse); ok && text != "" {
		p.Once = text
		if r.first, err = json.Marshal(p); err != nil {
			return reply{}, fmt.Errorf("encoding answer: %w", err)
		}
	}
	return r, nil
}

// idempotent does an unsafe call once for each Idempotency-Key of a caller. Calls without one are done as
// they come. Only success is kept: what failed changed nothing and may be tried again.
func (x *exchange) idempotent(act func() (reply, error)) error {
	key, err := x.idempotencyKey()
	if err != nil {
		return err
	}
	if key == "" {
		r, err := act()
		if err != nil {
			return err
		}
		return x.deliver(r)
	}
	who, hash := x.who.String(), x.requestHash()
	release, err := x.s.replies.begin(x.ctx(), who+"\x00"+key)
	if err != nil {
		return err
	}
	defer release()
	kept, err := x.s.store.Idempotency(x.ctx(), who, key)
	if err == nil {
		if string(kept.RequestHash) != string(hash) {
			return store.ErrIdempotencyConflict
		}
		x.c.Writer.Header()["Idempotent-Replay"] = []string{"true"}
		return x.deliver(reply{status: kept.Status, body: kept.Body})
	}
	if !errors.Is(err, store.ErrNotFound) {
		return err
	}
	r, err := act()
	if err != nil {
		return err
	}
	_, err = x.s.store.SaveIdempotency(x.ctx(), store.IdempotentReply{Principal: who, Key: key, RequestHash: hash, Status: r.status, Body: r.body})
	if err != nil { // done and recorded all the same: the caller must have the answer
		x.s.log.Error("answer could not be kept for its idempotency key", "request", x.id, "error", err)
	}
	return x.deliver(r)
}

func (x *exchange) deliver(r reply) error {
	if r.first == nil {
		return x.write(r.status, typeJSON, r.body)
	}
	defer secret.Wipe(r.first)
	return x.write(r.status, typeJSON, r.first)
}

func (x *exchange) idempotencyKey() (string, error) {
	values := x.c.Request.Header["Idempotency-Key"]
	if len(values) == 0 {
		return "", nil
	}
	bad := &custodian.InputError{Field: "Idempotency-Key", Problem: "malformed", Allowed: fmt.Sprintf("one header of 1 to %d printable ASCII characters", maxIdempotencyKey)}
	key := values[0]
	if len(values) > 1 || key == "" || len(key) > maxIdempotencyKey {
		return "", bad
	}
	for i := range len(key) {
		if key[i] <= ' ' || key[i] > '~' {
			return "", bad
		}
	}
	return key, nil
}

// requestHash tells one request from another: method, path and body. People's signatures are left out,
// since each attempt has its own.
func (x *exchange) requestHash() []byte {
	h := sha256.New()
	for _, part := range [][]byte{[]byte(x.c.Request.Method), []byte(x.c.Request.RequestURI), x.body} {
		var n [8]byte
		binary.BigEndian.PutUint64(n[:], uint64(len(part)))
		h.Write(n[:])
		h.Write(part)
	}
	return h.Sum(nil)
}

// begin waits until no other call with the same key runs beside this one.
func (r *replies) begin(ctx context.Context, id string) (release func(), err error) {
	for {
		r.mu.Lock()
		running, busy := r.pending[id]
		if !busy {
			done := make(chan struct{})
			r.pending[id] = done
			r.mu.Unlock()
			return func() {
				r.mu.Lock()
				delete(r.pending, id)
				r.mu.Unlock()
				close(done)
			}, nil
		}
		r.mu.Unlock()
		select {
		case <-running:
		case <-ctx.Done():
			return nil, fmt.Errorf("waiting for a call with the same idempotency key: %w", ctx.Err())
		}
	}
}
