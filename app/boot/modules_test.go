package boot_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"conclave/app/boot"
	"conclave/app/config"
)

// A module that can not be loaded is named at the start: custodians would else bring their shares for a token that the node can
// not reach.
func TestAModuleThatCannotBeLoadedEndsTheStart(t *testing.T) {
	cfg, _, _ := made(t)
	folder := t.TempDir()
	file := func(name, text string, mode os.FileMode) string {
		path := filepath.Join(folder, name)
		require.NoError(t, os.WriteFile(path, []byte(text), mode))
		require.NoError(t, os.Chmod(path, mode))
		return path
	}
	for path, words := range map[string]string{
		"/nowhere/libtoken.so":                 "no such file",
		file("text.so", "no library\n", 0o600): "no library that can be loaded",
		file("open.so", "", 0o666):             "neither group nor others may write",
		folder:                                 "mode d",
	} {
		cfg.PKCS11.Modules = "token=" + path
		_, err := boot.Start(t.Context(), cfg, nil)
		var setting *config.Error
		require.ErrorAs(t, err, &setting, path)
		require.Equal(t, "pkcs11.modules", setting.Key)
		require.ErrorContains(t, err, words)
	}
}
