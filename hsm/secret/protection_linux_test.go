//go:build linux

package secret_test

import (
	"os"
	"os/exec"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"conclave/hsm/secret"
)

const childVariable = "CONCLAVE_SECRET_TEST_CHILD"

// TestMain lets this binary be its own child process: limits set there do not touch the tests here.
func TestMain(m *testing.M) {
	switch os.Getenv(childVariable) {
	case "harden":
		os.Exit(hardened())
	case "unlocked":
		os.Exit(withoutLocking())
	}
	os.Exit(m.Run())
}

// hardened is the exit code of a process that hardened itself: 0 when the system confirms it.
func hardened() int {
	if secret.Harden() != nil {
		return 1
	}
	dumpable, err := unix.PrctlRetInt(unix.PR_GET_DUMPABLE, 0, 0, 0, 0)
	if err != nil || dumpable != 0 {
		return 2
	}
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_CORE, &limit); err != nil || limit.Cur != 0 || limit.Max != 0 {
		return 3
	}
	return 0
}

// withoutLocking is the exit code of a process whose lock limit is used up: secrets must work all the
// same and say that they are not locked. Root may lock without limit, so "locked" is not checked there.
func withoutLocking() int {
	if err := unix.Setrlimit(unix.RLIMIT_MEMLOCK, &unix.Rlimit{}); err != nil {
		return 1
	}
	s := secret.New([]byte{1, 2, 3})
	ok := s.Use(func(b []byte) error { b[0]++; return nil }) == nil && s.Equal(secret.New([]byte{2, 2, 3}))
	if !ok {
		return 2
	}
	if os.Geteuid() != 0 && s.Locked() {
		return 3
	}
	s.Wipe()
	return 0
}

func TestInvariant13_HardenMakesProcessUndumpable(t *testing.T) { runChild(t, "harden") }

func TestSecretsWorkBeyondTheLockLimit(t *testing.T) { runChild(t, "unlocked") }

func runChild(t *testing.T, what string) {
	t.Helper()
	executable, err := os.Executable()
	require.NoError(t, err)
	child := exec.CommandContext(t.Context(), executable)
	child.Env = append(os.Environ(), childVariable+"="+what)
	output, err := child.CombinedOutput()
	require.NoError(t, err, "%s", output)
}

func TestInvariant13_SecretsHaveOwnPages(t *testing.T) {
	s := secret.Random(32)
	require.NoError(t, s.Use(func(b []byte) error {
		require.Zero(t, uintptr(unsafe.Pointer(unsafe.SliceData(b)))%uintptr(os.Getpagesize()))
		return nil
	}))
}
