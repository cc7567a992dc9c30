package operation_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"database/sql"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	_ "github.com/mattn/go-sqlite3" // the intruder's own driver
	"github.com/stretchr/testify/require"

	"conclave/ceremony/operation"
	"conclave/custodian"
	"conclave/custodian/backup"
	"conclave/custodian/custodiantest"
	"conclave/custodian/dsse"
	"conclave/custodian/ledger"
	"conclave/custodian/people"
	"conclave/custodian/store"
)

// copying is a rig whose process writes backups, with a schedule whose shares are confirmed.
func copying(t *testing.T) (*rig, string) {
	t.Helper()
	r, dir := newRig(t), t.TempDir()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	signer, err := dsse.NewSigner(private)
	require.NoError(t, err)
	pinned, err := ledger.NewNodeKey(custodiantest.NodeID, private.Public())
	require.NoError(t, err)
	r.env.Copier = &operation.Copier{Keys: func() (*backup.Keys, error) { return &backup.Keys{Log: []byte("log")}, nil }, Signer: signer, NodeKey: pinned,
		Program: "test"}
	r.run(t, "backup.schedule", human("demo-ada"), schedule(dir))
	require.Contains(t, r.denied(t, "backup.run", node(), map[string]any{"schedule": "nightly"}), "shares_unconfirmed")
	require.Empty(t, operation.Jobs{Env: r.env}.DueBackups(r.View(), r.Clock.Now()), "nobody may be able to open it yet")
	r.confirmAll(t, 1)
	return r, dir
}

func schedule(dir string) map[string]any {
	return map[string]any{"id": "nightly", "directory": dir, "every_minutes": 60, "keep": 2,
		"share_set": map[string]any{"id": "copies", "threshold": 2, "holders": custodiantest.People()[:3]}}
}

func (r *rig) confirmAll(t *testing.T, epoch uint32) {
	t.Helper()
	for index := 1; index <= 3; index++ {
		id := people.ShareID("copies", epoch, index)
		s := row[people.Share](t, r, custodian.KindShare, id)
		s.Status = people.ShareConfirmed
		r.Put(t, custodian.KindShare, id, s)
	}
}

// runBackup makes and registers a copy under an effect's id.
func (r *rig) runBackup(t *testing.T) *backup.Copy {
	t.Helper()
	in := r.input(t, node(), map[string]any{"schedule": "nightly"})
	r.plan(t, "backup.run", in)
	_, err := r.execute(t, "backup.run", in, nil)
	require.NoError(t, err)
	return operation.Copies(r.View(), "nightly", backup.CopyPresent)[0]
}

func TestBackupFollowsItsSchedule(t *testing.T) {
	r, dir := copying(t)
	jobs := operation.Jobs{Env: r.env}
	require.Len(t, jobs.DueBackups(r.View(), r.Clock.Now()), 1)
	first := r.runBackup(t)
	require.FileExists(t, first.File)
	require.Equal(t, map[string]uint32{"copies": 1}, first.Sets)
	require.Empty(t, jobs.DueBackups(r.View(), r.Clock.Now()))
	r.Clock.Advance(time.Hour)
	require.Len(t, jobs.DueBackups(r.View(), r.Clock.Now()), 1)
	r.runBackup(t)
	r.Clock.Advance(time.Hour)
	r.runBackup(t)
	expired := operation.Copies(r.View(), "nightly", backup.CopyExpired)
	require.Len(t, expired, 1)
	require.Equal(t, first.ID, expired[0].ID, "the oldest goes, once two newer ones stand")

	// A new key: what comes is opened by the new shares, and is due at once; the old epoch stays on record.
	r.run(t, "backup.schedule", human("demo-ada"), schedule(dir))
	set := row[people.ShareSet](t, r, custodian.KindShareSet, "copies")
	require.EqualValues(t, 2, set.Epoch)
	require.Len(t, set.Past, 1)
	require.Empty(t, jobs.DueBackups(r.View(), r.Clock.Now()), "its shares are not confirmed")
	r.confirmAll(t, 2)
	require.Len(t, jobs.DueBackups(r.View(), r.Clock.Now()), 1)
	require.EqualValues(t, 2, r.runBackup(t).Epoch)

	for _, name := range []string{"shares.reissue", "quorum.change", "shares.cutover"} {
		params := map[string]any{"set": "copies"}
		if name == "quorum.change" {
			params["threshold"], params["holders"] = 3, custodiantest.People()
		}
		_, err := r.prepare(t, name, r.input(t, human("demo-ada"), params))
		require.Equal(t, "set", fieldOf(t, err), name)
		require.ErrorContains(t, err, "backup.schedule of nightly with share_set copies", name)
	}
	r.run(t, "backup.schedule", human("demo-ada"), map[string]any{"id": "nightly", "stop": true})
	require.Contains(t, r.denied(t, "backup.run", node(), map[string]any{"schedule": "nightly"}), "schedule_stopped")
	require.Equal(t, "directory", fieldOf(t, func() error {
		_, err := r.prepare(t, "backup.schedule", r.input(t, human("demo-ada"), map[string]any{"id": "nightly", "directory": "../else"}))
		return err
	}()))
}

// A process that dies leaves a whole file, which is adopted, or a part of one, which is taken away.
func TestInvariant10_BackupSurvivesACrashAtEachStep(t *testing.T) {
	r, dir := copying(t)
	run := op(t, "backup.run").(operation.Effectful)
	in := r.input(t, node(), map[string]any{"schedule": "nightly"})
	_, found, err := run.Recover(t.Context(), r.env, in, "e-1")
	require.NoError(t, err)
	require.False(t, found)
	partial := filepath.Join(dir, ".e-1.partial")
	require.NoError(t, os.WriteFile(partial, []byte("half"), 0o600))
	_, found, err = run.Recover(t.Context(), r.env, in, "e-1")
	require.NoError(t, err)
	require.False(t, found)
	require.NoFileExists(t, partial)

	require.NoError(t, os.WriteFile(partial, []byte("half"), 0o600))
	made, err := run.Effect(t.Context(), r.env, in, "e-1", nil)
	require.NoError(t, err)
	require.NoFileExists(t, partial)
	again, found, err := run.Recover(t.Context(), r.env, in, "e-1")
	require.NoError(t, err)
	require.True(t, found)
	require.Equal(t, made, again, "adopted as it is")
	again, err = run.Effect(t.Context(), r.env, in, "e-1", nil)
	require.NoError(t, err)
	require.Equal(t, made, again, "never written twice")
	files, err := filepath.Glob(filepath.Join(dir, "*"+backup.BackupSuffix))
	require.NoError(t, err)
	require.Len(t, files, 1)
	require.NoError(t, run.Undo(t.Context(), r.env, in, made))
	require.NoFileExists(t, files[0])

	require.NoError(t, os.RemoveAll(dir))
	_, err = run.Effect(t.Context(), r.env, in, "e-2", nil)
	require.ErrorContains(t, err, "must exist")
}

func TestBackupOfAnEditedDatabaseIsRefused(t *testing.T) {
	r, dir := copying(t)
	db, err := sql.Open("sqlite3", r.Config.DSN+"?_busy_timeout=5000")
	require.NoError(t, err)
	t.Cleanup(func() { db.Close() })
	_, err = db.Exec(`UPDATE authority_rows SET body = CAST(replace(CAST(body AS TEXT), 'Demo person demo-eve', 'Demo person demo-bad') AS BLOB) WHERE kind = 'person' AND id = 'demo-eve'`)
	require.NoError(t, err)
	_, err = op(t, "backup.run").(operation.Effectful).Effect(t.Context(), r.env, r.input(t, node(), map[string]any{"schedule": "nightly"}), "e-1", nil)
	require.ErrorIs(t, err, store.ErrEdited)
	left, err := filepath.Glob(filepath.Join(dir, "*e-1*"))
	require.NoError(t, err)
	require.Empty(t, left)
	left, err = filepath.Glob(filepath.Join(dir, ".*partial"))
	require.NoError(t, err)
	require.Empty(t, left, "nothing half done stays")
}

// Nobody makes older copies go by asking for new ones, and nobody fills the directory with them.
func TestInvariant01_AskedForCopiesExpireNone(t *testing.T) {
	r, _ := copying(t)
	first := r.runBackup(t)
	ask := func() {
		in := r.input(t, human("demo-ada"), map[string]any{"schedule": "nightly"})
		_, err := r.execute(t, "backup.run", in, nil)
		require.NoError(t, err)
	}
	for range 2 {
		r.Clock.Advance(time.Minute)
		ask()
	}
	require.Len(t, operation.Copies(r.View(), "nightly", backup.CopyPresent), 3)
	require.Contains(t, r.denied(t, "backup.run", human("demo-ada"), map[string]any{"schedule": "nightly"}), "extra_copies")
	r.Clock.Advance(time.Hour)
	require.Len(t, operation.Jobs{Env: r.env}.DueBackups(r.View(), r.Clock.Now()), 1, "the schedule goes on beside them")
	r.runBackup(t)
	require.Empty(t, operation.Copies(r.View(), "nightly", backup.CopyExpired))
	r.Clock.Advance(2 * time.Hour)
	r.runBackup(t)
	expired := operation.Copies(r.View(), "nightly", backup.CopyExpired)
	require.Len(t, expired, 3, "the oldest of the schedule, and what was asked for once it is older than what stays")
	require.True(t, slices.ContainsFunc(expired, func(c *backup.Copy) bool { return c.ID == first.ID }))
}

// A deletion is on record where it happened: not where another node has the file, nor where a directory is absent.
func TestInvariant10_ACopyThatIsNotFoundIsNotDeleted(t *testing.T) {
	r, dir := copying(t)
	r.runBackup(t)
	second := r.runBackup(t)
	del := op(t, "backup.delete").(operation.Effectful)
	in := r.input(t, human("demo-ada"), map[string]any{"backup": second.ID, "reason": "a test"})
	second.Node = "node-2"
	r.Put(t, custodian.KindBackup, second.ID, second)
	effect, err := del.Effect(t.Context(), r.env, in, "e-9", nil)
	require.NoError(t, err)
	require.FileExists(t, second.File, "it is for the node that wrote it to delete")
	require.JSONEq(t, `{"deferred":true}`, string(effect.Data))
	second.Node = custodiantest.NodeID
	r.Put(t, custodian.KindBackup, second.ID, second)
	require.NoError(t, os.Rename(dir, dir+".away"))
	_, err = del.Effect(t.Context(), r.env, in, "e-9", nil)
	require.ErrorContains(t, err, "is not there")
	gone := r.input(t, human("demo-ada"), map[string]any{"backup": second.ID, "reason": "a test", "gone": true})
	_, err = del.Effect(t.Context(), r.env, gone, "e-9", nil)
	require.NoError(t, err, "people may attest it")
	require.NoError(t, os.Rename(dir+".away", dir))
	_, err = del.Effect(t.Context(), r.env, in, "e-9", nil)
	require.NoError(t, err)
	require.NoFileExists(t, second.File)
	_, err = del.Effect(t.Context(), r.env, in, "e-9", nil)
	require.NoError(t, err, "here it is known to be gone")
}
