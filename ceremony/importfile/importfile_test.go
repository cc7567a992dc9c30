package importfile_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"conclave/ceremony/importfile"
	"conclave/ceremony/keyfile"
	"conclave/custodian/ledger"
	"conclave/hsm"
	"conclave/hsm/keypair"
	"conclave/hsm/keywrap"
	"conclave/hsm/secret"
)

var now = time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)

// made is a node with a wrapping key, and the trust file that pins it.
type made struct {
	node    *keyfile.Signer
	trust   *ledger.TrustFile
	private *keypair.Private
	key     importfile.WrappingKey
}

func newMade(t testing.TB) *made {
	t.Helper()
	node, err := keyfile.Generate("node-1", "ES256")
	require.NoError(t, err)
	approval, err := node.Public().ApprovalKey.Public()
	require.NoError(t, err)
	pinned, err := ledger.NewNodeKey("node-1", approval)
	require.NoError(t, err)
	encoded, public, err := keypair.Generate(hsm.RSAOAEP3072)
	require.NoError(t, err)
	m := &made{node: node, trust: &ledger.TrustFile{Instance: "instance", NodeKeys: []ledger.NodeKey{pinned}}}
	require.NoError(t, encoded.Use(func(b []byte) (err error) {
		m.private, err = keypair.ParsePrivate(hsm.RSAOAEP3072, b)
		return err
	}))
	m.key = importfile.WrappingKey{Instance: "instance", Node: "node-1", WrappingKey: "k1", Keystore: "soft", Algorithm: hsm.RSAOAEP3072, Public: public,
		CheckValue: keypair.CheckValue(public), ExpiresAt: now.Add(time.Hour)}
	return m
}

func (m *made) signed(t testing.TB, change func(*importfile.WrappingKey)) []byte {
	t.Helper()
	w := m.key
	if change != nil {
		change(&w)
	}
	envelope, err := importfile.Sign(m.node, w)
	require.NoError(t, err)
	return envelope
}

func TestWrappingKeyFile(t *testing.T) {
	m := newMade(t)
	w, err := importfile.Open(m.signed(t, nil), m.trust, now)
	require.NoError(t, err)
	require.Equal(t, "k1", w.WrappingKey)
	for name, c := range map[string]struct {
		change func(*importfile.WrappingKey)
		want   error
	}{
		"of another instance":     {func(w *importfile.WrappingKey) { w.Instance = "another" }, importfile.ErrUntrusted},
		"naming another node":     {func(w *importfile.WrappingKey) { w.Node = "node-2" }, importfile.ErrUntrusted},
		"expired":                 {func(w *importfile.WrappingKey) { w.ExpiresAt = now }, importfile.ErrExpired},
		"of another algorithm":    {func(w *importfile.WrappingKey) { w.Algorithm = hsm.RSAOAEP4096 }, importfile.ErrFile},
		"with another public one": {func(w *importfile.WrappingKey) { w.CheckValue = "0000000000" }, importfile.ErrFile},
		"without a public half":   {func(w *importfile.WrappingKey) { w.Public = nil }, importfile.ErrFile},
	} {
		_, err := importfile.Open(m.signed(t, c.change), m.trust, now)
		require.ErrorIs(t, err, c.want, name)
	}
	other := newMade(t)
	_, err = importfile.Open(other.signed(t, nil), m.trust, now)
	require.ErrorIs(t, err, importfile.ErrUntrusted, "signed by somebody else")
	_, err = importfile.Open(make([]byte, 16<<10+1), m.trust, now)
	require.ErrorIs(t, err, importfile.ErrFile)
}

func TestWrappedKeyFile(t *testing.T) {
	m := newMade(t)
	key := secret.Random(32)
	blob, err := importfile.Prepare(&m.key, hsm.AES256, key)
	require.NoError(t, err)
	encoded, err := blob.Encode()
	require.NoError(t, err)
	again, err := importfile.ParseBlob(encoded)
	require.NoError(t, err)
	require.Equal(t, blob, again)
	opened, err := keywrap.Unwrap(hsm.RSAOAEP3072, m.private, again.Wrapped)
	require.NoError(t, err)
	require.True(t, opened.Equal(key))
	_, err = importfile.Prepare(&m.key, hsm.AES256, secret.Random(16))
	require.ErrorIs(t, err, hsm.ErrKeyForm)
	for _, bad := range []string{"", "{}", `{"format":"another"}`, string(encoded) + "x", `{"format":"conclave wrapped key v1","format":"conclave wrapped key v1"}`, `{"format":"conclave wrapped key v1","more":1}`} {
		_, err = importfile.ParseBlob([]byte(bad))
		require.ErrorIs(t, err, importfile.ErrFile, bad)
	}
}

// FuzzOpen: nothing is believed but what the pinned node has signed.
func FuzzOpen(f *testing.F) {
	m := newMade(f)
	good := m.signed(f, nil)
	f.Add(good)
	f.Add(m.signed(f, func(w *importfile.WrappingKey) { w.Instance = "another" }))
	f.Add([]byte(`{"payload":"e30=","payloadType":"x","signatures":[{"keyid":"","sig":""}]}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		if w, err := importfile.Open(raw, m.trust, now); err == nil {
			require.Equal(t, m.key.Fingerprint(), w.Fingerprint())
		}
	})
}

// FuzzParseBlob: what is taken is written again as something that reads the same.
func FuzzParseBlob(f *testing.F) {
	m := newMade(f)
	blob, err := importfile.Prepare(&m.key, hsm.AES256, secret.Random(32))
	require.NoError(f, err)
	encoded, err := blob.Encode()
	require.NoError(f, err)
	f.Add(encoded)
	f.Add([]byte(`{"format":"conclave wrapped key v1","wrapped":"AA=="}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		b, err := importfile.ParseBlob(raw)
		if err != nil {
			require.ErrorIs(t, err, importfile.ErrFile)
			return
		}
		encoded, err := b.Encode()
		require.NoError(t, err)
		again, err := importfile.ParseBlob(encoded)
		require.NoError(t, err)
		require.Equal(t, b, again)
	})
}
