package group

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"conclave/hsm"
)

// held is a key of the group in use: the members' handles, opened when they are needed.
type held struct {
	group *Keystore
	m     hsm.Material
	ended atomic.Pointer[error] // why the handle serves no more

	mu   sync.Mutex
	open map[string]hsm.Handle // by member
}

// Open implements hsm.Keystore. At least one member shows that it holds the key.
func (k *Keystore) Open(ctx context.Context, m hsm.Material) (hsm.Handle, error) {
	fail := func(err error) (hsm.Handle, error) {
		return nil, fmt.Errorf("opening key %q version %d: %w", m.Key, m.Version, err)
	}
	if err := ctx.Err(); err != nil {
		return fail(err)
	}
	if !k.Active() {
		return fail(hsm.ErrInactive)
	}
	if err := k.check(m); err != nil {
		return fail(err)
	}
	h := &held{group: k, m: m, open: map[string]hsm.Handle{}}
	if _, err := try(ctx, h, "opening", func(context.Context, hsm.Handle) (struct{}, error) { return struct{}{}, nil }); err != nil {
		h.Close()
		return nil, err
	}
	k.mu.Lock()
	k.handles[h] = struct{}{}
	k.mu.Unlock()
	switch m.Specification().Kind() {
	case hsm.Seals:
		return &sealer{h, k.algorithm()}, nil
	case hsm.MACs:
		return macer{h}, nil
	case hsm.Signs:
		return signer{h}, nil
	}
	return decrypter{h}, nil
}

// algorithm is the one by which every member seals: they are of one driver.
func (k *Keystore) algorithm() hsm.Algorithm {
	if c := k.Capabilities(); len(c.Algorithms) > 0 {
		return c.Algorithms[0]
	}
	return 0
}

func (k *Keystore) endHandles(m hsm.Material) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for h := range k.handles {
		if h.m.Key == m.Key && h.m.Version == m.Version && h.m.CheckValue == m.CheckValue {
			h.end(hsm.ErrClosed)
			delete(k.handles, h)
		}
	}
}

// Spec implements hsm.Handle.
func (h *held) Spec() hsm.Spec { return h.m.Specification() }

// end closes the members' handles, for the first reason given.
func (h *held) end(reason error) {
	h.ended.CompareAndSwap(nil, &reason)
	h.mu.Lock()
	defer h.mu.Unlock()
	for member, x := range h.open {
		x.Close()
		delete(h.open, member)
	}
}

// Close implements hsm.Handle.
func (h *held) Close() {
	h.end(hsm.ErrClosed)
	h.group.mu.Lock()
	defer h.group.mu.Unlock()
	delete(h.group.handles, h)
}

// in is the key's handle in one member, opened where it is not; fresh leaves behind one that no longer serves.
func (h *held) in(ctx context.Context, m Member, fresh bool) (hsm.Handle, error) {
	h.mu.Lock()
	x := h.open[m.ID]
	if x != nil && fresh {
		delete(h.open, m.ID)
	}
	h.mu.Unlock()
	if x != nil && !fresh {
		return x, nil
	}
	if x != nil {
		x.Close()
	}
	own, has := h.m.In(m.ID)
	if !has {
		return nil, hsm.ErrNotFound
	}
	next, err := m.Driver.Open(ctx, own)
	if err != nil {
		return nil, err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if reason := h.ended.Load(); reason != nil {
		next.Close()
		return nil, *reason
	}
	if other := h.open[m.ID]; other != nil { // somebody was faster
		next.Close()
		return other, nil
	}
	h.open[m.ID] = next
	return next, nil
}

// outcome of asking one member.
type outcome int

const (
	answered outcome = iota
	unable           // it can not serve now, or its copy is no good: another is asked
)

// try asks one member after another until one answers. What a member says of the message itself is the answer: the check
// values of all copies are equal, so another would say the same.
func try[H hsm.Handle, T any](ctx context.Context, h *held, doing string, do func(ctx context.Context, use H) (T, error)) (T, error) {
	var none T
	fail := func(err error) (T, error) {
		return none, fmt.Errorf("%s under key %q version %d: %w", doing, h.m.Key, h.m.Version, err)
	}
	if reason := h.ended.Load(); reason != nil {
		return fail(*reason)
	}
	var errs []error
	var alone []Member // left alone for a moment: asked only where no other answers
	able := h.able()
	for i, m := range able {
		done, err := h.group.breakerOf(m.ID).Allow()
		if err != nil {
			alone = append(alone, m)
			continue
		}
		out, final, err := turn(ctx, h, m, i == len(able)-1 && len(alone) == 0, done, do)
		if final && err != nil {
			return fail(err)
		}
		if final {
			return out, nil
		}
		errs = append(errs, fmt.Errorf("member %q: %w", m.ID, err))
	}
	for i, m := range alone {
		out, final, err := turn(ctx, h, m, i == len(alone)-1, func(error) {}, do)
		if final && err != nil {
			return fail(err)
		}
		if final {
			return out, nil
		}
		errs = append(errs, fmt.Errorf("member %q: %w", m.ID, err))
	}
	return fail(whyNone(errs))
}

// turn asks one member and tells its circuit breaker. final: there is no point in asking another.
func turn[H hsm.Handle, T any](ctx context.Context, h *held, m Member, last bool, done func(error), do func(ctx context.Context, use H) (T, error)) (out T, final bool, err error) {
	b := h.group.breakerOf(m.ID)
	out, what, err := askOne(ctx, h, m, last, do)
	if what == answered {
		b.calls.Add(1)
		done(nil)
		return out, true, err
	}
	if reason := h.ended.Load(); reason != nil { // closed under the caller: no fault of the member
		done(nil)
		return out, true, *reason
	}
	if errors.Is(ctx.Err(), context.Canceled) {
		done(nil)
		return out, true, ctx.Err()
	}
	b.failures.Add(1)
	if errors.Is(err, hsm.ErrUnavailable) || errors.Is(err, context.DeadlineExceeded) {
		done(err)
	} else { // its copy of this one key is no good, or it was closed just now: others of its keys may serve
		done(nil)
	}
	return out, false, err
}

// able are the members that hold the key and can be asked, in order of preference.
func (h *held) able() []Member {
	var out []Member
	for _, m := range h.group.cfg.Members() {
		if _, has := h.m.In(m.ID); has && m.able() {
			out = append(out, m)
		}
	}
	return out
}

// whyNone is the answer when no member could: that all may be asked again, if that is so of one.
func whyNone(errs []error) error {
	for _, err := range errs {
		if errors.Is(err, hsm.ErrUnavailable) {
			return fmt.Errorf("no member can serve: %w: %v", hsm.ErrUnavailable, errors.Join(errs...))
		}
	}
	for _, err := range errs {
		if hsm.Waits(err) {
			return err
		}
	}
	if len(errs) > 0 {
		return errs[0]
	}
	return hsm.ErrInactive
}

// askOne asks one member, once more where its handle had ended. Unless it is the last its time is short.
func askOne[H hsm.Handle, T any](ctx context.Context, h *held, m Member, last bool, do func(ctx context.Context, use H) (T, error)) (out T, what outcome, err error) {
	if !last {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, attempt)
		defer cancel()
	}
	for fresh := false; ; fresh = true {
		x, err := h.in(ctx, m, fresh)
		if err != nil {
			return out, unable, err
		}
		use, err := hsm.As[H](x)
		if err != nil {
			return out, answered, err
		}
		out, err = do(ctx, use)
		ended := errors.Is(err, hsm.ErrClosed) || errors.Is(err, hsm.ErrInactive)
		switch {
		case ended && !fresh && h.ended.Load() == nil:
		case ended || hsm.Waits(err) || errors.Is(err, hsm.ErrNotFound) || err != nil && ctx.Err() != nil:
			return out, unable, err
		default:
			return out, answered, err
		}
	}
}
