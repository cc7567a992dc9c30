package operation_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"conclave/ceremony/operation"
	"conclave/custodian"
	"conclave/custodian/custodiantest"
	"conclave/custodian/key"
	"conclave/custodian/ledger"
	"conclave/custodian/store"
)

// drifted are the codes on record of a key, empty for none.
func (r *engineRig) drifted(t *testing.T, id string) []string {
	t.Helper()
	d, err := store.Peek[key.Drift](r.View(), custodian.KindDrift, id)
	if err != nil {
		require.ErrorIs(t, err, store.ErrNotFound)
		return nil
	}
	require.Len(t, d.Homes, 1)
	return d.Homes[0].Codes
}

// ticks lets a time pass as the service does, tick by tick of 2 s.
func (r *engineRig) ticks(t *testing.T, passes time.Duration) {
	t.Helper()
	for range passes / (2 * time.Second) {
		r.Clock.Advance(2 * time.Second)
		require.NoError(t, r.engine.Tick(t.Context()))
	}
}

// Drift is on record within a minute of the change that made it, without anybody asking; what changed while nothing ran
// is on record with the first tick of the next process, and so is what time alone has brought.
func TestInvariant06_TheWatchFindsDriftWithinAMinute(t *testing.T) {
	r := newEngineRig(t)
	r.certify(t)
	r.AddKey(t, "cards-1", key.CardholderData)
	change := func(do func(*key.Keystore)) {
		ks := row[key.Keystore](t, r.rig, custodian.KindKeystore, custodiantest.KeystoreID)
		do(ks)
		r.Put(t, custodian.KindKeystore, ks.ID, ks)
	}
	r.ticks(t, time.Minute)
	require.Empty(t, r.drifted(t, "cards-1"))

	change(func(ks *key.Keystore) { ks.CertificateStatus = key.CertRevoked })
	r.ticks(t, time.Minute)
	require.Equal(t, []string{"fips_level_low", "module_not_validated"}, r.drifted(t, "cards-1"))
	require.Len(t, r.events(t, "placement.drift"), 2, "the key and the keystore's claim, each once")
	size := r.View().Head().Size
	r.ticks(t, time.Minute)
	require.Equal(t, size, r.View().Head().Size, "on record once")

	change(func(ks *key.Keystore) { ks.CertificateStatus = key.CertActive })
	r.again(t)
	require.NoError(t, r.engine.Tick(t.Context()))
	require.Empty(t, r.drifted(t, "cards-1"), "settled while nothing ran")
	change(func(ks *key.Keystore) { ks.Jurisdiction = "US" })
	r.again(t)
	require.NoError(t, r.engine.Tick(t.Context()))
	require.Equal(t, []string{"residency"}, r.drifted(t, "cards-1"), "at the next start")
	change(func(ks *key.Keystore) { ks.Jurisdiction, ks.CertificateUntil = "EU", r.Clock.Now().Add(90*time.Second) })
	r.ticks(t, time.Minute)
	require.Empty(t, r.drifted(t, "cards-1"))
	r.ticks(t, 90*time.Second)
	require.Equal(t, []string{"fips_level_low", "module_not_validated"}, r.drifted(t, "cards-1"), "by the date alone")
}

// BenchmarkDrift is one look of the watch at 10,000 keys, all of them drifted and none on record yet; of one kind and
// of as many kinds as keys commonly are.
func BenchmarkDrift(b *testing.B) {
	for _, kinds := range []int{1, 300} {
		b.Run(fmt.Sprintf("10000 keys of %d kinds", kinds), func(b *testing.B) {
			r := newRig(b)
			v := r.NewVersion(b, "any", 1)
			for start := 0; start < 10_000; start += ledger.MaxRows / 2 {
				_, err := r.Store.Control(b.Context(), func(tx *store.Tx) error {
					for n := start; n < min(start+ledger.MaxRows/2, 10_000); n++ {
						id := fmt.Sprintf("key-%05d", n)
						own := v
						own.Key = id
						k := key.Key{ID: id, Label: "bench", Type: v.Type, Classification: key.CardholderData, Impact: key.Low, Jurisdiction: "US", Environment: "test",
							Frameworks: []string{"pci-dss", fmt.Sprintf("framework-%d", n%kinds)}, Owner: "demo-ada", Keystore: custodiantest.KeystoreID, Origin: "generated",
							OUPDays: 365, RUPDays: 730, RotateDays: 300, Current: 1, Versions: 1, GovRevision: 1, CreatedAt: r.Clock.Now(), CreatedBy: "genesis", Development: true}
						if err := tx.Put(custodian.KindKey, id, k); err != nil {
							return err
						}
						if err := tx.Put(custodian.KindKeyVersion, key.VersionID(id, 1), own); err != nil {
							return err
						}
					}
					return tx.Append(ledger.Entry{Type: "test.rows", Actor: node(), Outcome: ledger.Done, Target: ledger.Target{Type: "test", ID: "rows"}})
				})
				require.NoError(b, err)
			}
			jobs := operation.Jobs{Env: r.env}
			for b.Loop() {
				found, err := jobs.Drift(b.Context(), r.View(), r.Clock.Now())
				require.NoError(b, err)
				require.True(b, found.More)
			}
		})
	}
}
