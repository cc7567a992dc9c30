package secret_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"conclave/hsm/secret"
)

func TestReadFile(t *testing.T) {
	dir := t.TempDir()
	private := filepath.Join(dir, "private")
	require.NoError(t, os.WriteFile(private, []byte("12345678"), 0o600))
	data, err := secret.ReadFile(private, 8)
	require.NoError(t, err)
	require.Equal(t, "12345678", string(data))

	_, err = secret.ReadFile(private, 7)
	require.ErrorIs(t, err, secret.ErrFile)
	_, err = secret.ReadFile(filepath.Join(dir, "none"), 8)
	require.ErrorIs(t, err, fs.ErrNotExist)
	_, err = secret.ReadFile(dir, 8)
	require.Error(t, err)

	pipe := filepath.Join(dir, "pipe")
	require.NoError(t, syscall.Mkfifo(pipe, 0o600))
	_, err = secret.ReadFile(pipe, 8)
	require.ErrorIs(t, err, secret.ErrFile)
	link := filepath.Join(dir, "link")
	require.NoError(t, os.Symlink(private, link))
	_, err = secret.ReadFile(link, 8)
	require.Error(t, err)
	require.NoError(t, os.Chmod(private, 0o640))
	_, err = secret.ReadFile(private, 8)
	require.ErrorIs(t, err, secret.ErrFile)
	require.ErrorContains(t, err, "0640")
}
