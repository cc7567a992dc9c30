package ledger_test

import (
	"bytes"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"conclave/custodian/ledger"
)

// What comes from witnesses, or is said to, never breaks a reader, and what is listed is of a known witness at a time that can be written.
func FuzzCosignatures(f *testing.F) {
	l := newTestLog(f, 5)
	w, err := ledger.GenerateWitness(filepath.Join(f.TempDir(), "w.key"), "witness.example/a")
	require.NoError(f, err)
	note := l.checkpoint()
	line, err := w.Cosign(note, time.Unix(1_790_000_000, 0))
	require.NoError(f, err)
	far, err := w.Cosign(note, time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC))
	require.NoError(f, err)
	f.Add(note, line)
	f.Add(note, far)
	f.Add(note, append(bytes.Clone(line), line...))
	f.Add(note, []byte("— witness.example/a AAAA\n"))
	f.Add([]byte("x\n\n"), line)
	f.Fuzz(func(t *testing.T, note, lines []byte) {
		whole, err := ledger.AddCosignature(note, lines, w.Key)
		if err != nil {
			whole = append(bytes.Clone(note), lines...)
		}
		found, err := ledger.Cosignatures(whole, []*ledger.WitnessKey{w.Key})
		if err != nil {
			return
		}
		for _, c := range found {
			if _, err := c.At.MarshalJSON(); err != nil || c.Witness != w.Key.Name() {
				t.Fatal("a cosignature of nobody, or of no time", c)
			}
		}
	})
}

// A witness that names a time which no calendar has is refused, not told in a report that then cannot be written.
func TestCosignatureOfNoTimeIsRefused(t *testing.T) {
	l := newTestLog(t, 5)
	w, err := ledger.GenerateWitness(filepath.Join(t.TempDir(), "w.key"), "witness.example/a")
	require.NoError(t, err)
	for year, want := range map[int]error{9999: nil, 10000: ledger.ErrSignature} {
		line, err := w.Cosign(l.checkpoint(), time.Date(year, 12, 31, 23, 59, 59, 0, time.UTC))
		require.NoError(t, err)
		_, err = ledger.Cosignatures(append(l.checkpoint(), line...), []*ledger.WitnessKey{w.Key})
		require.ErrorIs(t, err, want)
	}
}

func FuzzParseWitnessKey(f *testing.F) {
	w, err := ledger.GenerateWitness(filepath.Join(f.TempDir(), "w.key"), "witness.example/a")
	require.NoError(f, err)
	f.Add(w.Key.String())
	f.Add("a+00000000+BAAA")
	f.Add(strings.Repeat("+", 500))
	f.Fuzz(func(t *testing.T, text string) {
		if k, err := ledger.ParseWitnessKey(text); err == nil && k.String() != text {
			t.Fatalf("%q reads as %q", text, k)
		}
	})
}

// Handovers that somebody else offers leave a chain as it was, or add to it what its newest key has signed.
func FuzzHandovers(f *testing.F) {
	l := newTestLog(f, 5)
	l.rotate()
	good, err := ledger.EncodeHandovers(l.handed)
	require.NoError(f, err)
	f.Add(good)
	f.Add([]byte(`["a\n\nb",""]`))
	f.Add([]byte(`[]`))
	f.Add(bytes.Replace(good, []byte("— "), []byte("-"), 1))
	f.Fuzz(func(t *testing.T, data []byte) {
		handovers, err := ledger.ParseHandovers(data)
		if err != nil {
			return
		}
		chain, err := ledger.NewKeyChain(l.origin, l.pinned)
		require.NoError(t, err)
		next, err := chain.Follow(handovers...)
		if err != nil {
			return
		}
		for _, key := range next.Keys() {
			if key != l.pinned && key != l.key.VerifierKey {
				t.Fatal("a key that nobody signed", key)
			}
		}
	})
}
