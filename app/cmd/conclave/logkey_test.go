package main_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"conclave/app/api"
	"conclave/custodian/ledger"
)

// logKeyFile is a node's log key as it stands.
func logKeyFile(t *testing.T, n *node) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(n.dir, "keys", "log.key"))
	require.NoError(t, err)
	return string(text)
}

// settled waits until a node has put the log key of another in its place, and nothing stands beside it.
func settled(t *testing.T, n, as *node) {
	t.Helper()
	eventually(t, "the log key in its place", func() (bool, error) {
		beside, err := filepath.Glob(filepath.Join(n.dir, "keys", "log.key.*"))
		return err == nil && len(beside) == 0 && logKeyFile(t, n) == logKeyFile(t, as), err
	})
}

// The log key is replaced under nodes that serve: those that are up are given it, one that was down asks when it starts, a
// revoked one gets nothing, and whoever pinned the first key goes on verifying.
func TestLogKeyIsReplacedOnEveryNode(t *testing.T) {
	t.Parallel()
	c := clustered(t, "")
	pinned := filepath.Join(c.first, "trust.json")
	second, third := c.enrolled("node-2"), c.enrolled("node-3")
	third.kill()
	old := logKeyFile(t, c.n)

	rotated := c.govern("logkey", "rotate", "--cause", "scheduled", "--reason", "yearly")
	require.Equal(t, "completed", rotated.State)
	settled(t, second, c.n)
	require.NotEqual(t, old, logKeyFile(t, c.n))
	require.NoError(t, c.use(c.n, 3))
	require.NoError(t, c.use(second, 3))

	require.Equal(t, old, logKeyFile(t, third))
	third = c.serve("node-3", third.dir) // it asks, and is given it on the record
	settled(t, third, c.n)
	second.kill()
	second = c.serve("node-2", second.dir)
	for _, n := range []*node{second, third} {
		n.trust = c.trust()
		require.NoError(t, n.activate(t.Context()))
		require.NoError(t, c.use(n, 3))
	}

	// A revoked node had the key: it is asked for, and the next one is not given to it.
	had := logKeyFile(t, third)
	c.as("ada").done("node", "revoke", "node-3", "--reason", "its disk was copied")
	<-third.exited
	require.Contains(t, strings.Join(due(t, c), ";"), "node-3")
	c.govern("logkey", "rotate", "--cause", "node-revoked", "--reason", "its disk was copied")
	settled(t, second, c.n)
	require.Equal(t, had, logKeyFile(t, third))
	require.NotEqual(t, had, logKeyFile(t, c.n))
	require.Empty(t, due(t, c))
	require.NoError(t, c.use(second, 3))
	c.opened(second)

	turns := 0
	for _, e := range exportedBy(t, second, c.auditor, pinned) { // verified from the key that genesis made
		if e.Type == ledger.RotationType {
			turns++
			require.NotEmpty(t, e.Ceremony)
		}
	}
	require.Equal(t, 2, turns)
	fresh := c.trust()
	require.Len(t, fresh.LogKeys, 3)
	require.Len(t, fresh.Handovers, 2)
}

// due is what asks for another log key.
func due(t *testing.T, c *cluster) []string {
	t.Helper()
	var st api.Status
	require.NoError(t, json.Unmarshal([]byte(c.as("ada").done("status", "--output", "json")), &st))
	require.NotNil(t, st.LogKey)
	return st.LogKey.Due
}

// Killed at any instant of a rotation the node goes on with the key that the ledger says, and each rotation is done once.
func TestInvariant10_LogKeyRotationSurvivesACrashAtEachStep(t *testing.T) {
	t.Parallel()
	n := atWork(t)
	made := 0
	for _, step := range []string{"propose", "completing vote"} {
		for _, at := range crashes()[step] {
			made++
			g := &governed{operation: ledger.RotationType, params: map[string]any{"cause": "scheduled"}, reason: fmt.Sprintf("%s, killed %s", step, at)}
			g.crash(t, n, step, at)
			n = serve(t, n.dir)
			g.finish(t, n)
			eventually(t, "the log key in its place", func() (bool, error) {
				beside, err := filepath.Glob(filepath.Join(n.dir, "keys", "log.key.next-*"))
				return len(beside) == 0, err
			})
		}
	}
	turns := map[string]int{}
	for _, e := range exported(t, n) { // verified from the key that genesis made
		if e.Type == ledger.RotationType {
			turns[e.Ceremony]++
		}
	}
	require.Len(t, turns, made)
	for id, times := range turns {
		require.Equal(t, 1, times, id)
	}
}
