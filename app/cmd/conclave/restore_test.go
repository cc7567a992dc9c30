package main_test

import (
	"encoding/json"
	"errors"
	"log/slog"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"conclave/app/api"
	"conclave/app/witness"
	"conclave/custodian/backup"
	"conclave/custodian/clock"
	"conclave/custodian/ledger"
)

// vaulted is an instance with scheduled backups, and a terminal at it.
type vaulted struct {
	*terminal
	copies string // where backups go
}

// newVaulted is a working instance that makes no backups yet.
func newVaulted(t *testing.T) *vaulted {
	t.Helper()
	return &vaulted{terminal: &terminal{t: t, n: atWork(t), dir: t.TempDir()}, copies: t.TempDir()}
}

// schedule has backups made, once the shares that open them are confirmed.
func (o *vaulted) schedule() {
	o.t.Helper()
	o.govern("backup", "schedule", "nightly", "--directory", o.copies, "--every-minutes", "1440", "--keep", "2", "--share-set", backupShares,
		"--threshold", "2", "--holder", strings.Join(backupHolders(), ","), "--reason", "copies elsewhere")
}

const backupShares = "backup-shares"

func backupHolders() []string { return []string{"ada", "ben", "dan"} }

// first has the shares confirmed and waits for the first backup.
func (o *vaulted) first() api.Backup {
	o.t.Helper()
	for _, id := range backupHolders() {
		a, err := o.n.as(id)
		require.NoError(o.t, err)
		require.NoError(o.t, a.confirmOf(o.t.Context(), backupShares, 1))
	}
	eventually(o.t, "the first backup", func() (bool, error) { return len(o.list("present")) == 1, nil })
	return o.list("present")[0]
}

// list are the registered copies in a status.
func (o *vaulted) list(status string) []api.Backup {
	o.t.Helper()
	ada, err := o.n.as("ada")
	require.NoError(o.t, err)
	all, err := ada.api.Backups(o.t.Context())
	require.NoError(o.t, err)
	var out []api.Backup
	for _, b := range all {
		if b.Status == status {
			out = append(out, b)
		}
	}
	return out
}

// journalled waits until the journal has everything that happened up to now.
func (o *vaulted) journalled(b api.Backup) {
	o.t.Helper()
	eventually(o.t, "the journal", func() (bool, error) {
		cp, err := o.n.dialCheckpoint(o.t)
		if err != nil {
			return false, err
		}
		lost, err := backup.ReadJournals([]string{o.copies}, o.n.trust, 1)
		return err == nil && len(lost.Heads) > 0 && lost.Heads[len(lost.Heads)-1].ControlCount >= cp.ControlCount, err
	})
}

func (n *node) dialCheckpoint(t *testing.T) (ledger.Head, error) {
	a, err := n.as("ada")
	if err != nil {
		return ledger.Head{}, err
	}
	note, err := a.api.Checkpoint(t.Context())
	if err != nil {
		return ledger.Head{}, err
	}
	verifiers, err := n.trust.Verifiers()
	if err != nil {
		return ledger.Head{}, err
	}
	return ledger.OpenHead(note, n.trust.Origin, verifiers...)
}

// offline types a command on a machine that has no instance.
func (o *vaulted) offline(trust string, args ...string) typed {
	o.t.Helper()
	out, errOut, code, err := shared.conclave("", append(args, "--trust", trust)...)
	require.NoError(o.t, err)
	return typed{out, errOut, code}
}

func (o *vaulted) signs(id, trust, use, session string, more ...string) {
	o.t.Helper()
	p := shared.person(id)
	r := o.offline(trust, append([]string{"restore", use, filepath.Join(session, "session.json"), "--key-file", p.keyFile, "--passphrase-file", p.passFile, "--yes"}, more...)...)
	require.Zero(o.t, r.code, r.err)
}

// A restore in another place: the whole data directory is lost, and what is left are a backup, the trust file, the
// journal, and people with their key files.
func TestInvariant09_RestoreElsewhereAfterTotalLoss(t *testing.T) {
	t.Parallel()
	o := newVaulted(t)
	o.schedule()
	first := o.first()
	trust := o.path("trust.json")
	data, err := os.ReadFile(filepath.Join(o.n.dir, "trust.json"))
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(trust, data, 0o600))
	require.Contains(t, o.offline(trust, "backup", "verify", first.File).out, "complete")

	// After the backup: dan is suspended, the shop's token revoked, the key suspended.
	var tokens []api.Token
	require.NoError(t, json.Unmarshal([]byte(o.as("ada").done("token", "list", "--output", "json")), &tokens))
	for _, token := range tokens {
		if token.Kind == "application" {
			o.as("ada").done("token", "revoke", token.ID, "--reason", "leaked")
		}
	}
	o.as("ada").done("person", "suspend", "dan", "--reason", "under investigation")
	o.as("ben").done("key", "suspend", cards, "--suspected", "--reason", "a laptop is gone")
	open := o.as("cleo").propose("grant", "create", "--application", shop, "--key", cards, "--operation", "decrypt", "--days", "1", "--reason", "left open").Ceremony
	watcher := &terminal{t: t, n: o.n, dir: t.TempDir()} // remembers what it has seen
	watcher.as("ada").done("ledger", "checkpoint")
	o.journalled(first)

	o.n.kill()
	require.NoError(t, os.RemoveAll(o.n.dir))
	known := filepath.Join(watcher.dir, "state", o.n.trust.Instance+".checkpoint")
	lost, err := os.ReadFile(known)
	require.NoError(t, err)
	session, target := o.path("session"), filepath.Join(t.TempDir(), "data")
	pass := shared.person("eve").passFile
	r := o.offline(trust, "restore", "begin", session, "--backup", first.File, "--journal", o.copies, "--known", known, "--data-dir", target, "--passphrase-file", pass)
	require.Zero(t, r.code, r.err)
	require.Contains(t, r.out, "person dan: suspended")
	finish := []string{"restore", "finish", session, "--backup", first.File, "--journal", o.copies, "--known", known, "--passphrase-file", pass, "--yes"}

	o.signs("ada", trust, "contribute", session)
	r = o.offline(trust, finish...)
	require.Equal(t, 1, r.code)
	require.Contains(t, r.err, "1 of 2", "too few shares")
	o.signs("dan", trust, "contribute", session)
	r = o.offline(trust, finish...)
	require.Equal(t, 1, r.code)
	require.Contains(t, r.err, "witness", "no witness")
	require.Contains(t, r.err, "dan", "whoever was suspended after the backup does not count")
	require.NoDirExists(t, target)
	o.signs("wendy", trust, "witness", session)
	require.NoError(t, os.Remove(filepath.Join(session, "dan.contribution.json")))
	o.signs("ben", trust, "contribute", session)
	r = o.offline(trust, finish...)
	require.Zero(t, r.code, r.err)
	require.Contains(t, r.out, "suspended")
	r = o.offline(trust, finish...)
	require.Equal(t, 78, r.code, "restored once: %s", r.err)

	n := serve(t, target)
	watcher.n = n
	require.Contains(t, watcher.as("ada").run("", "status").err, "rolled back", "whoever saw more refuses it")
	require.Contains(t, watcher.as("ada").fails(1, "", "ledger", "verify").err, "rolled back")
	said := watcher.as("ada").done("ledger", "accept-recovery", "--yes")
	require.Contains(t, said, "ada, ben")
	require.Contains(t, said, "wendy")
	require.Contains(t, watcher.as("ada").done("status"), "end to end")
	require.Contains(t, watcher.as("ada").done("ledger", "verify"), "verified against the trust file")
	again := &terminal{t: t, n: n, dir: t.TempDir()}
	require.Regexp(t, `dan .*suspended`, again.as("ada").done("person", "list"))
	require.NoError(t, n.activate(t.Context()))
	app, err := n.bearer(shared.appToken)
	require.NoError(t, err)
	_, err = app.DataKey(t.Context(), cards, 32, nil)
	require.Error(t, err, "a token revoked after the backup stays revoked")
	require.Contains(t, again.as("ada").done("key", "versions", cards), "suspended")
	require.Contains(t, again.as("cleo").fails(1, "", "ceremony", "show", open.ID).err, "not", "what was proposed after the backup is unknown")
	exported(t, n)
	o.witnessGoesOn(n, trust, lost, nil, target)

	// The restored instance restarts, and its backups go on.
	require.NoError(t, n.stop())
	n = serve(t, target)
	watcher.n = n
	require.Contains(t, watcher.as("ada").done("ledger", "checkpoint"), "conclave/")
}

// witnessGoesOn: a witness that saw more than the backup refuses the recovered ledger until its operator has judged the
// recovery; then it goes on under the same key, shows both heads, and refuses the ledger that was left behind. handovers are
// those of the log key that it had followed; nil for none.
func (o *vaulted) witnessGoesOn(n *node, trust string, lost, handovers []byte, target string) {
	t := o.t
	t.Helper()
	seen, copied, recovered := o.path("witness"), o.path("copy"), filepath.Join(target, "recovery.json")
	require.NoError(t, os.MkdirAll(seen, 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(seen, "checkpoint"), lost, 0o600))
	if handovers != nil {
		require.NoError(t, os.WriteFile(filepath.Join(seen, "handovers"), handovers, 0o600))
	}
	key, err := ledger.GenerateWitness(o.path("witness.key"), "witness.example/audit")
	require.NoError(t, err)
	pinned, err := ledger.LoadTrustFile(trust)
	require.NoError(t, err)
	server, err := witness.New(pinned, key, seen, clock.NewSystem(), slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	web := httptest.NewServer(server.Handler())
	defer web.Close()
	a, err := n.as("ada")
	require.NoError(t, err)
	submit := func() error {
		head, note, err := a.api.CheckLedger(t.Context(), n.trust, o.path("fresh"))
		require.NoError(t, err)
		_, err = witness.NewClient(key.Key, web.URL, nil).Submit(t.Context(), note, head.Size, 0, a.api.ConsistencyProof)
		return err
	}
	refused := submit()
	require.Error(t, refused)
	switch { // by how far the recovered ledger has come meanwhile
	case errors.Is(refused, witness.ErrAhead):
	case handovers == nil:
		require.ErrorIs(t, refused, witness.ErrRefused)
	default:
		require.ErrorIs(t, refused, witness.ErrUnknownKey)
		require.ErrorContains(t, refused, "replaced before")
	}

	(&terminal{t: t, n: n, dir: o.path("exporter")}).as("ada").done("ledger", "export", copied)
	accept := []string{"witness", "accept-recovery", "--state-dir", seen, "--dir", copied, "--recovery", recovered}
	r := o.offline(trust, accept...)
	require.Equal(t, 2, r.code, "nobody is there to say yes: %s", r.err)
	require.Contains(t, r.out, "ada, ben", "shown before asking")
	require.Error(t, submit(), "shown is not accepted")
	r = o.offline(trust, append(accept, "--yes")...)
	require.Zero(t, r.code, r.err)
	r = o.offline(trust, append(accept, "--yes")...)
	require.Equal(t, 1, r.code)
	require.Contains(t, r.err, "nothing that the recovery lost")
	require.NoError(t, submit(), "the same witness goes on, without a restart")

	res, err := web.Client().Get(web.URL + "/recoveries")
	require.NoError(t, err)
	defer res.Body.Close()
	var accepted []witness.Acceptance
	require.NoError(t, json.NewDecoder(res.Body).Decode(&accepted))
	require.Len(t, accepted, 1)
	require.Equal(t, string(lost), accepted[0].Left)
	taken, err := os.ReadFile(filepath.Join(copied, ledger.CheckpointFile))
	require.NoError(t, err)
	require.Equal(t, string(taken), accepted[0].Taken)
	saw := pinned
	if handovers != nil {
		followed, err := ledger.ParseHandovers(handovers)
		require.NoError(t, err)
		saw, err = pinned.Follow(followed...)
		require.NoError(t, err)
	}
	verifiers, err := saw.Verifiers()
	require.NoError(t, err)
	left, err := ledger.OpenHead(lost, pinned.Origin, verifiers...)
	require.NoError(t, err)
	_, err = witness.NewClient(key.Key, web.URL, nil).Submit(t.Context(), lost, left.Size, 0, a.api.ConsistencyProof)
	require.Error(t, err, "the ledger that was left behind is refused")
}

func TestRestoreDrillAndRetention(t *testing.T) {
	t.Parallel()
	o := newVaulted(t)
	o.as("cleo").fails(1, "share_set", "backup", "schedule", "nightly", "--directory", o.copies, "--every-minutes", "1440", "--keep", "2", "--reason", "a test")
	o.schedule()
	o.as("cleo").fails(1, "shares_unconfirmed", "backup", "run", "nightly", "--reason", "too early")
	trust, first := filepath.Join(o.n.dir, "trust.json"), o.first()
	require.Contains(t, o.as("ada").done("backup", "list"), first.ID)
	session, pass := o.path("drill"), shared.person("eve").passFile
	r := o.offline(trust, "restore", "begin", session, "--backup", first.File, "--scratch", "--passphrase-file", pass)
	require.Zero(t, r.code, r.err)
	o.signs("ben", trust, "contribute", session)
	o.signs("dan", trust, "contribute", session)
	o.signs("wendy", trust, "witness", session)
	r = o.offline(trust, "restore", "finish", session, "--backup", first.File, "--passphrase-file", pass, "--yes")
	require.Zero(t, r.code, r.err)
	o.as("dan").done("backup", "drill", filepath.Join(session, "drill.json"))
	require.NotNil(t, o.list("present")[0].DrillAt)
	o.as("dan").fails(1, "already_recorded", "backup", "drill", filepath.Join(session, "drill.json"))
	o.as("ada").fails(1, "last_copy", "backup", "delete", first.ID, "--reason", "a mistake")

	// Copies that people ask for make no others go, and are not without end.
	for range 2 {
		o.as("cleo").done("backup", "run", "nightly", "--reason", "before an upgrade")
	}
	o.as("cleo").fails(1, "extra_copies", "backup", "run", "nightly", "--reason", "one more")
	require.Len(t, o.list("present"), 3)
	o.govern("backup", "delete", first.ID, "--reason", "no longer needed")
	require.Len(t, o.list("deleted"), 1)
	require.NoFileExists(t, first.File)

	// What is done to a file is found without any key.
	good := o.list("present")[0].File
	whole, err := os.ReadFile(good)
	require.NoError(t, err)
	for name, bad := range map[string][]byte{
		"cut short": whole[:len(whole)-1], "cut in half": whole[:len(whole)/2], "empty": nil, "longer": append(append([]byte{}, whole...), 0),
		"altered": func() []byte { b := append([]byte{}, whole...); b[len(b)/2] ^= 1; return b }(),
	} {
		path := o.path(name)
		require.NoError(t, os.WriteFile(path, bad, 0o600))
		r := o.offline(trust, "backup", "verify", path)
		require.NotZero(t, r.code, name)
		require.NotEmpty(t, r.err, name)
	}
	other := filepath.Join(shared.fresh, "trust.json")
	require.Zero(t, o.offline(other, "backup", "verify", good).code, "the same instance's trust file of its first day")
}
