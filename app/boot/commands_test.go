package boot_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/spf13/cobra"
	"github.com/stretchr/testify/require"

	"conclave/app/boot"
	"conclave/ceremony/genesis"
)

// command runs `init` or `server` as the program does.
func command(ctx context.Context, args ...string) (string, error) {
	root := &cobra.Command{Use: "conclave", SilenceErrors: true, SilenceUsage: true}
	root.PersistentFlags().String("output", "table", "")
	root.AddCommand(boot.Commands("test")...)
	var out bytes.Buffer
	root.SetOut(&out)
	root.SetErr(io.Discard)
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	return out.String(), err
}

func exit(err error) int {
	var coded interface{ ExitCode() int }
	if errors.As(err, &coded) {
		return coded.ExitCode()
	}
	return 0
}

// onDisk writes a beginning as people hand it in.
func onDisk(t *testing.T, b beginning) (file, signatures string) {
	t.Helper()
	dir := t.TempDir()
	file, signatures = filepath.Join(dir, "genesis.yaml"), filepath.Join(dir, "signatures")
	require.NoError(t, os.WriteFile(file, b.file, 0o600))
	require.NoError(t, os.Mkdir(signatures, 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(signatures, "README"), []byte("not a signature"), 0o600))
	for i, envelope := range b.signatures {
		require.NoError(t, os.WriteFile(filepath.Join(signatures, strconv.Itoa(i)+".sig"), envelope, 0o600))
	}
	return file, signatures
}

func TestInitCommand(t *testing.T) {
	b := begin(t, nil)
	file, signatures := onDisk(t, b)
	dir := filepath.Join(t.TempDir(), "data")
	out, err := command(t.Context(), "init", "--genesis", file, "--signatures", signatures, "--data-dir", dir, "--output", "json")
	require.NoError(t, err)
	var result boot.InitResult
	require.NoError(t, json.Unmarshal([]byte(out), &result))
	require.Equal(t, genesis.Digest(b.file), result.Instance)
	require.FileExists(t, result.TrustFile)

	out, err = command(t.Context(), "init", "--genesis", file, "--signatures", signatures, "--data-dir", dir+"2")
	require.NoError(t, err)
	require.Contains(t, out, filepath.Join(dir+"2", "trust.json"))
	require.Contains(t, out, "development mode")
}

func TestCommandsFailWithTheirCodes(t *testing.T) {
	b := begin(t, nil)
	file, signatures := onDisk(t, b)
	empty := t.TempDir()
	cfg, _, _ := made(t)
	for name, c := range map[string]struct {
		args []string
		code int
		text string
	}{
		"unknown key in the file": {[]string{"server", "--config", wrongConfig(t)}, 78, "listne"},
		"no such configuration":   {[]string{"server", "--config", "/absent.yaml"}, 0, "/absent.yaml"},
		"no data directory":       {[]string{"server"}, 78, "data_dir"},
		"no instance":             {[]string{"server", "--data-dir", empty}, 78, "conclave init"},
		"other mode":              {[]string{"server", "--data-dir", cfg.DataDir, "--mode", "production"}, 78, "mode"},
		"no signatures":           {[]string{"init", "--genesis", file, "--signatures", empty, "--data-dir", filepath.Join(empty, "d")}, 78, "no file *.sig"},
		"occupied":                {[]string{"init", "--genesis", file, "--signatures", signatures, "--data-dir", cfg.DataDir}, 78, "not empty"},
		"no genesis file":         {[]string{"init", "--genesis", "/absent.yaml", "--signatures", signatures, "--data-dir", filepath.Join(empty, "d")}, 0, "/absent.yaml"},
		"genesis not given":       {[]string{"init", "--data-dir", empty}, 0, "required flag"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := command(t.Context(), c.args...)
			require.Error(t, err)
			require.Equal(t, c.code, exit(err), err)
			require.ErrorContains(t, err, c.text)
		})
	}
}

func wrongConfig(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "server.yaml")
	require.NoError(t, os.WriteFile(path, []byte("data_dir: /srv\nlistne: x\n"), 0o600))
	return path
}

func TestTakenDatabaseAsksForAnotherTry(t *testing.T) {
	cfg, _, _ := made(t)
	started(t, cfg)
	_, err := command(t.Context(), "server", "--data-dir", cfg.DataDir, "--listen", "127.0.0.1:0")
	require.Error(t, err)
	require.Equal(t, 75, exit(err))
}

func TestServerCommandStopsWithItsContext(t *testing.T) {
	cfg, _, _ := made(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := command(ctx, "server", "--data-dir", cfg.DataDir, "--listen", "127.0.0.1:0", "--log-format", "json", "--log-level", "error")
	require.NoError(t, err)
	started(t, cfg) // and nothing is held back
}
