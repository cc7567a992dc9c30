package main_test

import (
	"encoding/pem"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/johannesboyne/gofakes3"
	"github.com/johannesboyne/gofakes3/backend/s3mem"
	"github.com/stretchr/testify/require"

	"conclave/custodian/backup"
)

// bucket is a published fake of the S3 API on loopback, with one bucket.
type bucket struct {
	backend *s3mem.Backend
	server  *httptest.Server
	flags   []string // of a server that is configured for it

	mu     sync.Mutex
	before func(r *http.Request) // asked once, of the first call that stores a backup
}

const bucketName = "demo-backups"

func newBucket(t *testing.T) *bucket {
	t.Helper()
	b := &bucket{backend: s3mem.New()}
	require.NoError(t, b.backend.CreateBucket(bucketName))
	fake := gofakes3.New(b.backend).Server()
	b.server = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b.mu.Lock()
		before := b.before
		if stores := r.Method == http.MethodPut && strings.HasSuffix(r.URL.Path, backup.BackupSuffix); stores && before != nil {
			b.before = nil
		} else {
			before = nil
		}
		b.mu.Unlock()
		if before != nil {
			before(r)
		}
		fake.ServeHTTP(w, r)
	}))
	t.Cleanup(b.server.Close)
	dir := t.TempDir()
	ca, keys := filepath.Join(dir, "ca.pem"), filepath.Join(dir, "credentials")
	require.NoError(t, os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: b.server.Certificate().Raw}), 0o600))
	require.NoError(t, os.WriteFile(keys, []byte("aws_access_key_id=demo\naws_secret_access_key=demo-secret\n"), 0o600))
	b.flags = []string{"--s3-region", "test-1", "--s3-endpoint", b.server.URL, "--s3-ca-file", ca, "--s3-credentials-file", keys, "--s3-path-style", "true"}
	return b
}

// objects are the keys in the bucket that end so.
func (b *bucket) objects(t *testing.T, suffix string) []string {
	t.Helper()
	prefix := gofakes3.NewPrefix(nil, nil)
	list, err := b.backend.ListBucket(bucketName, &prefix, gofakes3.ListBucketPage{})
	require.NoError(t, err)
	var out []string
	for _, o := range list.Contents {
		if strings.HasSuffix(o.Key, suffix) {
			out = append(out, o.Key)
		}
	}
	return out
}

// fetch copies everything into a directory, as an operator does with any tool.
func (b *bucket) fetch(t *testing.T, dir string) {
	t.Helper()
	for _, name := range b.objects(t, "") {
		o, err := b.backend.GetObject(bucketName, name, nil)
		require.NoError(t, err)
		content, err := io.ReadAll(o.Contents)
		require.NoError(t, err)
		require.NoError(t, o.Contents.Close())
		require.NoError(t, os.WriteFile(filepath.Join(dir, path.Base(name)), content, 0o600))
	}
}

// Backups go to an object store as they go to a directory: whole or not at all, also when the process is killed while it
// stores one; read back; with their journal; deleted by ceremony; and an instance is restored from them.
func TestBackupsInAnObjectStore(t *testing.T) {
	t.Parallel()
	b := newBucket(t)
	o := newVaulted(t)
	schedule := []string{"backup", "schedule", "nightly", "--directory", "s3://" + bucketName + "/site-a", "--every-minutes", "1440", "--keep", "2",
		"--share-set", backupShares, "--threshold", "2", "--holder", strings.Join(backupHolders(), ","), "--reason", "copies elsewhere"}
	o.as("cleo").fails(1, "no_object_store", schedule...)
	require.NoError(t, o.n.stop())
	o.n = serve(t, o.n.dir, b.flags...)
	require.NoError(t, o.n.activate(t.Context()))
	for _, wrong := range []string{"s3://UPPER/x", "s3://" + bucketName, "s3://" + bucketName + "/a/../b", "s3://" + bucketName + "/a/"} {
		bad := append([]string{}, schedule...)
		bad[4] = wrong
		o.as("cleo").fails(1, "directory", bad...)
	}
	o.govern(schedule...)

	// Killed in the middle of the first copy: the next process makes it, once.
	o.killedWhileStoring(b)
	require.Len(t, b.objects(t, backup.BackupSuffix), 1)
	first := o.list("present")[0]
	require.True(t, strings.HasPrefix(first.File, "s3://"+bucketName+"/site-a/nightly-"), first.File)

	o.as("ada").done("person", "suspend", "dan", "--reason", "under investigation")
	eventually(t, "the journal in the bucket", func() (bool, error) {
		b.fetch(t, o.copies)
		cp, err := o.n.dialCheckpoint(t)
		if err != nil {
			return false, err
		}
		lost, err := backup.ReadJournals([]string{o.copies}, o.n.trust, 1)
		return err == nil && len(lost.Heads) > 0 && lost.Heads[len(lost.Heads)-1].ControlCount >= cp.ControlCount, err
	})
	o.restoredFrom(filepath.Join(o.copies, path.Base(first.File)))

	// Copies are deleted by ceremony, and what is gone otherwise is found to be.
	o.as("cleo").done("backup", "run", "nightly", "--reason", "before an upgrade")
	require.Len(t, b.objects(t, backup.BackupSuffix), 2)
	o.govern("backup", "delete", first.ID, "--reason", "no longer needed")
	require.Len(t, b.objects(t, backup.BackupSuffix), 1)
	require.Len(t, o.list("deleted"), 1)
}

// killedWhileStoring has the shares confirmed, which makes the first copy due, kills the process when it stores it, and
// starts it again.
func (o *vaulted) killedWhileStoring(b *bucket) {
	killed := make(chan struct{})
	b.mu.Lock()
	b.before = func(*http.Request) { o.n.kill(); close(killed) }
	b.mu.Unlock()
	for _, id := range backupHolders() {
		o.as(id).run("", "share", "confirm", "--set", backupShares) // the last may be cut off
	}
	select {
	case <-killed:
	case <-time.After(patience):
		o.t.Fatalf("no backup was stored: %s", o.n.logged())
	}
	o.n = serve(o.t, o.n.dir, b.flags...)
	require.NoError(o.t, o.n.activate(o.t.Context()))
	eventually(o.t, "the first backup", func() (bool, error) { return len(o.list("present")) == 1, nil })
}

// restoredFrom restores what was fetched in another place, next to the instance that goes on.
func (o *vaulted) restoredFrom(file string) {
	t := o.t
	trust, session, target := filepath.Join(o.n.dir, "trust.json"), o.path("session"), filepath.Join(t.TempDir(), "data")
	pass := shared.person("eve").passFile
	require.Contains(t, o.offline(trust, "backup", "verify", file).out, "complete")
	r := o.offline(trust, "restore", "begin", session, "--backup", file, "--journal", o.copies, "--data-dir", target, "--passphrase-file", pass)
	require.Zero(t, r.code, r.err)
	require.Contains(t, r.out, "person dan: suspended")
	o.signs("ada", trust, "contribute", session)
	o.signs("ben", trust, "contribute", session)
	o.signs("wendy", trust, "witness", session)
	finish := []string{"restore", "finish", session, "--backup", file, "--journal", o.copies, "--passphrase-file", pass, "--yes"}
	r = o.offline(trust, finish...)
	require.Zero(t, r.code, r.err)
	elsewhere := serve(t, target)
	require.NoError(t, elsewhere.activate(t.Context()))
	again := &terminal{t: t, n: elsewhere, dir: t.TempDir()}
	require.Regexp(t, `dan .*suspended`, again.as("ada").done("person", "list"))
}
