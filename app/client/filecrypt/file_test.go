package filecrypt_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"conclave/app/api"
	"conclave/app/client"
	"conclave/app/client/filecrypt"
	"conclave/hsm/secret"
)

// keeper is a service of one process: it keeps data keys in a map by what it hands out as their wrapped form.
type keeper struct {
	version uint32
	keys    map[string]*secret.Bytes
	context map[string]map[string]string
}

var errNotMine = errors.New("ciphertext is malformed")

func newKeeper() *keeper {
	return &keeper{version: 1, keys: map[string]*secret.Bytes{}, context: map[string]map[string]string{}}
}

func (k *keeper) keep(b *secret.Bytes, c map[string]string) []byte {
	wrapped := string(randomBytes(40))
	k.keys[wrapped], k.context[wrapped] = b, c
	return []byte(wrapped)
}

func (k *keeper) DataKey(_ context.Context, key string, n int, c map[string]string) (client.DataKey, error) {
	b := secret.Random(n)
	return client.DataKey{Key: key, Version: k.version, Plaintext: b, Ciphertext: k.keep(b.Clone(), c)}, nil
}

func (k *keeper) Decrypt(_ context.Context, _ string, in api.DecryptRequest) (client.Plaintext, error) {
	b, ok := k.keys[string(in.Ciphertext)]
	if !ok || len(in.Context) != len(k.context[string(in.Ciphertext)]) {
		return client.Plaintext{}, errNotMine
	}
	return client.Plaintext{Key: "orders", Version: k.version, Bytes: b.Clone()}, nil
}

func (k *keeper) Rewrap(_ context.Context, key string, in api.RewrapRequest) (api.RewrapResponse, error) {
	b, ok := k.keys[string(in.Ciphertext)]
	if !ok {
		return api.RewrapResponse{}, errNotMine
	}
	k.version++
	return api.RewrapResponse{Key: key, Version: k.version, Ciphertext: k.keep(b, in.Context)}, nil
}

func TestFilesRoundTrip(t *testing.T) {
	dir, service := t.TempDir(), newKeeper()
	plain := randomBytes(200_000)
	in, mid, back := filepath.Join(dir, "in"), filepath.Join(dir, "in.cvf"), filepath.Join(dir, "back")
	require.NoError(t, os.WriteFile(in, plain, 0o644))

	done, err := filecrypt.EncryptFile(t.Context(), service, filecrypt.Job{In: in, Out: mid, Key: "orders", Context: map[string]string{"order": "7"}})
	require.NoError(t, err)
	require.Equal(t, filecrypt.Done{Key: "orders", Version: 1, Bytes: 200_000}, done)

	var last int64
	_, err = filecrypt.DecryptFile(t.Context(), service, filecrypt.Job{In: mid, Out: back, Context: map[string]string{"order": "7"}, Progress: func(n int64) { last = n }})
	require.NoError(t, err)
	got, err := os.ReadFile(back)
	require.NoError(t, err)
	require.True(t, bytes.Equal(plain, got))
	info, err := os.Stat(mid)
	require.NoError(t, err)
	require.Equal(t, info.Size(), last)
	info, err = os.Stat(back)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode().Perm(), "plaintext is its owner's only")

	// Rewrapped in place, it opens the same.
	done, err = filecrypt.RewrapFile(t.Context(), service, filecrypt.Job{In: mid, Out: mid, Force: true, Key: "orders"})
	require.NoError(t, err)
	require.EqualValues(t, 2, done.Version)
	var out bytes.Buffer
	_, err = filecrypt.DecryptFile(t.Context(), service, filecrypt.Job{In: mid, Out: filecrypt.Std, Stdout: &out})
	require.NoError(t, err)
	require.True(t, bytes.Equal(plain, out.Bytes()))
}

func TestStandardStreams(t *testing.T) {
	service := newKeeper()
	var sealed, out bytes.Buffer
	_, err := filecrypt.EncryptFile(t.Context(), service, filecrypt.Job{In: "-", Out: "-", Stdin: strings.NewReader("text"), Stdout: &sealed, Key: "orders"})
	require.NoError(t, err)
	_, err = filecrypt.DecryptFile(t.Context(), service, filecrypt.Job{In: "-", Out: "-", Stdin: &sealed, Stdout: &out})
	require.NoError(t, err)
	require.Equal(t, "text", out.String())
}

func TestUnverifiedPlaintextNeverAppears(t *testing.T) {
	dir, service := t.TempDir(), newKeeper()
	in, mid, back := filepath.Join(dir, "in"), filepath.Join(dir, "in.cvf"), filepath.Join(dir, "back")
	require.NoError(t, os.WriteFile(in, randomBytes(3*filecrypt.MinChunk), 0o600))
	_, err := filecrypt.EncryptFile(t.Context(), service, filecrypt.Job{In: in, Out: mid, Key: "orders", ChunkSize: filecrypt.MinChunk})
	require.NoError(t, err)
	info, err := os.Stat(mid)
	require.NoError(t, err)
	require.NoError(t, os.Truncate(mid, info.Size()-filecrypt.MinChunk-28))

	_, err = filecrypt.DecryptFile(t.Context(), service, filecrypt.Job{In: mid, Out: back})
	require.ErrorIs(t, err, filecrypt.ErrTruncated)
	require.NoFileExists(t, back)
	left, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Len(t, left, 2, "no partial file stays behind")

	// An existing target keeps its content, even with force.
	require.NoError(t, os.WriteFile(back, []byte("precious"), 0o644))
	_, err = filecrypt.DecryptFile(t.Context(), service, filecrypt.Job{In: mid, Out: back, Force: true})
	require.ErrorIs(t, err, filecrypt.ErrTruncated)
	kept, err := os.ReadFile(back)
	require.NoError(t, err)
	require.Equal(t, "precious", string(kept))
}

func TestExistingTargetIsLeftAlone(t *testing.T) {
	dir, service := t.TempDir(), newKeeper()
	out := filepath.Join(dir, "out")
	require.NoError(t, os.WriteFile(out, []byte("precious"), 0o600))
	job := filecrypt.Job{In: "-", Out: out, Stdin: strings.NewReader("x"), Key: "orders"}
	_, err := filecrypt.EncryptFile(t.Context(), service, job)
	require.ErrorIs(t, err, filecrypt.ErrExists)
	require.Empty(t, service.keys, "no data key was asked for")
	job.Force = true
	_, err = filecrypt.EncryptFile(t.Context(), service, job)
	require.NoError(t, err)

	job.Out = dir
	_, err = filecrypt.EncryptFile(t.Context(), service, job)
	require.ErrorContains(t, err, "not a regular file")
}

func TestContextIsHeldToWhatWasAskedFor(t *testing.T) {
	service := newKeeper()
	var sealed bytes.Buffer
	_, err := filecrypt.EncryptFile(t.Context(), service, filecrypt.Job{In: "-", Out: "-", Stdin: strings.NewReader("text"), Stdout: &sealed, Key: "orders", Context: map[string]string{"patient": "1"}})
	require.NoError(t, err)
	for _, c := range []map[string]string{{"patient": "2"}, {"other": "1"}} {
		var out bytes.Buffer
		_, err = filecrypt.DecryptFile(t.Context(), service, filecrypt.Job{In: "-", Out: "-", Stdin: bytes.NewReader(sealed.Bytes()), Stdout: &out, Context: c})
		require.ErrorContains(t, err, "encryption context")
		require.Empty(t, out.Bytes())
	}
}

func TestDecryptedName(t *testing.T) {
	require.Equal(t, "dir/a.txt", filecrypt.DecryptedName("dir/a.txt.cvf"))
	require.Empty(t, filecrypt.DecryptedName("dir/a.txt"))
	require.Empty(t, filecrypt.DecryptedName(".cvf"))
	require.Empty(t, filecrypt.DecryptedName("dir/.cvf"))
}
