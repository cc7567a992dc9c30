package component

import (
	"bytes"
	"crypto/sha256"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"conclave/ceremony/shamir"
	"conclave/hsm/secret"
)

func collector(t testing.TB) (*shamir.OpeningKey, shamir.Recipient) {
	t.Helper()
	key, err := shamir.NewOpeningKey()
	require.NoError(t, err)
	recipient, err := key.Recipient()
	require.NoError(t, err)
	return key, recipient
}

func TestComponentTravels(t *testing.T) {
	key, recipient := collector(t)
	value := secret.Random(32)
	defer value.Wipe()
	b := Binding{Ceremony: "c-import", Index: 2}
	sealed, err := Seal(b, value, recipient)
	require.NoError(t, err)
	got, opened, err := Open(key, sealed)
	require.NoError(t, err)
	require.Equal(t, b, got)
	require.True(t, opened.Equal(value))

	other, _ := collector(t)
	_, _, err = Open(other, sealed)
	require.ErrorIs(t, err, ErrNotFor)
	for _, bad := range []string{"", "x", sealed[:len(sealed)-4], strings.Replace(sealed, ".", "..", 1), sealed + sealed, strings.Repeat("A", maxSealed+1)} {
		_, _, err = Open(key, bad)
		require.Error(t, err)
	}
	for _, bad := range []Binding{{}, {Ceremony: "c"}, {Ceremony: strings.Repeat("c", 65), Index: 1}, {Ceremony: "c", Index: 256}} {
		_, err = Seal(bad, value, recipient)
		require.ErrorIs(t, err, ErrSealed)
	}
	for _, n := range []int{0, 65} {
		_, err = Seal(b, secret.New(make([]byte, n)), recipient)
		require.ErrorIs(t, err, ErrSealed, n)
	}
	key.Wipe()
	_, _, err = Open(key, sealed)
	require.ErrorIs(t, err, secret.ErrWiped)
}

// FuzzDecode: what is taken is exactly what encode gives, so that nothing has two readings.
func FuzzDecode(f *testing.F) {
	good, err := encode(Binding{Ceremony: "c-import", Index: 9}, secret.New(bytes.Repeat([]byte{7}, 32)))
	require.NoError(f, err)
	require.NoError(f, good.Use(func(b []byte) error { f.Add(bytes.Clone(b)); return nil }))
	f.Add([]byte("cvkc\x01"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) > tagBytes { // most inputs would end at the tag
			sum := sha256.Sum256(data[:len(data)-tagBytes])
			copy(data[len(data)-tagBytes:], sum[:])
		}
		b, value, err := decode(secret.New(bytes.Clone(data)))
		if err != nil {
			require.ErrorIs(t, err, ErrSealed)
			require.Nil(t, value)
			return
		}
		again, err := encode(b, value)
		require.NoError(t, err)
		require.True(t, again.Equal(secret.New(bytes.Clone(data))))
	})
}

// FuzzOpen: nothing but what was sealed opens.
func FuzzOpen(f *testing.F) {
	key, recipient := collector(f)
	value := secret.New(bytes.Repeat([]byte{7}, 32))
	sealed, err := Seal(Binding{Ceremony: "c-import", Index: 1}, value, recipient)
	require.NoError(f, err)
	f.Add(sealed)
	f.Add("a.b.c.d.e")
	f.Fuzz(func(t *testing.T, data string) {
		if _, opened, err := Open(key, data); err == nil {
			require.True(t, opened.Equal(value))
		}
	})
}
