package dek_test

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"conclave/custodian/dek"
	"conclave/hsm"
)

func sampleHeader() dek.Header {
	return dek.Header{
		Development: true,
		Algorithm:   hsm.AlgorithmDerivedAES256GCM,
		Instance:    [16]byte{0: 0x11, 15: 0xff},
		Key:         "card-data.2026_eu",
		Version:     0x01020304,
		ProtectedAt: time.Date(2026, 11, 23, 12, 0, 0, 123_000_000, time.UTC),
	}
}

// The bytes of the format, written out: a change of any of them breaks every stored ciphertext.
func TestHeaderBytesAreFixed(t *testing.T) {
	require.Equal(t, "434e434c"+ // magic
		"01"+"01"+"01"+ // format, flags, algorithm
		"110000000000000000000000000000ff"+ // instance
		"01020304"+ // version
		"000001a20846fe7b"+ // protected_at
		"11"+hex.EncodeToString([]byte("card-data.2026_eu")),
		hex.EncodeToString(dek.AppendHeader(nil, sampleHeader())))
}

func TestParseGivesBackWhatWasWritten(t *testing.T) {
	keyIDs := rapid.StringMatching(`[a-z0-9][a-z0-9._-]{0,63}`)
	rapid.Check(t, func(t *rapid.T) {
		h := dek.Header{
			Development: rapid.Bool().Draw(t, "development"),
			Algorithm:   rapid.SampledFrom([]hsm.Algorithm{hsm.AlgorithmDerivedAES256GCM, hsm.AlgorithmWrappedAES256GCM}).Draw(t, "algorithm"),
			Key:         keyIDs.Draw(t, "key"),
			Version:     rapid.Uint32Min(1).Draw(t, "version"),
			ProtectedAt: time.UnixMilli(rapid.Int64Range(0, 253402300799999).Draw(t, "ms")).UTC(),
		}
		copy(h.Instance[:], rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "instance"))
		body := rapid.SliceOfN(rapid.Byte(), 0, 300).Draw(t, "body")

		headerBytes := dek.AppendHeader([]byte("before"), h)[len("before"):]
		require.LessOrEqual(t, len(headerBytes), dek.MaxHeader)
		got, gotHeader, gotBody, err := dek.Parse(append(bytes.Clone(headerBytes), body...))
		require.NoError(t, err)
		require.Equal(t, h, got)
		require.Equal(t, headerBytes, gotHeader)
		require.True(t, bytes.Equal(body, gotBody))
	})
}

func TestProtectedAtIsCutToMilliseconds(t *testing.T) {
	h := sampleHeader()
	h.ProtectedAt = h.ProtectedAt.Add(999 * time.Microsecond).In(time.FixedZone("", 3600))
	got, _, _, err := dek.Parse(dek.AppendHeader(nil, h))
	require.NoError(t, err)
	require.Equal(t, sampleHeader().ProtectedAt, got.ProtectedAt)
}

func TestParseRefusesAndNamesTheField(t *testing.T) {
	valid := append(dek.AppendHeader(nil, sampleHeader()), "body"...)
	set := func(offset int, values ...byte) []byte {
		ct := bytes.Clone(valid)
		copy(ct[offset:], values)
		return ct
	}
	for _, c := range []struct {
		name  string
		ct    []byte
		kind  error
		field string
	}{
		{"empty", nil, dek.ErrCiphertext, "magic"},
		{"magic alone", valid[:4], dek.ErrCiphertext, "magic"},
		{"other magic", set(0, 'c'), dek.ErrCiphertext, "magic"},
		{"text", []byte(strings.Repeat("not a ciphertext ", 10)), dek.ErrCiphertext, "magic"},
		{"format 0", set(4, 0), dek.ErrUnsupported, "format"},
		{"format 2", set(4, 2), dek.ErrUnsupported, "format"},
		{"format 2, short", set(4, 2)[:5], dek.ErrUnsupported, "format"},
		{"unknown flag", set(5, 2), dek.ErrUnsupported, "flags"},
		{"algorithm 0", set(6, 0), dek.ErrUnsupported, "algorithm"},
		{"algorithm 255", set(6, 255), dek.ErrUnsupported, "algorithm"},
		{"version 0", set(23, 0, 0, 0, 0), dek.ErrCiphertext, "version"},
		{"year 10000", set(27, 0, 0, 0xE6, 0x77, 0xD2, 0x1F, 0xDC, 0), dek.ErrCiphertext, "protected_at"},
		{"time of all ones", set(27, 255, 255, 255, 255, 255, 255, 255, 255), dek.ErrCiphertext, "protected_at"},
		{"no key id", set(35, 0), dek.ErrCiphertext, "key"},
		{"key id beyond the end", set(35, 64), dek.ErrCiphertext, "length"},
		{"key id too long", append(set(35, 65), make([]byte, 100)...), dek.ErrCiphertext, "key"},
		{"upper case key id", set(36, 'C'), dek.ErrCiphertext, "key"},
		{"key id with a leading dot", set(36, '.'), dek.ErrCiphertext, "key"},
		{"key id with NUL", set(37, 0), dek.ErrCiphertext, "key"},
		{"too long", append(bytes.Clone(valid), make([]byte, dek.MaxCiphertext)...), dek.ErrCiphertext, "length"},
	} {
		t.Run(c.name, func(t *testing.T) {
			h, header, body, err := dek.Parse(c.ct)
			require.ErrorIs(t, err, c.kind)
			var fieldError *dek.FieldError
			require.ErrorAs(t, err, &fieldError)
			require.Equal(t, c.field, fieldError.Field)
			require.NotEmpty(t, fieldError.Allowed)
			require.Equal(t, dek.Header{}, h)
			require.Nil(t, header)
			require.Nil(t, body)
		})
	}
	for length := range len(valid) - len("body") {
		_, _, _, err := dek.Parse(valid[:length])
		require.ErrorIs(t, err, dek.ErrCiphertext, "cut to %d bytes", length)
	}
}

// Header bytes handed out cannot be grown into the body behind them.
func TestParsedHeaderHasNoSpareCapacity(t *testing.T) {
	_, header, body, err := dek.Parse(append(dek.AppendHeader(nil, sampleHeader()), "body"...))
	require.NoError(t, err)
	require.Equal(t, len(header), cap(header))
	require.Equal(t, "body", string(body))
}

func TestAppendHeaderPanicsOnInvalidHeader(t *testing.T) {
	for name, change := range map[string]func(h *dek.Header){
		"zero algorithm": func(h *dek.Header) { h.Algorithm = 0 },
		"no key":         func(h *dek.Header) { h.Key = "" },
		"long key":       func(h *dek.Header) { h.Key = strings.Repeat("k", 65) },
		"version 0":      func(h *dek.Header) { h.Version = 0 },
		"no time":        func(h *dek.Header) { h.ProtectedAt = time.Time{} },
		"year 10000":     func(h *dek.Header) { h.ProtectedAt = time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC) },
	} {
		h := sampleHeader()
		change(&h)
		require.Error(t, h.Validate(), name)
		require.Panics(t, func() { dek.AppendHeader(nil, h) }, name)
	}
}

func FuzzParse(f *testing.F) {
	valid := append(dek.AppendHeader(nil, sampleHeader()), make([]byte, 92)...)
	f.Add(valid)
	f.Add(valid[:40])
	f.Add([]byte("CNCL\x01"))
	f.Add([]byte{})
	random := make([]byte, 128)
	_, _ = rand.Read(random)
	f.Add(append([]byte("CNCL\x01\x00\x01"), random...))
	f.Fuzz(func(t *testing.T, ct []byte) {
		h, header, body, err := dek.Parse(ct)
		if err != nil {
			var fieldError *dek.FieldError
			require.ErrorAs(t, err, &fieldError)
			return
		}
		require.NoError(t, h.Validate())
		require.Equal(t, header, dek.AppendHeader(nil, h), "one header, one encoding")
		require.True(t, bytes.Equal(ct, append(bytes.Clone(header), body...)), "nothing is lost")
	})
}
