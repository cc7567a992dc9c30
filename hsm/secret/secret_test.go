package secret_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"conclave/hsm/secret"
)

func reveal(t *testing.T, s *secret.Bytes) []byte {
	t.Helper()
	var out []byte
	require.NoError(t, s.Use(func(b []byte) error { out = bytes.Clone(b); return nil }))
	return out
}

func TestNewMovesBytes(t *testing.T) {
	for _, n := range []int{0, 1, 32, 4096, 4097, 100_000} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			source := bytes.Repeat([]byte{0xA5}, n)
			s := secret.New(source)
			defer s.Wipe()
			require.Equal(t, n, s.Len())
			require.Equal(t, make([]byte, n), source, "the source is wiped")
			require.Equal(t, n, bytes.Count(reveal(t, s), []byte{0xA5}))
		})
	}
}

func TestRandomDiffers(t *testing.T) {
	a, b := secret.Random(32), secret.Random(32)
	require.False(t, a.Equal(b))
	require.NotEqual(t, make([]byte, 32), reveal(t, a))
}

func TestUsePassesErrorOn(t *testing.T) {
	want := errors.New("from the caller")
	require.ErrorIs(t, secret.Random(8).Use(func([]byte) error { return want }), want)
}

func TestUseGivesNoSpareCapacity(t *testing.T) {
	s := secret.Random(5)
	require.NoError(t, s.Use(func(b []byte) error {
		require.Equal(t, 5, cap(b))
		return nil
	}))
}

func TestUseAfterPanicStillWipes(t *testing.T) {
	s := secret.Random(8)
	require.Panics(t, func() { _ = s.Use(func([]byte) error { panic("in use") }) })
	s.Wipe()
	require.ErrorIs(t, s.Use(func([]byte) error { return nil }), secret.ErrWiped)
}

func TestInvariant13_WipedSecretIsGone(t *testing.T) {
	s := secret.New([]byte("a secret of some bytes"))
	s.Wipe()
	s.Wipe()
	called := false
	require.ErrorIs(t, s.Use(func([]byte) error { called = true; return nil }), secret.ErrWiped)
	require.False(t, called)
	require.Equal(t, 22, s.Len())
	require.False(t, s.Equal(s))
	require.ErrorIs(t, s.Clone().Use(func([]byte) error { return nil }), secret.ErrWiped)
}

func TestWipeWaitsForTheUseInProgress(t *testing.T) {
	s := secret.New([]byte{1, 2, 3})
	require.NoError(t, s.Use(func(b []byte) error {
		s.Wipe()
		require.ErrorIs(t, s.Use(func([]byte) error { return nil }), secret.ErrWiped, "no new use")
		require.Equal(t, []byte{1, 2, 3}, b, "the use in progress keeps its bytes")
		return nil
	}))
}

func TestEqualAndClone(t *testing.T) {
	a := secret.New([]byte("same"))
	clone := a.Clone()
	require.True(t, a.Equal(clone))
	require.True(t, a.Equal(a))
	require.False(t, a.Equal(secret.New([]byte("other"))))
	require.False(t, a.Equal(secret.New([]byte("sam"))))
	require.False(t, a.Equal(nil))
	a.Wipe()
	require.Equal(t, []byte("same"), reveal(t, clone), "a clone lives by itself")
}

func TestZeroAndNilHoldNothing(t *testing.T) {
	var zero secret.Bytes
	require.ErrorIs(t, zero.Use(func([]byte) error { return nil }), secret.ErrWiped)
	require.Zero(t, zero.Len())
	zero.Wipe()
	var none *secret.Bytes
	none.Wipe()
	require.Zero(t, none.Len())
	require.False(t, none.Equal(&zero))
	require.False(t, none.Locked())
}

func TestInvariant13_SecretRedactsItself(t *testing.T) {
	plain := "PLAINTEXT-SECRET"
	s := secret.New([]byte(plain))
	holder := struct {
		Public  *secret.Bytes
		private *secret.Bytes
		List    []*secret.Bytes
	}{s, s, []*secret.Bytes{s}}
	var log strings.Builder
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "secret", s, "holder", holder)
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", "secret", s, "holder", holder)
	encoded, err := json.Marshal(holder)
	require.NoError(t, err)
	text, err := s.MarshalText()
	require.NoError(t, err)

	shown := []string{log.String(), string(encoded), string(text), s.String(), s.GoString()}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%c", "%08b"} {
		require.Equal(t, secret.Redacted, fmt.Sprintf(verb, s))
		shown = append(shown, fmt.Sprintf(verb, holder), fmt.Sprintf(verb, &holder))
	}
	shown = append(shown, dumps(holder)...)
	for _, out := range shown {
		require.NotEmpty(t, out)
		requireNoTrace(t, out, plain)
	}
	require.Equal(t, `"[redacted]"`, string(mustJSON(t, s)))
}

// dumps are the renderings of tools that walk a value by reflection and ignore its methods.
func dumps(v any) []string {
	var failure failureText
	assert.Equal(&failure, struct{ Holder any }{v}, struct{ Holder any }{})
	all := cmp.Exporter(func(reflect.Type) bool { return true })
	return []string{failure.String(), cmp.Diff([]any{v}, []any{1}, all)}
}

// failureText keeps what a failed assertion prints.
type failureText struct{ strings.Builder }

func (f *failureText) Errorf(format string, args ...any) { fmt.Fprintf(f, format, args...) }

// requireNoTrace looks for the plain text itself, its hexadecimal form and its bytes in decimal.
func requireNoTrace(t *testing.T, out, plain string) {
	t.Helper()
	compact := strings.ToLower(strings.Join(strings.Fields(out), ""))
	require.NotContains(t, out, plain)
	require.NotContains(t, compact, fmt.Sprintf("%x", plain))
	require.NotContains(t, out, strings.Trim(fmt.Sprint([]byte(plain)), "[]"))
}

func mustJSON(t *testing.T, v any) []byte {
	t.Helper()
	b, err := json.Marshal(v)
	require.NoError(t, err)
	return b
}

func TestConcurrentUseAndWipe(t *testing.T) {
	for range 50 {
		s := secret.New(bytes.Repeat([]byte{7}, 64))
		var group sync.WaitGroup
		for range 4 {
			group.Go(func() {
				for {
					err := s.Use(func(b []byte) error {
						if bytes.Count(b, []byte{7}) != 64 {
							return errors.New("bytes changed under a use")
						}
						return nil
					})
					if err != nil {
						if !errors.Is(err, secret.ErrWiped) {
							t.Error(err)
						}
						return
					}
				}
			})
		}
		group.Go(s.Wipe)
		group.Go(s.Wipe)
		group.Wait()
	}
}

func TestForgottenSecretsAreGivenBack(t *testing.T) {
	for range 2_000 {
		require.Equal(t, 32, secret.Random(32).Len())
	}
	runtime.GC() // runs cleanups of what was dropped; must not disturb what lives
	s := secret.New([]byte{9})
	runtime.GC()
	require.Equal(t, []byte{9}, reveal(t, s))
}

func TestWipeHelper(t *testing.T) {
	b := []byte{1, 2, 3}
	secret.Wipe(b[:2])
	require.Equal(t, []byte{0, 0, 3}, b)
	secret.Wipe(nil)
}
