package dek_test

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"maps"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"conclave/custodian/dek"
)

func TestValidateContextRefusesAndNamesThePair(t *testing.T) {
	many := make(map[string]string)
	for i := range dek.MaxContextPairs {
		many[fmt.Sprint("name-", i)] = strings.Repeat("v", dek.MaxContextValue)
	}
	require.NoError(t, dek.ValidateContext(nil))
	require.NoError(t, dek.ValidateContext(map[string]string{}))
	require.NoError(t, dek.ValidateContext(map[string]string{strings.Repeat("n", dek.MaxContextName): "", "ключ": "значение"}))
	require.NoError(t, dek.ValidateContext(many))
	tooMany := maps.Clone(many)
	tooMany["one-more"] = ""

	for _, c := range []struct {
		name    string
		context map[string]string
		message string
	}{
		{"too many", tooMany, "17 pairs"},
		{"no name", map[string]string{"": "v"}, "name of 0 bytes"},
		{"long name", map[string]string{strings.Repeat("n", dek.MaxContextName+1): "v"}, "name of 65 bytes"},
		{"name not UTF-8", map[string]string{"n\xff": "v"}, `context["n\xff"]`},
		{"long value", map[string]string{"patient": strings.Repeat("v", dek.MaxContextValue+1)}, `context["patient"]: a value of 257 bytes`},
		{"value not UTF-8", map[string]string{"patient": "Doe\xc3"}, `context["patient"]`},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := dek.ValidateContext(c.context)
			require.ErrorIs(t, err, dek.ErrContext)
			require.ErrorContains(t, err, c.message)
			require.NotContains(t, err.Error(), "Doe", "values may be personal data")
		})
	}
}

// The encoding written out for one context, as docs/wire-formats.md says it.
func TestAADBytesAreFixed(t *testing.T) {
	encoding := []byte("conclave encryption context v1")
	encoding = binary.BigEndian.AppendUint32(encoding, 2)
	for _, s := range []string{"a", "", "b", "value"} {
		encoding = binary.BigEndian.AppendUint32(encoding, uint32(len(s)))
		encoding = append(encoding, s...)
	}
	digest := sha256.Sum256(encoding)
	want := append([]byte("before|header"), digest[:]...)
	require.Equal(t, want, dek.AAD([]byte("before|"), []byte("header"), dek.HashContext(map[string]string{"b": "value", "a": ""})))
}

func TestNoContextIsTheEmptyContext(t *testing.T) {
	require.Equal(t, dek.HashContext(nil), dek.HashContext(map[string]string{}))
	require.NotEqual(t, dek.HashContext(nil), dek.HashContext(map[string]string{"": ""}))
}

// Contexts whose text runs together the same way must not authenticate as each other.
func TestContextHashIsUnambiguous(t *testing.T) {
	seen := make(map[dek.ContextHash]map[string]string)
	for _, context := range []map[string]string{
		nil, {"a": "b"}, {"ab": ""}, {"": "ab"}, {"b": "a"}, {"a": "b", "c": "d"}, {"a": "bcd"}, {"abc": "d"},
		{"a": "b\x00\x00\x00\x01c\x00\x00\x00\x01d"}, {"A": "b"}, {"a": "B"}, {"\u00e9": ""}, {"e\u0301": ""},
	} {
		hash := dek.HashContext(context)
		require.NotContains(t, seen, hash, "%q and %q", context, seen[hash])
		seen[hash] = context
	}
}

func TestContextHashDependsOnContentOnly(t *testing.T) {
	contexts := rapid.MapOfN(rapid.StringN(1, 16, 64), rapid.StringN(0, 64, 256), 0, 16)
	rapid.Check(t, func(t *rapid.T) {
		a, b := contexts.Draw(t, "a"), contexts.Draw(t, "b")
		require.NoError(t, dek.ValidateContext(a))
		copied := maps.Collect(maps.All(a))
		require.Equal(t, dek.HashContext(a), dek.HashContext(copied))
		require.Equal(t, maps.Equal(a, b), dek.HashContext(a) == dek.HashContext(b))
	})
}

func BenchmarkCiphertext(b *testing.B) {
	context := map[string]string{"tenant": "north", "table": "cards", "row": "4711"}
	ct := append(dek.AppendHeader(nil, sampleHeader()), make([]byte, 92)...)
	b.Run("Parse", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, _, _, err := dek.Parse(ct); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("AAD", func(b *testing.B) {
		b.ReportAllocs()
		header, buffer := ct[:53], make([]byte, 0, 192)
		for b.Loop() {
			if len(dek.AAD(buffer, header, dek.HashContext(context))) == 0 {
				b.Fatal("empty")
			}
		}
	})
}
