package operation_test

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"conclave/ceremony"
	"conclave/custodian"
	"conclave/custodian/access"
	"conclave/custodian/key"
	"conclave/custodian/ledger"
	"conclave/custodian/store"
	"conclave/hsm"
)

// TestInvariant10_CutoverWhileKeysAreUsedAndMade: whoever uses, makes or rotates keys meanwhile neither fails nor leaves
// a version under the old secret.
func TestInvariant10_CutoverWhileKeysAreUsedAndMade(t *testing.T) {
	r := newSharesRig(t)
	stop := make(chan struct{})
	var group sync.WaitGroup
	again := func(work func(round int) error) {
		group.Go(func() {
			for round := 0; ; round++ {
				select {
				case <-stop:
					return
				default:
				}
				if err := work(round); err != nil {
					t.Errorf("round %d: %v", round, err)
					return
				}
			}
		})
	}
	for range 3 {
		again(func(int) error {
			used, err := r.Use(t.Context(), r.App, custodian.Use{Operation: access.DataKey, Key: vaultKey, Bytes: 32})
			if err != nil {
				return fmt.Errorf("data key: %w", err)
			}
			if _, err = r.Use(t.Context(), r.App, custodian.Use{Operation: access.Decrypt, Ciphertext: used.Ciphertext}); err != nil {
				return fmt.Errorf("decrypt: %w", err)
			}
			return nil
		})
	}
	rotations := func() (wait func()) {
		var done sync.WaitGroup
		done.Go(func() {
			for round := range 4 {
				c, _, err := r.engine.Propose(t.Context(), human("demo-cleo"), ceremony.Proposal{Operation: "key.rotate",
					Params: custodian.Detail(map[string]any{"key": vaultKey}), Reason: fmt.Sprintf("round %d", round)})
				if err == nil && c.State != ceremony.Completed {
					err = fmt.Errorf("rotation is %s: %s", c.State, c.Outcome)
				}
				if err != nil {
					t.Errorf("rotation %d: %v", round, err)
				}
			}
		})
		return done.Wait
	}
	for range 3 {
		r.reissue(t, map[string]any{"set": vaultSet})
		wait := rotations() // while holders confirm and bring their shares, and the vault is cut over
		state := r.cutover(t).State
		wait()
		require.Equal(t, ceremony.Completed, state)
	}
	close(stop)
	group.Wait()
	require.EqualValues(t, 4, r.set(t).Epoch)
	r.wrappedByRecord(t)
}

// A cutover of many versions is written in as many entries as it takes, in one commit.
func TestCutoverOfFiveThousandVersions(t *testing.T) {
	const versions = 5000
	r := newSharesRig(t)
	_, err := r.Store.Control(t.Context(), func(tx *store.Tx) error {
		for n := range versions {
			v := r.NewVersion(t, fmt.Sprintf("a-key-with-one-of-the-longest-names-that-a-key-can-have-%08d", n), 1)
			material, err := r.keystore.Create(t.Context(), v.Key, 1, hsm.AES256, "e-many")
			if err != nil {
				return err
			}
			v.Keystore, v.Material, v.CheckValue = vault, material, material.CheckValue
			if err := tx.Put(custodian.KindKeyVersion, key.VersionID(v.Key, 1), v); err != nil {
				return err
			}
			if n%64 == 63 || n == versions-1 {
				if err := tx.Append(ledger.Entry{Type: "demo.put", Actor: node(), Outcome: ledger.Done}); err != nil {
					return err
				}
			}
		}
		return nil
	})
	require.NoError(t, err)
	before := r.checkValues(t)
	r.reissue(t, map[string]any{"set": vaultSet})
	began := time.Now()
	require.Equal(t, ceremony.Completed, r.cutover(t).State)
	t.Logf("cutover of %d versions, its confirmations included: %s", versions, time.Since(began))
	require.Equal(t, before, r.checkValues(t))
	r.wrappedByRecord(t)
	parts := r.events(t, "keystore.rewrap")
	require.GreaterOrEqual(t, len(parts), (versions+1)/ledger.MaxRows)
	rows := 0
	for _, e := range parts {
		rows += len(e.Rows)
	}
	require.Equal(t, versions+1, rows)
}
