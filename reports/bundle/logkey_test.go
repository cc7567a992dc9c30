package bundle_test

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/stretchr/testify/require"

	"conclave/custodian"
	"conclave/custodian/identity"
	"conclave/custodian/ledger"
	"conclave/custodian/store"
	"conclave/reports/bundle"
	"conclave/reports/internal/fixture"
)

// rotate replaces the world's log key as the governed operation does.
func rotate(t *testing.T, w *fixture.World) *ledger.LogKey {
	t.Helper()
	keys := w.Store.LogKeys()
	next, err := ledger.GenerateLogKey(filepath.Join(t.TempDir(), "log.key"), keys.Origin())
	require.NoError(t, err)
	w.Store.OfferLogKey(next)
	detail, err := json.Marshal(ledger.RotationDetail(keys.Newest(), next.VerifierKey))
	require.NoError(t, err)
	_, err = w.Store.Control(t.Context(), func(tx *store.Tx) error {
		tx.HandOver(next.VerifierKey)
		return tx.Append(ledger.Entry{Type: ledger.RotationType, Actor: identity.Principal{Kind: identity.Node, ID: w.Node.Node}, Node: w.Node.Node,
			Target: ledger.Target{Type: "logkey", ID: custodian.LogKeyRow}, Outcome: ledger.Done, Detail: detail})
	})
	require.NoError(t, err)
	_, err = w.Store.Append(t.Context(), fixture.AnyUse(), w.Store.View().Epoch())
	require.NoError(t, err)
	return next
}

// A bundle from after rotations verifies from the key that was pinned before them; by program and by page alike.
func TestInvariant09_BundleShowsTheSuccessionOfTheLogKey(t *testing.T) {
	t.Parallel()
	w := fixture.New(t, custodian.Production)
	pinned := w.Trust(t)
	page := openPage(t)
	for n := 1; n <= 2; n++ {
		rotate(t, w)
		path := write(t, w, w.Node)
		r, err := bundle.Verify(t.Context(), path, pinned)
		require.NoError(t, err)
		require.True(t, r.Anchored)
		require.Contains(t, strings.Join(r.Checked, "\n"), "succeeds the one which the trust file pins")
		class, words, checks := page.verify(t, path, pinned)
		require.Equal(t, "good", class, words)
		require.Contains(t, checks, "succeeds the one which the trust file pins")
		require.Equal(t, n, strings.Count(checks, "which the old key and the new one signed"))

		known, err := pinned.Follow(w.Store.LogKeys().Handovers()...)
		require.NoError(t, err)
		for _, trust := range []*ledger.TrustFile{known, nil} {
			_, err = bundle.Verify(t.Context(), path, trust)
			require.NoError(t, err)
		}
		class, words, checks = page.verify(t, path, known)
		require.Equal(t, "good", class, words)
		require.Contains(t, checks, "signed by a log key that the trust file pins")
	}
}

func TestInvariant09_ForgedSuccessionInABundleIsRefused(t *testing.T) {
	t.Parallel()
	w := fixture.New(t, custodian.Production)
	pinned := w.Trust(t)
	old := w.Config.LogKey
	rotate(t, w)
	files := unpack(t, write(t, w, w.Node))
	keys := w.Store.LogKeys()
	head, err := keys.Open(files["checkpoint"])
	require.NoError(t, err)
	handed, err := keys.Open([]byte(keys.Handovers()[0]))
	require.NoError(t, err)
	forger, err := ledger.GenerateLogKey(filepath.Join(t.TempDir(), "log.key"), keys.Origin())
	require.NoError(t, err)
	page := openPage(t)

	stated := func(change func(k *bundle.Keys)) func(f map[string][]byte) {
		return func(f map[string][]byte) {
			var k bundle.Keys
			require.NoError(t, json.Unmarshal(f["keys.json"], &k))
			change(&k)
			raw, err := json.Marshal(k)
			require.NoError(t, err)
			value := jsontext.Value(raw)
			require.NoError(t, value.Canonicalize())
			f["keys.json"] = value
		}
	}
	sign := func(h ledger.Head, by *ledger.LogKey, also ...*ledger.LogKey) string {
		note, err := ledger.SignHead(by.Signer, keys.Origin(), h)
		if len(also) > 0 {
			note, err = ledger.SignHead(by.Signer, keys.Origin(), h, also[0].Signer)
		}
		require.NoError(t, err)
		return string(note)
	}
	toForger := handed
	toForger.Next = forger.VerifierKey
	elsewhere := handed
	elsewhere.Root[0] ^= 1
	for name, c := range map[string]struct {
		change func(f map[string][]byte)
		want   error
	}{
		"old key signs on":           {func(f map[string][]byte) { f["checkpoint"] = []byte(sign(head, old)) }, bundle.ErrSignature},
		"no handover":                {stated(func(k *bundle.Keys) { k.Handovers = nil }), bundle.ErrSignature},
		"new key vouches for itself": {stated(func(k *bundle.Keys) { k.Handovers = []string{sign(toForger, forger)} }), bundle.ErrSignature},
		"new key did not sign":       {stated(func(k *bundle.Keys) { k.Handovers = []string{sign(toForger, old)} }), bundle.ErrSignature},
	} {
		f := map[string][]byte{}
		for k, v := range files {
			f[k] = v
		}
		c.change(f)
		resignCanonical(t, f, w.Node)
		path := pack(t, f)
		_, err := bundle.Verify(t.Context(), path, pinned)
		require.ErrorIs(t, err, c.want, name)
		requireAgree(t, name, page, path, pinned, err)
	}

	// The thief of the old key hands over, at the same place, a log that is another.
	other := map[string][]byte{}
	for k, v := range files {
		other[k] = v
	}
	elsewhere.Next = forger.VerifierKey
	stated(func(k *bundle.Keys) { k.Handovers = []string{sign(elsewhere, old, forger)} })(other)
	other["checkpoint"] = []byte(sign(head, forger))
	resignCanonical(t, other, w.Node)
	path := pack(t, other)
	_, err = bundle.Verify(t.Context(), path, pinned)
	require.Error(t, err)
	known, followErr := pinned.Follow(keys.Handovers()...)
	require.NoError(t, followErr)
	_, err = bundle.Verify(t.Context(), path, known)
	require.ErrorIs(t, err, bundle.ErrFork)
	requireAgree(t, "fork at the rotation", page, path, known, err)
}
