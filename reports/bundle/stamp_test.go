package bundle_test

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"conclave/custodian"
	"conclave/custodian/timestamp/timestamptest"
	"conclave/reports/bundle"
	"conclave/reports/internal/fixture"
)

// stamped is the world's newest checkpoint with a stamp on it, as the service keeps it.
func stamped(t *testing.T, w *fixture.World, a *timestamptest.Authority) {
	t.Helper()
	note := w.Store.Checkpoint()
	sum := sha256.Sum256(note)
	require.NoError(t, w.Store.SaveTimestamp(t.Context(), w.Store.View().Head().Size, note, a.Token(t, sum[:])))
}

// Time-stamps are checked by program and page alike, whatever the authority's keys.
func TestInvariant09_TimeStampsAreChecked(t *testing.T) {
	t.Parallel()
	page := openPage(t)
	at := time.Now().UTC().Truncate(time.Second)
	for _, rsaKeys := range []bool{false, true} {
		w := fixture.New(t, custodian.Production)
		a := timestamptest.New(t, at, rsaKeys)
		stamped(t, w, a)
		_, err := w.Store.Append(t.Context(), fixture.AnyUse(), w.Store.View().Epoch())
		require.NoError(t, err)
		path, trust := write(t, w, w.Node), w.Trust(t)
		r, err := bundle.Verify(t.Context(), path, trust)
		require.NoError(t, err)
		require.Contains(t, joinedLines(r), "it was not checked")
		_, _, checks := page.verify(t, path, trust)
		require.Contains(t, checks, "it was not checked")

		trust.TimestampRoots = [][]byte{a.Root.Raw}
		r, err = bundle.Verify(t.Context(), path, trust)
		require.NoError(t, err)
		require.Contains(t, joinedLines(r), "existed on "+at.Format(time.RFC3339)+" (RFC 3161)")
		class, words, checks := page.verify(t, path, trust)
		require.Equal(t, "good", class, words)
		require.Contains(t, checks, "existed on "+at.Format("2006-01-02T15:04:05.000Z")+" (RFC 3161)")
	}
}

func joinedLines(r *bundle.Result) string {
	var out bytes.Buffer
	for _, line := range r.Checked {
		out.WriteString(line + "\n")
	}
	return out.String()
}

// What an authority did not stamp, or nobody trusted did, is named by program and page alike.
func TestInvariant09_FalseTimeStampIsNamed(t *testing.T) {
	t.Parallel()
	page := openPage(t)
	at := time.Now().UTC().Truncate(time.Second)
	good := timestamptest.New(t, at, false)
	for name, a := range map[string]*timestamptest.Authority{
		"another authority":    timestamptest.New(t, at, false),
		"for servers":          timestamptest.New(t, at, false, timestamptest.For(x509.ExtKeyUsageServerAuth)),
		"for anything":         timestamptest.New(t, at, false, timestamptest.For()),
		"middle no authority":  timestamptest.New(t, at, false, func(_, middle *x509.Certificate) { middle.IsCA = false }),
		"middle may not issue": timestamptest.New(t, at, false, func(_, middle *x509.Certificate) { middle.KeyUsage = x509.KeyUsageDigitalSignature }),
		"middle for servers":   timestamptest.New(t, at, false, func(_, middle *x509.Certificate) { middle.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} }),
		"certificate over":     timestamptest.New(t, at, false, func(signer, _ *x509.Certificate) { signer.NotAfter = at.Add(-time.Second) }),
		"middle over":          timestamptest.New(t, at, false, func(_, middle *x509.Certificate) { middle.NotBefore = at.Add(time.Second) }),
	} {
		w := fixture.New(t, custodian.Production)
		stamped(t, w, a)
		trust := w.Trust(t)
		trust.TimestampRoots = [][]byte{a.Root.Raw}
		if name == "another authority" {
			trust.TimestampRoots = [][]byte{good.Root.Raw}
		}
		path := write(t, w, w.Node)
		_, err := bundle.Verify(t.Context(), path, trust)
		require.Error(t, err, name)
		requireFault(t, err, bundle.ErrWitness, "ledger/stamped.tsr")
		requireAgree(t, name, page, path, trust, err)
	}

	w := fixture.New(t, custodian.Production)
	other := fixture.New(t, custodian.Production)
	stamped(t, w, good)
	stamped(t, other, good)
	trust := w.Trust(t)
	trust.TimestampRoots = [][]byte{good.Root.Raw}
	path, foreign := write(t, w, w.Node), unpack(t, write(t, other, other.Node))
	token := unpack(t, path)["ledger/stamped.tsr"]
	imprint := sha256.Sum256(unpack(t, path)["ledger/stamped"])
	mark := func(what string, old, with []byte) func(files map[string][]byte) {
		return func(files map[string][]byte) {
			require.Equal(t, 1, bytes.Count(token, old), what)
			files["ledger/stamped.tsr"] = bytes.Replace(token, old, with, 1)
		}
	}
	for name, change := range map[string]func(files map[string][]byte){
		"of another message": func(files map[string][]byte) { files["ledger/stamped.tsr"] = foreign["ledger/stamped.tsr"] },
		"re-dated":           mark("time", []byte(at.Format("20060102150405Z")), []byte(at.Add(-time.Minute).Format("20060102150405Z"))),
		"other imprint":      mark("imprint", imprint[:], make([]byte, 32)),
		"signature flipped": func(files map[string][]byte) {
			f := bytes.Clone(token)
			f[len(f)-1] ^= 1
			files["ledger/stamped.tsr"] = f
		},
		"cut":   func(files map[string][]byte) { files["ledger/stamped.tsr"] = token[:len(token)-9] },
		"empty": func(files map[string][]byte) { files["ledger/stamped.tsr"] = []byte{} },
		"noise": func(files map[string][]byte) { files["ledger/stamped.tsr"] = bytes.Repeat([]byte{48, 128}, 500) },
	} {
		files := unpack(t, path)
		change(files)
		resignCanonical(t, files, w.Node)
		altered := pack(t, files)
		_, err := bundle.Verify(t.Context(), altered, trust)
		require.Error(t, err, name)
		requireFault(t, err, bundle.ErrWitness, "ledger/stamped.tsr")
		requireAgree(t, name, page, altered, trust, err)
	}
}
