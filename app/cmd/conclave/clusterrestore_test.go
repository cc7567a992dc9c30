package main_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"conclave/custodian/store/storetest"
)

// An instance of two nodes on PostgreSQL is restored into another database, however often whoever restores is killed at
// it. The node that was not restored had seen more than the backup, and does not serve what stands now.
func TestInvariant09_NodesAfterARestore(t *testing.T) {
	t.Parallel()
	c := clustered(t, "")
	second := c.enrolled("node-2")
	trust := c.path("fresh-trust.json")
	o := &vaulted{terminal: c.terminal, copies: t.TempDir()}
	o.schedule()
	first := o.first()
	for _, n := range []*node{c.n, second} {
		require.NoError(t, c.use(n, 3))
	}
	o.as("ada").done("person", "suspend", "dan", "--reason", "under investigation")
	o.n.trust = c.trust() // the journal is of whichever node made the copy
	o.journalled(first)
	c.n.kill()
	second.kill()

	target := filepath.Join(t.TempDir(), "data")
	finish := o.session(trust, first.File, target)
	database := o.killedAtIt(finish, target)
	c.dsn = database
	require.Contains(t, o.finished(finish, database), "not empty", "restored once")
	require.NoError(t, os.Rename(target, target+".away"))
	require.Contains(t, o.finished(finish, database), "already holds a ledger", "a database is not overwritten either")
	require.NoError(t, os.Rename(target+".away", target))

	c.n = c.serve(first.Node, target)
	require.NoError(t, c.n.activate(t.Context()))
	c.dir = t.TempDir() // whoever looks now has seen nothing before
	require.Regexp(t, `dan .*suspended`, c.as("ada").done("person", "list"))

	other, dir := "node-2", second.dir
	if first.Node == other {
		other, dir = "node-1", c.first
	}
	log := refuses(t, 65, dir, "--config", c.config(other))
	require.Regexp(t, "rolled back|forked", log, "it had seen more")
	c.as("ada").done("node", "revoke", other, "--reason", "left behind by the restore")
	third := c.enrolled("node-3")
	require.NoError(t, c.use(third, 2))
}

// finished runs the command that finishes a restore, which must refuse, and returns what it said.
func (o *vaulted) finished(finish []string, database string) string {
	o.t.Helper()
	cmd := exec.Command(shared.binary, finish...)
	cmd.Env = append(cleanEnviron(), "CONCLAVE_SERVER_DATABASE_DSN="+database)
	out, err := cmd.CombinedOutput()
	require.Error(o.t, err)
	return string(out)
}

// session is a restore session with everything contributed, and the command that finishes it.
func (o *vaulted) session(trust, file, target string) []string {
	o.t.Helper()
	session, pass := o.path("session"), shared.person("eve").passFile
	r := o.offline(trust, "restore", "begin", session, "--backup", file, "--journal", o.copies, "--data-dir", target, "--database-driver", "postgres", "--passphrase-file", pass)
	require.Zero(o.t, r.code, r.err)
	o.signs("ada", trust, "contribute", session)
	o.signs("ben", trust, "contribute", session)
	o.signs("wendy", trust, "witness", session)
	return []string{"restore", "finish", session, "--backup", file, "--journal", o.copies, "--passphrase-file", pass, "--yes", "--trust", trust}
}

// killedAtIt kills the command that finishes a restore again and again, later each time, until it gets through, and returns
// the database. One that is killed between database and directory says afterwards what to do: it is given an empty one.
func (o *vaulted) killedAtIt(finish []string, target string) (database string) {
	t := o.t
	database = storetest.Postgres(t)
	for patience := 50 * time.Millisecond; ; patience += patience / 2 {
		cmd := exec.Command(shared.binary, finish...)
		cmd.Env = append(cleanEnviron(), "CONCLAVE_SERVER_DATABASE_DSN="+database)
		var out strings.Builder
		cmd.Stdout, cmd.Stderr = &out, &out
		require.NoError(t, cmd.Start())
		kill := time.AfterFunc(patience, func() { _ = cmd.Process.Kill() })
		err := cmd.Wait()
		kill.Stop()
		if _, missing := os.Stat(target); missing == nil { // it came as far as that, killed then or not
			return database
		}
		require.Error(t, err, out.String())
		switch {
		case cmd.ProcessState.ExitCode() < 0: // killed
		case strings.Contains(out.String(), "give an empty database and finish again"):
			database = storetest.Postgres(t)
		default:
			t.Fatal(out.String())
		}
	}
}
