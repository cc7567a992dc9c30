package main_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"conclave/custodian/ledger"
)

// A backup was made under one log key, which was replaced before everything was lost. The restored instance signs with the
// key of the backup; whoever followed the later one refuses that, until they have judged the recovery, and forgets it then;
// whoever pins the first key needs to do nothing; and the key is replaced again.
func TestInvariant09_RestoreAcrossALogKeyRotation(t *testing.T) {
	t.Parallel()
	o := newVaulted(t)
	o.schedule()
	first := o.first()
	trust, fresh := o.path("trust.json"), o.path("fresh.json")
	data, err := os.ReadFile(filepath.Join(o.n.dir, "trust.json"))
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(trust, data, 0o600))
	old := logKeyFile(t, o.n)
	watcher := &terminal{t: t, n: o.n, dir: t.TempDir()} // remembers what it has seen

	require.Equal(t, "completed", o.govern("logkey", "rotate", "--cause", "scheduled", "--days", "90", "--reason", "yearly").State)
	settled(t, o.n, o.n)
	require.NotEqual(t, old, logKeyFile(t, o.n))
	o.as("ben").done("key", "suspend", cards, "--suspected", "--reason", "a laptop is gone")
	watcher.as("ada").done("ledger", "checkpoint")
	o.as("ada").done("node", "trust", "--out", fresh, "--yes")
	o.n.trust, err = ledger.LoadTrustFile(fresh)
	require.NoError(t, err)
	require.Len(t, o.n.trust.LogKeys, 2)
	o.journalled(first)
	o.n.kill()
	require.NoError(t, os.RemoveAll(o.n.dir))

	// What was seen bears the signature of the key that is lost: the journals tell of it.
	state := filepath.Join(watcher.dir, "state", o.n.trust.Instance)
	known := state + ".checkpoint"
	session, target, pass := o.path("session"), filepath.Join(t.TempDir(), "data"), shared.person("eve").passFile
	r := o.offline(trust, "restore", "begin", o.path("blind"), "--backup", first.File, "--known", known, "--data-dir", target, "--passphrase-file", pass)
	require.NotZero(t, r.code)
	require.Contains(t, r.err, "give the journals, or a trust file from after that")
	r = o.offline(trust, "restore", "begin", session, "--backup", first.File, "--journal", o.copies, "--known", known, "--data-dir", target, "--passphrase-file", pass)
	require.Zero(t, r.code, r.err)
	for id, use := range map[string]string{"ada": "contribute", "ben": "contribute", "wendy": "witness"} {
		o.signs(id, trust, use, session)
	}
	r = o.offline(fresh, "restore", "finish", session, "--backup", first.File, "--journal", o.copies, "--known", known, "--passphrase-file", pass, "--yes")
	require.Zero(t, r.code, r.err)

	restored := serve(t, target)
	require.Equal(t, old, logKeyFile(t, restored), "the key of the backup signs")
	require.Len(t, restored.trust.LogKeys, 1)
	again := &terminal{t: t, n: restored, dir: t.TempDir()} // sees it for the first time, with the new trust file
	require.Contains(t, again.as("ada").done("key", "versions", cards), "suspended")
	require.Contains(t, again.as("ada").done("ledger", "verify"), "verified against the trust file")

	lost, err := os.ReadFile(known)
	require.NoError(t, err)
	handovers, err := os.ReadFile(state + ".handovers")
	require.NoError(t, err)
	watcher.n = restored
	require.NotZero(t, watcher.as("ada").run("", "ledger", "checkpoint").code, "whoever followed the later key refuses it")
	watcher.as("ada").fails(1, "", "ledger", "verify")
	require.Contains(t, watcher.as("ada").done("ledger", "accept-recovery", "--yes"), "ada, ben")
	require.Contains(t, watcher.as("ada").done("ledger", "verify"), "verified against the trust file")
	watcher.as("ada").done("ledger", "checkpoint")
	o.witnessGoesOn(restored, trust, lost, handovers, target)

	// A trust file from after the rotation pins what was lost.
	stale, err := os.ReadFile(fresh)
	require.NoError(t, err)
	valid, err := os.ReadFile(filepath.Join(target, "trust.json"))
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(target, "trust.json"), stale, 0o600))
	holder := &terminal{t: t, n: restored, dir: t.TempDir()}
	holder.as("ada").fails(1, "", "ledger", "verify")
	require.NoError(t, os.WriteFile(filepath.Join(target, "trust.json"), valid, 0o600))

	// The key is replaced again, and everybody follows.
	require.Equal(t, "completed", again.govern("logkey", "rotate", "--cause", "suspected-compromise", "--reason", "after the restore").State)
	settled(t, restored, restored)
	for _, x := range []*terminal{again, watcher} {
		require.Contains(t, x.as("ada").done("ledger", "verify"), "verified against the trust file")
	}
	exported(t, restored)
	require.NoError(t, restored.stop())
	serve(t, target)
}
