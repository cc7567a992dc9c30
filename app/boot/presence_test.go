package boot_test

import (
	"log/slog"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"conclave/app/boot"
	"conclave/app/config"
	"conclave/custodian/store/storetest"
)

// A second process finds the data directory of a running one taken, whatever database both would use, and has it as soon as
// the first has gone.
func TestADataDirectoryServesOneProcess(t *testing.T) {
	drivers(t, func(t *testing.T, cfg *config.Config, _ beginning) {
		r := started(t, cfg)
		_, err := boot.Start(t.Context(), cfg, nil)
		require.ErrorIs(t, err, boot.ErrInUse)
		stop(t, r)
		started(t, cfg)
	})
}

// A copy of a data directory, as another machine would have it, does not start beside the original, and says so on the
// record; where it could take the place while the original did not reach the database, the original ends.
func TestACopiedDataDirectoryDoesNotServeBesideTheOriginal(t *testing.T) {
	t.Parallel()
	b := begin(t, nil)
	cfg := settings(t, filepath.Join(t.TempDir(), "data"), map[string]string{"database.driver": "postgres", "database.dsn": storetest.Postgres(t)})
	_, err := boot.Init(t.Context(), boot.InitOptions{Config: cfg, Genesis: b.file, Signatures: b.signatures})
	require.NoError(t, err)
	original := started(t, cfg)
	copied := *cfg
	copied.DataDir = filepath.Join(t.TempDir(), "data")
	require.NoError(t, exec.Command("cp", "-a", cfg.DataDir, copied.DataDir).Run())
	_, err = boot.Start(t.Context(), &copied, slog.New(slog.DiscardHandler))
	require.ErrorIs(t, err, boot.ErrDuplicate)
	require.Eventually(t, func() bool { return recorded(t, original, "node.duplicate") }, time.Minute, 50*time.Millisecond)

	// What a copy does that starts while the original is cut off.
	_, err = sqlOf(t, cfg).ExecContext(t.Context(), "UPDATE job_leases SET holder = 'another place' WHERE name = 'node/node-1'")
	require.NoError(t, err)
	select {
	case err = <-original.Failed():
		require.ErrorIs(t, err, boot.ErrDuplicate)
	case <-time.After(time.Minute):
		t.Fatal("the original goes on")
	}
	require.Contains(t, original.Ready(), "the node is shutting down")
}
