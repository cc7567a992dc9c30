package main_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"conclave/app/boot"
)

func TestServerRefusesWhatDoesNotFit(t *testing.T) {
	config := filepath.Join(t.TempDir(), "conclave.yaml")
	require.NoError(t, os.WriteFile(config, []byte("log:\n  levle: info\n"), 0o600))
	loose := func(name string) func(*testing.T, string) {
		return func(t *testing.T, dir string) { require.NoError(t, os.Chmod(filepath.Join(dir, "keys", name), 0o640)) }
	}
	for name, c := range map[string]struct {
		spoil func(t *testing.T, dir string)
		args  []string
		code  int
		says  []string
	}{
		"newer database": {spoil: func(t *testing.T, dir string) {
			edit(t, dir, "INSERT INTO goose_db_version (version_id, is_applied) VALUES (9999, 1)")
		}, code: boot.ExitConfig, says: []string{"newer than this program", "9999"}},
		"loose log key":       {spoil: loose("log.key"), code: boot.ExitConfig, says: []string{"log.key", "0600"}},
		"loose node key":      {spoil: loose("node.key"), code: boot.ExitConfig, says: []string{"node.key", "0600"}},
		"loose audit key":     {spoil: loose("audit.key"), code: boot.ExitConfig, says: []string{"audit.key", "0600"}},
		"loose challenge key": {spoil: loose("challenge.key"), code: boot.ExitConfig, says: []string{"challenge.key", "0600"}},
		"unknown key":         {args: []string{"--config", config}, code: boot.ExitConfig, says: []string{"log.levle", "line 2", "unknown key"}},
		"other mode":          {args: []string{"--mode", "production"}, code: boot.ExitConfig, says: []string{"mode", "production", "development"}},
		"other node":          {args: []string{"--node-id", "node-2"}, code: boot.ExitConfig, says: []string{"node-2", "not enrolled"}},
		"no instance": {spoil: func(t *testing.T, dir string) { require.NoError(t, os.RemoveAll(dir)) },
			code: boot.ExitConfig, says: []string{"no instance", "conclave init"}},
		"no database": {spoil: func(t *testing.T, dir string) { require.NoError(t, os.Remove(filepath.Join(dir, "conclave.db"))) },
			code: boot.ExitConfig, says: []string{"conclave.db", "no ledger"}},
		"no certificate":      {args: []string{"--tls-cert", config + ".none", "--tls-key", config}, code: boot.ExitConfig, says: []string{"tls.", config}},
		"no authorities":      {args: []string{"--export-syslog", "127.0.0.1:6514", "--export-syslog-ca", config}, code: boot.ExitConfig, says: []string{"export.syslog", config, "no PEM certificate"}},
		"no witness file":     {args: []string{"--witness-file", config + ".none"}, code: boot.ExitConfig, says: []string{"witness.file", config + ".none"}},
		"rules that are none": {args: []string{"--monitor-rules", config}, code: boot.ExitConfig, says: []string{"monitor.rules"}},
		"cut database": {spoil: func(t *testing.T, dir string) {
			path := filepath.Join(dir, "conclave.db")
			info, err := os.Stat(path)
			require.NoError(t, err)
			require.NoError(t, os.Truncate(path, info.Size()*2/3))
		}, code: boot.ExitData, says: []string{"files are damaged"}},
		"no database file": {spoil: func(t *testing.T, dir string) {
			require.NoError(t, os.WriteFile(filepath.Join(dir, "conclave.db"), []byte("this is some text that no program made, and no database"), 0o600))
		}, code: boot.ExitData, says: []string{"files are damaged"}},
		"misspelt flag": {args: []string{"--data-dri", "x"}, code: 2, says: []string{"data-dri"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := copied(t, shared.fresh)
			if c.spoil != nil {
				c.spoil(t, dir)
			}
			said := refuses(t, c.code, dir, c.args...)
			for _, words := range c.says {
				require.Contains(t, said, words)
			}
		})
	}
}

func TestSecondServerOnOneInstanceIsRefused(t *testing.T) {
	t.Parallel()
	n := serve(t, copied(t, shared.fresh))
	require.Contains(t, refuses(t, boot.ExitBusy, n.dir), "in use by another process")
	_, err := n.status(t.Context())
	require.NoError(t, err, "the first goes on")
}
