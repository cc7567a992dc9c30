package boot_test

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"conclave/app/boot"
	"conclave/custodian/store"
	"conclave/custodian/store/storetest"
)

func TestInstanceOnPostgres(t *testing.T) {
	b := begin(t, nil)
	cfg := settings(t, filepath.Join(t.TempDir(), "data"), map[string]string{"database.driver": "postgres", "database.dsn": storetest.Postgres(t)})
	result, err := boot.Init(t.Context(), boot.InitOptions{Config: cfg, Genesis: b.file, Signatures: b.signatures})
	require.NoError(t, err)
	r := started(t, cfg)
	require.Equal(t, result.Instance, r.Custodian.Instance().ID)
	stop(t, r)
	require.True(t, recorded(t, started(t, cfg), "node.stop"))

	// A second instance in the same database is refused, and leaves no files.
	other := *cfg
	other.DataDir = filepath.Join(t.TempDir(), "data")
	_, err = boot.Init(t.Context(), boot.InitOptions{Config: &other, Genesis: b.file, Signatures: b.signatures})
	require.ErrorIs(t, err, store.ErrInitialised)
	require.NoDirExists(t, other.DataDir)
}
