package filecrypt_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"conclave/app/client/filecrypt"
	"conclave/hsm/secret"
)

const chunk = filecrypt.MinChunk

// sealedChunk is the size of a full chunk in the file.
const sealedChunk = chunk + 28

func randomBytes(n int) []byte {
	b := make([]byte, n)
	rand.Read(b)
	return b
}

// encrypted returns a file, its data key, and where its chunks begin.
func encrypted(t testing.TB, plain []byte, encryptionContext map[string]string) (file []byte, key *secret.Bytes, body int) {
	t.Helper()
	key = secret.Random(filecrypt.DataKeyBytes)
	h, err := filecrypt.NewHeader(key, []byte("wrapped data key"), encryptionContext, chunk)
	require.NoError(t, err)
	head, err := h.Encode()
	require.NoError(t, err)
	var out bytes.Buffer
	n, err := filecrypt.Encrypt(context.Background(), &out, bytes.NewReader(plain), key, h)
	require.NoError(t, err)
	require.EqualValues(t, len(plain), n)
	return out.Bytes(), key, len(head)
}

func decrypt(file []byte, key *secret.Bytes) ([]byte, error) {
	src := bytes.NewReader(file)
	h, err := filecrypt.ReadHeader(src)
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	_, err = filecrypt.Decrypt(context.Background(), &out, src, key, h)
	return out.Bytes(), err
}

func TestRoundTripAtEverySize(t *testing.T) {
	for _, n := range []int{0, 1, chunk - 1, chunk, chunk + 1, 2*chunk - 1, 2 * chunk, 3*chunk + 7} {
		plain := randomBytes(n)
		file, key, _ := encrypted(t, plain, map[string]string{"file": "a"})
		got, err := decrypt(file, key)
		require.NoError(t, err, "size %d", n)
		require.True(t, bytes.Equal(plain, got), "size %d", n)
	}
}

func TestRoundTripThroughSlowReaders(t *testing.T) {
	plain := randomBytes(chunk + 100)
	key := secret.Random(filecrypt.DataKeyBytes)
	h, err := filecrypt.NewHeader(key, []byte("w"), nil, chunk)
	require.NoError(t, err)
	var out bytes.Buffer
	_, err = filecrypt.Encrypt(t.Context(), &out, oneByte{bytes.NewReader(plain)}, key, h)
	require.NoError(t, err)
	got, err := decrypt(out.Bytes(), key)
	require.NoError(t, err)
	require.True(t, bytes.Equal(plain, got))
}

type oneByte struct{ r io.Reader }

func (o oneByte) Read(p []byte) (int, error) { return o.r.Read(p[:min(1, len(p))]) }

func TestSameFileTwiceDiffers(t *testing.T) {
	key := secret.Random(filecrypt.DataKeyBytes)
	var files [2]bytes.Buffer
	for i := range files {
		h, err := filecrypt.NewHeader(key, []byte("w"), nil, chunk)
		require.NoError(t, err)
		_, err = filecrypt.Encrypt(t.Context(), &files[i], strings.NewReader("the same"), key, h)
		require.NoError(t, err)
	}
	require.NotEqual(t, files[0].Bytes(), files[1].Bytes())
}

// TestEveryTamperingIsNamed covers what can be done to a file's chunks.
func TestEveryTamperingIsNamed(t *testing.T) {
	plain := randomBytes(3*chunk + 500)
	file, key, body := encrypted(t, plain, nil)
	other, _, otherBody := encrypted(t, plain, nil)
	piece := func(f []byte, body, i int) []byte {
		return f[body+i*sealedChunk : min(len(f), body+(i+1)*sealedChunk)]
	}
	join := func(parts ...[]byte) []byte { return bytes.Join(parts, nil) }
	head := file[:body]
	flip := func(at int) []byte {
		b := bytes.Clone(file)
		b[at] ^= 1
		return b
	}
	for name, c := range map[string]struct {
		file []byte
		want error
	}{
		"bit in first nonce":      {flip(body), filecrypt.ErrAltered},
		"bit in ciphertext":       {flip(body + sealedChunk + 100), filecrypt.ErrAltered},
		"bit in last tag":         {flip(len(file) - 1), filecrypt.ErrAltered},
		"bit in salt":             {flip(6), filecrypt.ErrWrongKey},
		"bit in commitment":       {flip(6 + 32), filecrypt.ErrWrongKey},
		"chunks swapped":          {join(head, piece(file, body, 1), piece(file, body, 0), piece(file, body, 2), piece(file, body, 3)), filecrypt.ErrAltered},
		"chunk repeated":          {join(head, piece(file, body, 0), piece(file, body, 0), piece(file, body, 1), piece(file, body, 2), piece(file, body, 3)), filecrypt.ErrAltered},
		"middle chunk dropped":    {join(head, piece(file, body, 0), piece(file, body, 2), piece(file, body, 3)), filecrypt.ErrAltered},
		"last chunk dropped":      {file[:body+3*sealedChunk], filecrypt.ErrTruncated},
		"cut in last chunk":       {file[:len(file)-10], filecrypt.ErrAltered},
		"cut in a chunk":          {file[:body+sealedChunk+50], filecrypt.ErrAltered},
		"cut right after header":  {head, filecrypt.ErrTruncated},
		"cut below a nonce":       {file[:body+5], filecrypt.ErrTruncated},
		"one byte appended":       {join(file, []byte{0}), filecrypt.ErrAltered},
		"chunk of another file":   {join(head, piece(other, otherBody, 0), file[body+sealedChunk:]), filecrypt.ErrAltered},
		"everything of another":   {join(head, other[otherBody:]), filecrypt.ErrAltered},
		"chunk size exponent":     {flip(5), filecrypt.ErrAltered},
		"empty file":              {nil, filecrypt.ErrFormat},
		"other format":            {[]byte("PK\x03\x04 something else entirely"), filecrypt.ErrFormat},
		"cut in header":           {file[:40], filecrypt.ErrTruncated},
		"cut in wrapped data key": {file[:body-8], filecrypt.ErrTruncated},
		"later version":           {join([]byte("CVF1\x02"), file[5:]), filecrypt.ErrVersion},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := decrypt(c.file, key)
			require.ErrorIs(t, err, c.want)
			require.True(t, bytes.HasPrefix(plain, got), "only authentic plaintext, in its place, was written")
		})
	}
}

func TestDataAfterAFullLastChunkIsNamed(t *testing.T) {
	file, key, _ := encrypted(t, randomBytes(2*chunk), nil)
	_, err := decrypt(append(bytes.Clone(file), 'x'), key)
	require.ErrorIs(t, err, filecrypt.ErrAppended)
}

func TestWrongDataKeyIsNamed(t *testing.T) {
	file, _, _ := encrypted(t, []byte("text"), nil)
	got, err := decrypt(file, secret.Random(filecrypt.DataKeyBytes))
	require.ErrorIs(t, err, filecrypt.ErrWrongKey)
	require.Empty(t, got)
	_, err = decrypt(file, secret.Random(16))
	require.ErrorContains(t, err, "allowed: 32")
}

func TestAnyFlippedBitIsRefused(t *testing.T) {
	plain := randomBytes(200)
	file, key, body := encrypted(t, plain, map[string]string{"k": "v"})
	rapid.Check(t, func(t *rapid.T) {
		// The wrapped key and its context are the service's to authenticate: bits of them are its to refuse.
		at := rapid.IntRange(0, len(file)-70-1).Draw(t, "byte")
		if at >= 70 {
			at += body - 70
		}
		if at >= len(file) {
			return
		}
		b := bytes.Clone(file)
		b[at] ^= 1 << rapid.IntRange(0, 7).Draw(t, "bit")
		if got, err := decrypt(b, key); err == nil || len(got) > 0 {
			t.Fatalf("byte %d: %v", at, err)
		}
	})
}

func TestCancelledContextStops(t *testing.T) {
	key := secret.Random(filecrypt.DataKeyBytes)
	h, err := filecrypt.NewHeader(key, []byte("w"), nil, chunk)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = filecrypt.Encrypt(ctx, io.Discard, strings.NewReader("x"), key, h)
	require.ErrorIs(t, err, context.Canceled)
}

func TestReadErrorsAreNotAnEnd(t *testing.T) {
	key := secret.Random(filecrypt.DataKeyBytes)
	h, err := filecrypt.NewHeader(key, []byte("w"), nil, chunk)
	require.NoError(t, err)
	broken := errors.New("disk gave up")
	_, err = filecrypt.Encrypt(t.Context(), io.Discard, io.MultiReader(bytes.NewReader(randomBytes(chunk)), failing{broken}), key, h)
	require.ErrorIs(t, err, broken)
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

func TestHeaderBounds(t *testing.T) {
	long := strings.Repeat("x", filecrypt.MaxContext)
	for name, h := range map[string]filecrypt.Header{
		"chunk too small":     {ChunkSize: 1 << 15, Wrapped: []byte("w")},
		"chunk too large":     {ChunkSize: 1 << 21, Wrapped: []byte("w")},
		"chunk between":       {ChunkSize: 100_000, Wrapped: []byte("w")},
		"no wrapped key":      {ChunkSize: chunk},
		"wrapped key long":    {ChunkSize: chunk, Wrapped: make([]byte, filecrypt.MaxWrapped+1)},
		"context long":        {ChunkSize: chunk, Wrapped: []byte("w"), Context: map[string]string{"k": long}},
		"context not UTF-8":   {ChunkSize: chunk, Wrapped: []byte("w"), Context: map[string]string{"k": "\xff"}},
		"context many fields": {ChunkSize: chunk, Wrapped: []byte("w"), Context: manyFields(filecrypt.MaxContextFields + 1)},
	} {
		_, err := h.Encode()
		require.ErrorContains(t, err, "allowed", name)
	}
}

func manyFields(n int) map[string]string {
	m := map[string]string{}
	for i := range n {
		m[strings.Repeat("k", i+1)] = ""
	}
	return m
}

// TestVector opens the file in docs/file-format.md: the format never changes silently.
func TestVector(t *testing.T) {
	doc, err := os.ReadFile("../../../docs/file-format.md")
	require.NoError(t, err)
	dataKey := vectorField(t, string(doc), "data key")
	file := vectorField(t, string(doc), "file")
	got, err := decrypt(file, secret.New(dataKey))
	require.NoError(t, err)
	require.Equal(t, "the quick brown fox", string(got))
	h, err := filecrypt.ReadHeader(bytes.NewReader(file))
	require.NoError(t, err)
	require.Equal(t, map[string]string{"purpose": "vector"}, h.Context)
	require.Equal(t, "wrapped by the service", string(h.Wrapped))
}

func vectorField(t *testing.T, doc, name string) []byte {
	t.Helper()
	_, rest, found := strings.Cut(doc, "\n"+name+":\n")
	require.True(t, found, name)
	text, _, _ := strings.Cut(rest, "\n\n")
	b, err := hex.DecodeString(strings.Join(strings.Fields(text), ""))
	require.NoError(t, err, name)
	return b
}

func FuzzReadHeader(f *testing.F) {
	file, _, _ := encrypted(f, []byte("text"), map[string]string{"a": "b", "c": "d"})
	f.Add(file)
	f.Add([]byte("CVF1"))
	f.Add(file[:71])
	f.Fuzz(func(t *testing.T, data []byte) {
		h, err := filecrypt.ReadHeader(bytes.NewReader(data))
		if err != nil {
			return
		}
		again, err := h.Encode()
		if err != nil || !bytes.HasPrefix(data, again) {
			t.Fatalf("a header that was read does not encode to the same bytes: %v", err)
		}
	})
}
