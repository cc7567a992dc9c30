package bundle_test

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"conclave/custodian"
	"conclave/custodian/ledger"
	"conclave/reports/bundle"
	"conclave/reports/internal/fixture"
)

// cosign has a witness sign the world's newest checkpoint, as the service keeps it.
func cosign(t *testing.T, w *fixture.World, name string) *ledger.Witness {
	t.Helper()
	witness, err := ledger.GenerateWitness(filepath.Join(t.TempDir(), "key"), name)
	require.NoError(t, err)
	note := w.Store.Checkpoint()
	line, err := witness.Cosign(note, fixture.Now())
	require.NoError(t, err)
	signed, err := ledger.AddCosignature(note, line, witness.Key)
	require.NoError(t, err)
	require.NoError(t, w.Store.SaveCosigned(t.Context(), w.Store.View().Head().Size, witness.Key.String(), signed))
	return witness
}

// What a witness saw is in the bundle, with the proof that the log continues it; by program and by page alike.
func TestInvariant09_BundleShowsWhatWitnessesSaw(t *testing.T) {
	t.Parallel()
	w := fixture.New(t, custodian.Production)
	audit := cosign(t, w, "witness.example/audit")
	cosign(t, w, "witness.example/other")
	_, err := w.Store.Append(t.Context(), fixture.AnyUse(), w.Store.View().Epoch())
	require.NoError(t, err)
	path := write(t, w, w.Node)
	page := openPage(t)

	trust := w.Trust(t)
	r, err := bundle.Verify(t.Context(), path, trust)
	require.NoError(t, err)
	require.Zero(t, r.Witnesses)
	require.Contains(t, strings.Join(r.Checked, "\n"), "they were not checked")

	trust.WitnessKeys = []string{audit.Key.String()}
	r, err = bundle.Verify(t.Context(), path, trust)
	require.NoError(t, err)
	require.Equal(t, 1, r.Witnesses)
	require.Contains(t, strings.Join(r.Checked, "\n"), "Witness witness.example/audit signed on 2026-04-02T09:00:00Z that it saw the checkpoint")
	class, _, checks := page.verify(t, path, trust)
	require.Equal(t, "good", class)
	require.Contains(t, checks, "Witness witness.example/audit signed on 2026-04-02T09:00:00.000Z")

	stranger, err := ledger.GenerateWitness(filepath.Join(t.TempDir(), "key"), "witness.example/stranger")
	require.NoError(t, err)
	trust.WitnessKeys = []string{stranger.Key.String()}
	r, err = bundle.Verify(t.Context(), path, trust)
	require.NoError(t, err)
	require.Contains(t, strings.Join(r.Checked, "\n"), "that others saw the same ledger is NOT shown")
}

// A cosignature that was made up, and one of a log that forked, are named.
func TestInvariant09_FalseCosignatureIsNamed(t *testing.T) {
	t.Parallel()
	w := fixture.New(t, custodian.Production)
	witness := cosign(t, w, "witness.example/audit")
	trust := w.Trust(t)
	trust.WitnessKeys = []string{witness.Key.String()}
	path := write(t, w, w.Node)
	page := openPage(t)
	const note = "ledger/witnessed/000000.note"

	files := unpack(t, path)
	text := string(files[note])
	last := strings.LastIndex(text, " ")
	files[note] = []byte(text[:last+20] + flipBase64(text[last+20:]))
	resignCanonical(t, files, w.Node)
	altered := pack(t, files)
	_, err := bundle.Verify(t.Context(), altered, trust)
	requireFault(t, err, bundle.ErrWitness, note)
	requireAgree(t, "false cosignature", page, altered, trust, err)

	files = unpack(t, path)
	head, err := ledger.OpenHead(files[note], trust.Origin, w.Config.LogKey.Verifier)
	require.NoError(t, err)
	head.Root[3] ^= 1
	forked, err := ledger.SignHead(w.Config.LogKey.Signer, trust.Origin, head)
	require.NoError(t, err)
	line, err := witness.Cosign(forked, fixture.Now())
	require.NoError(t, err)
	files[note] = append(forked, line...)
	resignCanonical(t, files, w.Node)
	altered = pack(t, files)
	_, err = bundle.Verify(t.Context(), altered, trust)
	requireFault(t, err, bundle.ErrFork, note)
	requireAgree(t, "witness of a fork", page, altered, trust, err)
}

// flipBase64 changes the first letter.
func flipBase64(s string) string {
	if s[0] == 'A' {
		return "B" + s[1:]
	}
	return "A" + s[1:]
}
