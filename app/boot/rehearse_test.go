package boot_test

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"conclave/app/boot"
	"conclave/ceremony/genesis"
	"conclave/custodian"
	"conclave/custodian/clock"
)

// In production nobody moves the clock.
func TestInvariant01_OnlyDevelopmentInstancesAreRehearsed(t *testing.T) {
	b := begin(t, func(f *genesis.File) {
		f.Mode, f.Attestation.FingerprintsCompared = custodian.Production, "in-person"
	})
	cfg := settings(t, filepath.Join(t.TempDir(), "data"), nil)
	_, err := boot.Init(t.Context(), boot.InitOptions{Config: cfg, Genesis: b.file, Signatures: b.signatures})
	require.NoError(t, err)
	_, err = boot.Rehearse(t.Context(), cfg, clock.NewManual(time.Now()), nil)
	require.ErrorIs(t, err, boot.ErrRehearsal)
	started(t, cfg) // nothing is held back
}

// Time passes only when it is told to, for the service and whoever looks at its certificate.
func TestTimePassesInARehearsal(t *testing.T) {
	cfg, _, _ := made(t)
	begin := time.Now().Add(time.Minute)
	hand := clock.NewManual(begin)
	r, err := boot.Rehearse(t.Context(), cfg, hand, nil)
	require.NoError(t, err)
	t.Cleanup(func() { stop(t, r.Running) })
	before := r.Custodian.View().Head().Size
	require.NoError(t, r.Pass(t.Context(), 36*time.Hour))
	require.Equal(t, begin.Add(36*time.Hour).UTC().Round(0), hand.Now())
	require.Empty(t, r.Custodian.View().Tampered(custodian.KindKey))
	require.GreaterOrEqual(t, r.Custodian.View().Head().Size, before)
}
