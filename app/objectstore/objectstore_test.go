package objectstore

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"io"
	"io/fs"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"

	"github.com/johannesboyne/gofakes3"
	"github.com/johannesboyne/gofakes3/backend/s3mem"
	"github.com/stretchr/testify/require"

	"github.com/aws/aws-sdk-go-v2/service/s3"

	"conclave/custodian/segment"
)

const bucket = "demo-backups"

// fixture is a store at a published fake of the S3 API, over TLS.
func fixture(t *testing.T) (*Store, Config) {
	t.Helper()
	backend := s3mem.New()
	require.NoError(t, backend.CreateBucket(bucket))
	server := httptest.NewTLSServer(gofakes3.New(backend).Server())
	t.Cleanup(server.Close)
	dir := t.TempDir()
	ca, keys := filepath.Join(dir, "ca.pem"), filepath.Join(dir, "credentials")
	require.NoError(t, os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}), 0o600))
	require.NoError(t, os.WriteFile(keys, []byte("[default]\n# demo\naws_access_key_id = demo\naws_secret_access_key=demo-secret\n"), 0o600))
	cfg := Config{Endpoint: server.URL, Region: "test-1", CredentialsFile: keys, CAFile: ca, PathStyle: true}
	s, err := New(cfg)
	require.NoError(t, err)
	s.part = 5 << 20 // the least that the API takes
	return s, cfg
}

func writes(content []byte) func(io.Writer) error {
	return func(w io.Writer) error {
		_, err := io.Copy(w, bytes.NewReader(content))
		return err
	}
}

func (s *Store) content(t *testing.T, name string) []byte {
	t.Helper()
	r, err := s.Open(t.Context(), bucket, name)
	require.NoError(t, err)
	defer r.Close()
	b, err := io.ReadAll(r)
	require.NoError(t, err)
	return b
}

// unfinished counts uploads that were begun and are not finished.
func (s *Store) unfinished(t *testing.T) int {
	t.Helper()
	b := bucket
	out, err := s.client.ListMultipartUploads(t.Context(), &s3.ListMultipartUploadsInput{Bucket: &b})
	require.NoError(t, err)
	return len(out.Uploads)
}

func random(n int) []byte {
	b := make([]byte, n)
	rand.Read(b)
	return b
}

// An object appears whole or not at all, and never in place of another, in one part as in many.
func TestCreate(t *testing.T) {
	s, _ := fixture(t)
	ctx := t.Context()
	for name, size := range map[string]int{"a/empty": 0, "a/small": 100, "a/one-part": s.part, "a/parts": 2*s.part + 1} {
		content := random(size)
		require.NoError(t, s.Create(ctx, bucket, name, writes(content)))
		require.True(t, bytes.Equal(content, s.content(t, name)), name)
		require.ErrorIs(t, s.Create(ctx, bucket, name, writes(random(size))), fs.ErrExist, name)
		require.True(t, bytes.Equal(content, s.content(t, name)), "%s was overwritten", name)
	}
	cut := errors.New("cut short")
	require.ErrorIs(t, s.Create(ctx, bucket, "a/cut", func(w io.Writer) error {
		_, err := w.Write(random(s.part + 1))
		return errors.Join(err, cut)
	}), cut)
	require.Zero(t, s.unfinished(t))
	found, err := s.List(ctx, bucket, "a/")
	require.NoError(t, err)
	require.Equal(t, []string{"a/empty", "a/one-part", "a/parts", "a/small"}, found)
	found, err = s.List(ctx, bucket, "a/s")
	require.NoError(t, err)
	require.Equal(t, []string{"a/small"}, found)
}

// What a process that died had begun is given up by the next, of its own name alone.
func TestDiscard(t *testing.T) {
	s, _ := fixture(t)
	b := bucket
	require.NoError(t, s.Discard(t.Context(), bucket, "p/nightly-", "-a.cvb"), "nothing was ever begun")
	for _, name := range []string{"p/nightly-1-a.cvb", "p/nightly-2-b.cvb", "q/nightly-1-a.cvb"} {
		_, err := s.client.CreateMultipartUpload(t.Context(), &s3.CreateMultipartUploadInput{Bucket: &b, Key: &name})
		require.NoError(t, err)
	}
	require.NoError(t, s.Discard(t.Context(), bucket, "p/nightly-", "-a.cvb"))
	require.Equal(t, 2, s.unfinished(t))
	require.NoError(t, s.Discard(t.Context(), bucket, "p/nightly-", "-a.cvb"), "nothing to do")
}

func TestReplaceOpenRemove(t *testing.T) {
	s, _ := fixture(t)
	ctx := t.Context()
	_, err := s.Open(ctx, bucket, "j")
	require.ErrorIs(t, err, fs.ErrNotExist)
	file := filepath.Join(t.TempDir(), "j")
	for _, content := range []string{"one\n", "one\ntwo\n"} {
		require.NoError(t, os.WriteFile(file, []byte(content), 0o600))
		require.NoError(t, s.Replace(ctx, bucket, "j", file))
		require.Equal(t, content, string(s.content(t, "j")))
	}
	require.NoError(t, s.Remove(ctx, bucket, "j"))
	require.NoError(t, s.Remove(ctx, bucket, "j"), "gone is gone")
	_, err = s.Open(ctx, "no-such-bucket", "j")
	require.Error(t, err)
	require.NotErrorIs(t, err, fs.ErrNotExist, "an absent bucket shows no objects either")
	cancelled, cancel := context.WithCancel(ctx)
	cancel()
	require.ErrorIs(t, s.Create(cancelled, bucket, "k", writes([]byte("x"))), context.Canceled)
}

// Nothing is sent to a server that the authorities do not vouch for, nor without credentials of one's own.
func TestRefusesWhatIsNotTrusted(t *testing.T) {
	_, cfg := fixture(t)
	unknown := cfg
	unknown.CAFile = ""
	s, err := New(unknown)
	require.NoError(t, err)
	require.ErrorContains(t, s.Create(t.Context(), bucket, "x", writes(nil)), "certificate")

	for _, endpoint := range []string{"http://127.0.0.1:9000", "127.0.0.1", "https://user@host", "https://"} {
		bad := cfg
		bad.Endpoint = endpoint
		_, err := New(bad)
		require.Error(t, err, endpoint)
	}
	for name, text := range map[string]string{"empty": "", "no secret": "aws_access_key_id=a\n", "another line": "aws_access_key_id=a\ns3cr3t\n"} {
		require.NoError(t, os.WriteFile(cfg.CredentialsFile, []byte(text), 0o600))
		s, err := New(cfg)
		require.NoError(t, err)
		err = s.Create(t.Context(), bucket, "x", writes(nil))
		require.ErrorContains(t, err, "credentials of the object store", name)
		require.NotContains(t, err.Error(), "s3cr3t")
	}
	require.NoError(t, os.Chmod(cfg.CredentialsFile, 0o644))
	s, err = New(cfg)
	require.NoError(t, err)
	require.ErrorContains(t, s.Create(t.Context(), bucket, "x", writes(nil)), "mode 0644")
	t.Setenv("AWS_ACCESS_KEY_ID", "demo")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "demo-secret")
	cfg.CredentialsFile = ""
	s, err = New(cfg)
	require.NoError(t, err)
	require.NoError(t, s.Create(t.Context(), bucket, "x", writes(nil)))
}

// Parts of an object are read by their place, and a whole archive of segments through them.
func TestReadsParts(t *testing.T) {
	s, _ := fixture(t)
	ctx, content := t.Context(), random(1<<20)
	_, err := s.Size(ctx, bucket, "a/segment")
	require.ErrorIs(t, err, fs.ErrNotExist)
	_, err = s.ReadAt(ctx, bucket, "a/segment", make([]byte, 10), 0)
	require.ErrorIs(t, err, fs.ErrNotExist)
	archive := segment.Archive{Directory: "s3://" + bucket + "/a", Objects: s}
	require.False(t, archive.Marked(ctx))
	require.NoError(t, archive.Mark(ctx, "demo"))
	require.NoError(t, archive.Mark(ctx, "demo"))
	require.True(t, archive.Marked(ctx))
	require.NoError(t, archive.Create(ctx, "segment", writes(content)))
	require.ErrorIs(t, archive.Create(ctx, "segment", writes(content)), fs.ErrExist)
	size, err := s.Size(ctx, bucket, "a/segment")
	require.NoError(t, err)
	require.EqualValues(t, len(content), size)
	for _, part := range [][2]int{{0, 1}, {0, len(content)}, {1000, 70_000}, {len(content) - 1, 1}} {
		p := make([]byte, part[1])
		n, err := s.ReadAt(ctx, bucket, "a/segment", p, int64(part[0]))
		require.NoError(t, err)
		require.Equal(t, part[1], n)
		require.True(t, bytes.Equal(content[part[0]:part[0]+part[1]], p))
	}
	n, err := s.ReadAt(ctx, bucket, "a/segment", make([]byte, 10), size-5)
	require.ErrorIs(t, err, io.EOF)
	require.Equal(t, 5, n)
	sum, length, err := archive.Sum(ctx, "segment")
	require.NoError(t, err)
	want := sha256.Sum256(content)
	require.Equal(t, hex.EncodeToString(want[:]), sum)
	require.Equal(t, size, length)
	_, _, err = archive.Open(ctx, "segment")
	require.ErrorIs(t, err, segment.ErrFormat, "these bytes are no segment")
	_, _, err = archive.Open(ctx, "other")
	require.ErrorIs(t, err, segment.ErrUnreachable)
	gone, err := archive.Remove(ctx, "segment")
	require.NoError(t, err)
	require.True(t, gone)
	gone, err = archive.Remove(ctx, "segment")
	require.NoError(t, err)
	require.False(t, gone)
}
