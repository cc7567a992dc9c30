package main_test

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// room bounds how large a file the server may make from now on. A write beyond it fails as on a full disk. The
// database is larger already, so a small bound leaves no room at all.
func (n *node) room(t *testing.T, bytes uint64) {
	t.Helper()
	var limit unix.Rlimit
	require.NoError(t, unix.Prlimit(n.cmd.Process.Pid, unix.RLIMIT_FSIZE, nil, &limit))
	limit.Cur = min(bytes, limit.Max)
	require.NoError(t, unix.Prlimit(n.cmd.Process.Pid, unix.RLIMIT_FSIZE, &limit, nil))
}

const nearlyNothing = 16 << 10

// fill takes the room and waits until the service says so.
func (l *load) fill(t *testing.T, n *node) {
	t.Helper()
	app, err := n.bearer(shared.appToken)
	require.NoError(t, err)
	n.room(t, nearlyNothing)
	eventually(t, "the disk to be full", func() (bool, error) {
		err := l.seal(t.Context(), app)
		if err == nil {
			return false, nil
		}
		p := problem(t, err)
		require.Equal(t, "storage_unavailable", p.Code)
		require.Equal(t, http.StatusServiceUnavailable, p.Status)
		require.True(t, p.Retryable)
		require.NotZero(t, p.RetryAfter)
		return true, nil
	})
	cleo, err := n.as("cleo")
	require.NoError(t, err)
	_, err = cleo.api.Propose(t.Context(), "key.rotate", map[string]any{"key": cards}, "no room")
	require.Equal(t, "storage_unavailable", problem(t, err).Code)
	eventually(t, "readiness to go", func() (bool, error) {
		status, problems := ready(t, n)
		return status == http.StatusServiceUnavailable && problems == "ledger storage does not take writes", nil
	})
}

func TestInvariant10_FullDiskRefusesAndLosesNothing(t *testing.T) {
	t.Parallel()
	n, l := atWork(t), newLoad()
	l.fill(t, n)
	n.room(t, unix.RLIM_INFINITY)
	eventually(t, "readiness to come back", func() (bool, error) {
		status, _ := ready(t, n)
		return status == http.StatusOK, nil
	})
	app, err := n.bearer(shared.appToken)
	require.NoError(t, err)
	require.NoError(t, l.seal(t.Context(), app), "it goes on by itself")
	l.check(t, n, 1)

	l.fill(t, n)
	n.kill()
	n = again(t, n)
	l.check(t, n, 2)
}
