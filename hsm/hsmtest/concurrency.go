package hsmtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"conclave/hsm"
)

const (
	workers = 8
	rounds  = 40
)

func testCancelled(t *testing.T, f Fixture) {
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, f.Keystore.Activate(cancelled, f.Activation), context.Canceled)
	require.False(t, f.Keystore.Active())
	activate(t, f)
	_, err := f.Keystore.Create(cancelled, keyID, 1, hsm.AES256, effectID)
	require.ErrorIs(t, err, context.Canceled)
	m := create(t, f.Keystore, keyID, 1, effectID)
	_, err = f.Keystore.Open(cancelled, m)
	require.ErrorIs(t, err, context.Canceled)
}

func testConcurrentUse(t *testing.T, f Fixture) {
	m, shared := ready(t, f)
	var group sync.WaitGroup
	for worker := range workers {
		group.Go(func() {
			for round := range rounds {
				if err := useOnce(t.Context(), f.Keystore, shared, m, worker, round); err != nil {
					t.Errorf("worker %d round %d: %v", worker, round, err)
					return
				}
			}
		})
	}
	group.Wait()
}

// useOnce seals with a shared handle and opens with one of its own, and makes a key beside it.
func useOnce(ctx context.Context, k hsm.Keystore, shared hsm.Sealer, m hsm.Material, worker, round int) error {
	text := fmt.Appendf(nil, "text %d of %d", round, worker)
	body, err := shared.Seal(ctx, nil, text, nil)
	if err != nil {
		return err
	}
	own, err := openSealer(ctx, k, m)
	if err != nil {
		return err
	}
	defer own.Close()
	got, err := own.Open(ctx, nil, body, nil)
	if err != nil {
		return err
	}
	if !bytes.Equal(text, got) {
		return errors.New("opened something else than was sealed")
	}
	if k.Capabilities().StoresKeys && round%8 != 0 {
		return nil // a device is slow to store many
	}
	_, err = k.Create(ctx, keyID, 2, hsm.AES256, fmt.Sprintf("effect-%d-%d", worker, round))
	if k.Capabilities().StoresKeys && errors.Is(err, hsm.ErrNotFound) {
		// SoftHSM 2.6 now and then hides what it just made while other sessions look for objects. The driver says so and
		// answers nothing wrong; whoever wants the key asks anew.
		_, err = k.Create(ctx, keyID, 2, hsm.AES256, fmt.Sprintf("effect-%d-%d-anew", worker, round))
	}
	return err
}

func openSealer(ctx context.Context, k hsm.Keystore, m hsm.Material) (hsm.Sealer, error) {
	h, err := k.Open(ctx, m)
	if err != nil {
		return nil, err
	}
	return hsm.As[hsm.Sealer](h)
}

// testConcurrentDeactivation: a call either gives the right answer or says that the keystore is inactive.
func testConcurrentDeactivation(t *testing.T, f Fixture) {
	activate(t, f)
	m := create(t, f.Keystore, keyID, 1, effectID)
	var group sync.WaitGroup
	for range workers {
		group.Go(func() {
			for round := range rounds {
				if err := useOrInactive(t.Context(), f.Keystore, m); err != nil {
					t.Errorf("round %d: %v", round, err)
					return
				}
			}
		})
	}
	group.Go(func() {
		for range rounds {
			if err := errors.Join(f.Keystore.Deactivate(t.Context()), f.Keystore.Activate(t.Context(), f.Activation)); err != nil {
				t.Error(err)
			}
		}
	})
	group.Wait()
	open(t, f.Keystore, m)
}

func useOrInactive(ctx context.Context, k hsm.Keystore, m hsm.Material) error {
	h, err := openSealer(ctx, k, m)
	if errors.Is(err, hsm.ErrInactive) {
		return nil
	}
	if err != nil {
		return err
	}
	defer h.Close()
	body, err := h.Seal(ctx, nil, []byte("text"), nil)
	if err == nil {
		var text []byte
		if text, err = h.Open(ctx, nil, body, nil); err == nil && string(text) != "text" {
			return errors.New("opened something else than was sealed")
		}
	}
	if errors.Is(err, hsm.ErrInactive) {
		return nil
	}
	return err
}
