package boot_test

import (
	"fmt"
	"log/slog"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"conclave/app/boot"
	"conclave/app/witness"
	"conclave/custodian/clock"
	"conclave/custodian/ledger"
)

// A running service has its checkpoints cosigned by the witness that its file names; one that goes back to an older
// database is told so by the witness, and records it.
func TestInvariant09_ServiceIsWitnessed(t *testing.T) {
	cfg, _, result := made(t)
	trust, err := ledger.LoadTrustFile(result.TrustFile)
	require.NoError(t, err)
	dir := t.TempDir()
	key, err := ledger.GenerateWitness(filepath.Join(dir, "key"), "witness.example/audit")
	require.NoError(t, err)
	seen := filepath.Join(dir, "seen")
	require.NoError(t, os.MkdirAll(seen, 0o700))
	server, err := witness.New(trust, key, seen, clock.NewSystem(), slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	web := httptest.NewServer(server.Handler())
	t.Cleanup(web.Close)
	file := filepath.Join(dir, "witnesses")
	require.NoError(t, os.WriteFile(file, fmt.Appendf(nil, "# the auditor's machine\n%s %s\n", key.Key, web.URL), 0o600))
	cfg = settings(t, cfg.DataDir, map[string]string{"witness.file": file, "metrics.listen": "127.0.0.1:0"})

	database, older := filepath.Join(cfg.DataDir, "conclave.db"), filepath.Join(dir, "older.db")
	copyFile(t, database, older)
	r, err := boot.Start(t.Context(), cfg, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	require.NoError(t, r.HaveWitnessed(t.Context()))
	_, metrics := get(t, browser(t, r.CAFile, 0), r.MetricsURL+"/metrics")
	require.Contains(t, metrics, `conclave_witness_refusals_total{witness="witness.example/audit"} 0`)
	require.NotContains(t, metrics, `conclave_witness_age_seconds{witness="witness.example/audit"} -1`)
	stop(t, r)

	// Whoever sets the database back also removes what this node remembers of its own ledger.
	for _, name := range []string{database + "-wal", database + "-shm", filepath.Join(cfg.DataDir, "checkpoint")} {
		require.NoError(t, os.RemoveAll(name))
	}
	copyFile(t, older, database)
	r = started(t, cfg)
	require.ErrorIs(t, r.HaveWitnessed(t.Context()), witness.ErrRefused)
	_, metrics = get(t, browser(t, r.CAFile, 0), r.MetricsURL+"/metrics")
	require.Contains(t, metrics, `conclave_witness_refusals_total{witness="witness.example/audit"} 1`)
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	raw, err := os.ReadFile(from)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(to, raw, 0o600))
}
