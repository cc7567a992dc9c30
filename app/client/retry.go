package client

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"syscall"
	"time"
)

// Retry bounds the repetition of calls. Zero fields take their default.
type Retry struct {
	// Attempts in all, the first included. Default 5; 1 never repeats.
	Attempts int
	// Base and Cap of the wait before attempt n+1, drawn evenly from [0, min(Cap, Base × 2ⁿ)) ("full
	// jitter"). Defaults 100 ms and 5 s.
	Base, Cap time.Duration
	// MaxWait is the longest wait that is sat out, a Retry-After included. A longer one ends the call with
	// the service's refusal at once. Default 10 s.
	MaxWait time.Duration
}

func (r Retry) withDefaults() Retry {
	if r.Attempts <= 0 {
		r.Attempts = 5
	}
	if r.Base <= 0 {
		r.Base = 100 * time.Millisecond
	}
	if r.Cap <= 0 {
		r.Cap = 5 * time.Second
	}
	if r.MaxWait <= 0 {
		r.MaxWait = 10 * time.Second
	}
	return r
}

// wait says whether the failed attempt (from 1) may be repeated, and after how long.
func (r Retry) wait(attempt int, err error) (time.Duration, bool) {
	if attempt >= r.Attempts {
		return 0, false
	}
	var p *Problem
	switch {
	case errors.As(err, &p):
		if !p.Retryable {
			return 0, false
		}
		d := max(p.RetryAfter, r.jitter(attempt))
		return d, d <= r.MaxWait
	case errors.Is(err, syscall.ECONNREFUSED):
		// The request was never sent, so that nothing can happen twice.
		return r.jitter(attempt), true
	}
	return 0, false
}

func (r Retry) jitter(attempt int) time.Duration {
	ceiling := r.Cap
	if shift := attempt - 1; shift < 32 && r.Base<<shift > 0 && r.Base<<shift < r.Cap {
		ceiling = r.Base << shift
	}
	var b [8]byte
	rand.Read(b[:]) // never fails: crypto/rand ends the process instead
	return time.Duration(binary.LittleEndian.Uint64(b[:]) % uint64(ceiling))
}

// repeat runs f until it succeeds, may not be repeated, or ctx would end first.
func (r Retry) repeat(ctx context.Context, f func() error) error {
	for attempt := 1; ; attempt++ {
		err := f()
		if err == nil {
			return nil
		}
		d, again := r.wait(attempt, err)
		if !again {
			return err
		}
		if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) <= d {
			return err
		}
		if sleep(ctx, d) != nil {
			return err
		}
	}
}
