package operation

import (
	"context"
	"errors"
	"fmt"
	"time"

	"conclave/custodian"
	"conclave/custodian/identity"
	"conclave/custodian/key"
	"conclave/custodian/store"
	"conclave/hsm"
)

// DueWrappingKeys lists wrapping keys that expired, and those that ended and whose private half is still in a keystore,
// at most 100 at a time.
func (j Jobs) DueWrappingKeys(view *store.View, now time.Time) []*key.WrappingKey {
	var out []*key.WrappingKey
	for _, w := range store.All[key.WrappingKey](view, custodian.KindWrappingKey) {
		ended := w.Status != key.WrappingOpen
		if (ended && w.DestroyedAt == nil || !ended && !w.Usable(now)) && len(out) < maxDue {
			out = append(out, w)
		}
	}
	return out
}

// DestroyWrapping destroys the private half of one that ended, in the keystore that holds it: before that is put on
// record, and as often as it takes. It reports false where the keystore does not serve now.
func (j Jobs) DestroyWrapping(ctx context.Context, w *key.WrappingKey) (bool, error) {
	if w.Status == key.WrappingOpen || !stored(j.Env, w.Keystore) {
		return true, nil
	}
	driver, err := Current(j.Env, w.Keystore)
	if err == nil {
		err = driver.Destroy(ctx, w.Material)
	}
	if errors.Is(err, hsm.ErrInactive) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("destroying wrapping key %s in keystore %s: %w", w.ID, w.Keystore, err)
	}
	return true, nil
}

// EndWrapping records that one expired, or, of one that had ended, that its private half is gone. It rests on the
// decision that set its date. One that was used meanwhile is left alone.
func (j Jobs) EndWrapping(tx *store.Tx, id string, now time.Time) error {
	w, err := wrappingRow(tx.View(), id)
	if err != nil {
		return err
	}
	a := acting{principal: identity.Principal{Kind: identity.Node, ID: j.Env.Custodian.Node()}, ceremony: w.Ceremony,
		policy: j.Env.Policies.Digest(), at: tx.Now()}
	kind, next := "wrappingkey.destroy", (*key.WrappingKey)(nil)
	switch {
	case w.Status == key.WrappingOpen && !w.Usable(now):
		kind, next = "wrappingkey.expire", w.End(key.WrappingExpired, "", a.at, stored(j.Env, w.Keystore))
	case w.Status != key.WrappingOpen && w.DestroyedAt == nil:
		next = w.Destroyed(a.at)
	default:
		return nil
	}
	return a.put(tx, custodian.KindWrappingKey, w.ID, next, a.event(kind, wrappingTarget(w), map[string]any{"keystore": w.Keystore, "status": next.Status}))
}
