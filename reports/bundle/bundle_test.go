package bundle_test

import (
	"archive/zip"
	"bytes"
	"compress/flate"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"conclave/custodian"
	"conclave/custodian/dsse"
	"conclave/custodian/identity"
	"conclave/custodian/ledger"
	"conclave/custodian/people"
	"conclave/custodian/store"
	"conclave/reports"
	"conclave/reports/bundle"
	"conclave/reports/internal/fixture"
)

// built is a bundle on disk and the world that it comes from.
type built struct {
	world *fixture.World
	path  string
}

func build(t *testing.T, change ...func(*fixture.History)) built {
	t.Helper()
	return buildOf(t, lightest(), change...)
}

func buildOf(t *testing.T, request reports.Request, change ...func(*fixture.History)) built {
	t.Helper()
	w := fixture.New(t, custodian.Production, change...)
	return built{w, writeOf(t, w, w.Node, request)}
}

// lightest asks for the framework of the fewest controls. What a bundle shows of ledger, rows and signatures does not
// depend on what is judged, but most of a bundle is the report and its page.
func lightest() reports.Request {
	request := fixture.Request()
	request.Framework = "nist-800-57"
	return request
}

func write(t *testing.T, w *fixture.World, by bundle.Identity) string {
	t.Helper()
	return writeOf(t, w, by, lightest())
}

func writeOf(t *testing.T, w *fixture.World, by bundle.Identity, request reports.Request) string {
	t.Helper()
	var b bytes.Buffer
	src := w.Source(t)
	r, err := reports.Generate(t.Context(), src, request, fixture.Now())
	require.NoError(t, err)
	require.NoError(t, bundle.Build(t.Context(), &b, src, r, by))
	path := filepath.Join(t.TempDir(), "evidence.zip")
	require.NoError(t, os.WriteFile(path, b.Bytes(), 0o600))
	return path
}

func unpack(t *testing.T, path string) map[string][]byte {
	t.Helper()
	z, err := zip.OpenReader(path)
	require.NoError(t, err)
	defer z.Close()
	out := map[string][]byte{}
	for _, f := range z.File {
		r, err := f.Open()
		require.NoError(t, err)
		out[f.Name], err = io.ReadAll(r)
		require.NoError(t, err)
		require.NoError(t, r.Close())
	}
	return out
}

func pack(t *testing.T, files map[string][]byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "altered.zip")
	f, err := os.Create(path)
	require.NoError(t, err)
	z := zip.NewWriter(f)
	for name, data := range files {
		w, err := z.Create(name)
		require.NoError(t, err)
		_, err = w.Write(data)
		require.NoError(t, err)
	}
	require.NoError(t, z.Close())
	require.NoError(t, f.Close())
	return path
}

// resign makes manifest and signature anew, as the node itself could: what is left to catch is then inside.
func resign(t *testing.T, files map[string][]byte, by bundle.Identity) {
	t.Helper()
	var m bundle.Manifest
	require.NoError(t, json.Unmarshal(files["MANIFEST.json"], &m))
	m.Files = nil
	for name, data := range files {
		if !strings.HasPrefix(name, "MANIFEST") {
			sum := sha256.Sum256(data)
			m.Files = append(m.Files, bundle.FileHash{Path: name, Bytes: int64(len(data)), SHA256: hex.EncodeToString(sum[:])})
		}
	}
	manifest, err := json.Marshal(m)
	require.NoError(t, err)
	signManifest(t, files, manifest, by)
}

func signManifest(t *testing.T, files map[string][]byte, manifest []byte, by bundle.Identity) {
	t.Helper()
	envelope, err := dsse.SignUpTo(by.Signer, bundle.PayloadType, manifest, 1<<20)
	require.NoError(t, err)
	files["MANIFEST.json"], files["MANIFEST.dsse.json"] = manifest, envelope
}

func TestInvariant09_BundleVerifiesOffline(t *testing.T) {
	t.Parallel()
	b := buildOf(t, fixture.Request())
	r, err := bundle.Verify(t.Context(), b.path, b.world.Trust(t))
	require.NoError(t, err)
	require.True(t, r.Anchored)
	require.True(t, r.Complete)
	require.Equal(t, "node-1", r.Node)
	require.Equal(t, 64, len(r.Report.Controls))
	require.Positive(t, r.Withheld)
	require.GreaterOrEqual(t, len(r.Checked), 6)
	require.Contains(t, r.Checked, "The page report.html says what report.json says.")
	require.Contains(t, r.Checked, "Every key, key version, keystore and share set that the ledger knows is among the rows.")
	require.Contains(t, r.Words(), "genuine")
	require.NotContains(t, r.Words(), "DEVELOPMENT")
}

func TestInvariant09_BundleWithoutTrustFileIsUnanchored(t *testing.T) {
	t.Parallel()
	b := build(t)
	r, err := bundle.Verify(t.Context(), b.path, nil)
	require.NoError(t, err)
	require.False(t, r.Anchored)
	require.Contains(t, r.Words(), "self-consistent, unanchored")
}

func TestDevelopmentIsSaid(t *testing.T) {
	t.Parallel()
	w := fixture.New(t, custodian.Development)
	r, err := bundle.Verify(t.Context(), write(t, w, w.Node), w.Trust(t))
	require.NoError(t, err)
	require.Contains(t, r.Words(), "DEVELOPMENT")
}

func TestBundleHoldsNoKeyMaterialAndNoShare(t *testing.T) {
	t.Parallel()
	b := build(t)
	for name, data := range unpack(t, b.path) {
		require.NotContains(t, string(data), "sealed to ada", name)
		require.NotContains(t, string(data), base64.StdEncoding.EncodeToString([]byte("wrapped")), name)
	}
}

func TestTheSameReportGivesTheSameFiles(t *testing.T) {
	t.Parallel()
	b := build(t)
	first, second := unpack(t, b.path), unpack(t, write(t, b.world, b.world.Node))
	delete(first, "MANIFEST.dsse.json") // an ECDSA signature is random
	delete(second, "MANIFEST.dsse.json")
	require.Equal(t, first, second)
}

// anyEntry names an entry that the report cites.
const anyEntry, anyProof = "entries/000000000010.json", "proofs/000000000010.tlog-proof"

func flip(name string) func(t *testing.T, b built, files map[string][]byte) {
	return func(t *testing.T, _ built, files map[string][]byte) {
		require.Contains(t, files, name)
		files[name] = bytes.Clone(files[name])
		files[name][len(files[name])/2] ^= 1
	}
}

func resigned(inner func(t *testing.T, b built, files map[string][]byte)) func(t *testing.T, b built, files map[string][]byte) {
	return func(t *testing.T, b built, files map[string][]byte) {
		inner(t, b, files)
		resign(t, files, b.world.Node)
	}
}

func replace(name, old, with string) func(t *testing.T, b built, files map[string][]byte) {
	return func(t *testing.T, _ built, files map[string][]byte) {
		require.Contains(t, string(files[name]), old)
		files[name] = []byte(strings.Replace(string(files[name]), old, with, 1))
	}
}

func drop(names ...string) func(t *testing.T, b built, files map[string][]byte) {
	return func(t *testing.T, _ built, files map[string][]byte) {
		for _, n := range names {
			require.Contains(t, files, n)
			delete(files, n)
		}
	}
}

func TestInvariant09_EveryAlterationOfABundleIsNamed(t *testing.T) {
	t.Parallel()
	b := buildOf(t, fixture.Request())
	other := build(t)
	cases := map[string]struct {
		change func(t *testing.T, b built, files map[string][]byte)
		want   error
		file   string
	}{
		"report edited":      {replace("report.json", "satisfied", "violated!"), bundle.ErrAltered, "report.json"},
		"page edited":        {flip("report.html"), bundle.ErrAltered, "report.html"},
		"catalogue edited":   {flip("catalogue.json"), bundle.ErrAltered, "catalogue.json"},
		"entry edited":       {flip(anyEntry), bundle.ErrAltered, anyEntry},
		"proof edited":       {flip(anyProof), bundle.ErrAltered, anyProof},
		"checkpoint edited":  {flip("checkpoint"), bundle.ErrAltered, "checkpoint"},
		"row edited":         {flip("rows/person/ada.json"), bundle.ErrAltered, "rows/person/ada.json"},
		"file missing":       {drop(anyEntry), bundle.ErrMissing, anyEntry},
		"no manifest":        {drop("MANIFEST.json"), bundle.ErrMissing, "MANIFEST.json"},
		"no signature":       {drop("MANIFEST.dsse.json"), bundle.ErrMissing, "MANIFEST.dsse.json"},
		"file added":         {func(_ *testing.T, _ built, f map[string][]byte) { f["entries/note.txt"] = []byte("x") }, bundle.ErrExtra, "entries/note.txt"},
		"path out":           {func(_ *testing.T, _ built, f map[string][]byte) { f["../x"] = []byte("x") }, bundle.ErrExtra, "../x"},
		"manifest edited":    {replace("MANIFEST.json", `"mode":"production"`, `"mode":"production","x":1`), bundle.ErrFormat, "MANIFEST.json"},
		"manifest re-dated":  {replace("MANIFEST.json", `"generated_at":"2026`, `"generated_at":"2025`), bundle.ErrAltered, "MANIFEST.json"},
		"another format":     {resigned(replace("MANIFEST.json", bundle.Format, "conclave-evidence-9")), bundle.ErrFormat, "MANIFEST.json"},
		"signed by another":  {func(t *testing.T, _ built, f map[string][]byte) { resign(t, f, fixture.NewNode(t, "node-1")) }, bundle.ErrSignature, "MANIFEST.dsse.json"},
		"node lies":          {resigned(replace("MANIFEST.json", `"node":"node-1"`, `"node":"node-2"`)), bundle.ErrSignature, "MANIFEST.dsse.json"},
		"foreign bundle":     {func(t *testing.T, _ built, f map[string][]byte) { clear(f); copyInto(f, unpack(t, other.path)) }, bundle.ErrForeignInstance, "MANIFEST.json"},
		"node edits entry":   {resigned(replace(anyEntry, `"type":"keystore.register"`, `"type":"keystore.regisTer"`)), bundle.ErrProof, anyEntry},
		"node drops entry":   {resigned(drop(anyEntry, anyProof)), bundle.ErrMissing, anyEntry},
		"node drops genesis": {resigned(drop("entries/000000000000.json", "proofs/000000000000.tlog-proof")), bundle.ErrMissing, "entries/000000000000.json"},
		"node drops proof":   {resigned(drop(anyProof)), bundle.ErrMissing, anyProof},
		"node edits row":     {resigned(replace("rows/person/ada.json", "Ada", "Eve")), bundle.ErrRow, "rows/person/ada.json"},
		"node edits row and index": {resigned(func(t *testing.T, b built, f map[string][]byte) {
			old := sha256.Sum256(f["rows/person/ada.json"])
			replace("rows/person/ada.json", "Ada", "Eve")(t, b, f)
			sum := sha256.Sum256(f["rows/person/ada.json"])
			replace("rows/index.json", hex.EncodeToString(old[:]), hex.EncodeToString(sum[:]))(t, b, f)
		}), bundle.ErrRow, "rows/person/ada.json"},
		"node withholds without reason": {resigned(replace("rows/index.json", `"withheld":"holds a sealed share"`, `"withheld":""`)), bundle.ErrMissing, "rows/index.json"},
		"node swaps checkpoint": {resigned(func(t *testing.T, _ built, f map[string][]byte) {
			f["checkpoint"] = unpack(t, other.path)["checkpoint"]
		}), bundle.ErrSignature, "checkpoint"},
		"report cites too much":    {resigned(replace("report.json", `"ledger":[]`, `"ledger":[999999]`)), bundle.ErrCitation, "report.json"},
		"report counts wrong":      {resigned(replace("report.json", `"counts":{"needs a human":`, `"counts":{"needs a human":1`)), bundle.ErrCitation, "report.json"},
		"verdict against its rows": {resigned(replace("report.json", `"state":"ok"`, `"state":"violating"`)), bundle.ErrCitation, "report.json"},
		"report of another period": {resigned(replace("report.json", `"from":"2026-03-01`, `"from":"2026-02-01`)), bundle.ErrCitation, "report.json"},
		"another catalogue":        {resigned(replace("catalogue.json", `"version":"2026`, `"version":"2025`)), bundle.ErrCitation, "catalogue.json"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			files := unpack(t, b.path)
			c.change(t, b, files)
			_, err := bundle.Verify(t.Context(), pack(t, files), b.world.Trust(t))
			require.ErrorIs(t, err, c.want)
			var file *bundle.FileError
			require.ErrorAs(t, err, &file)
			require.Equal(t, c.file, file.File)
		})
	}
}

func copyInto(to, from map[string][]byte) {
	for k, v := range from {
		to[k] = v
	}
}

// A page that the node signed and that says something else than the report is named.
func TestInvariant09_PageThatSaysOtherwiseIsNamed(t *testing.T) {
	t.Parallel()
	b := build(t)
	files := unpack(t, b.path)
	replace("report.html", "needs a human", "satisfied")(t, b, files)
	resign(t, files, b.world.Node)
	r, err := bundle.Verify(t.Context(), pack(t, files), b.world.Trust(t))
	require.NoError(t, err)
	require.Contains(t, r.Checked[len(r.Checked)-1], "is NOT what this version")
}

// A report that passes over a key is caught by the ledger, which knows it: here the key is of after the period.
func TestInvariant09_KeyThatTheReportPassesOverIsNamed(t *testing.T) {
	t.Parallel()
	w := fixture.New(t, custodian.Production)
	src := w.Source(t)
	request := fixture.Request()
	request.To = fixture.Days(1)
	report, err := reports.Generate(t.Context(), src, request, fixture.Now())
	require.NoError(t, err)
	path := filepath.Join(t.TempDir(), "evidence.zip")
	f, err := os.Create(path)
	require.NoError(t, err)
	require.NoError(t, bundle.Build(t.Context(), f, src, report, w.Node))
	require.NoError(t, f.Close())
	r, err := bundle.Verify(t.Context(), path, w.Trust(t))
	require.NoError(t, err)
	require.Contains(t, strings.Join(r.Checked, "\n"), "that the report does not read: key cards, key_version cards/1.")
}

// An outdated row is true and yet a lie: with the whole control plane at hand it is caught.
func TestInvariant08_OutdatedRowInABundleIsNamed(t *testing.T) {
	t.Parallel()
	w := fixture.New(t, custodian.Production)
	old, err := w.Store.View().Get(custodian.KindPerson, "ada")
	require.NoError(t, err)
	person := *old.Value.(*people.Person)
	person.Name = "Ada the second"
	_, err = w.Store.Control(t.Context(), func(tx *store.Tx) error {
		require.NoError(t, tx.Put(custodian.KindPerson, "ada", person))
		return tx.Append(ledger.Entry{Type: "custodian.alter", Actor: identity.Principal{Kind: identity.Node, ID: "node-1"},
			Target: ledger.Target{Type: "person", ID: "ada"}, Outcome: ledger.Done})
	})
	require.NoError(t, err)
	files := unpack(t, writeOf(t, w, w.Node, fixture.Request()))
	var index bundle.RowIndex
	require.NoError(t, json.Unmarshal(files["rows/index.json"], &index))
	for i, r := range index.Rows {
		if r.Kind == "person" && r.ID == "ada" {
			require.Equal(t, uint64(2), r.Revision)
			index.Rows[i].Revision, index.Rows[i].Seq, index.Rows[i].Hash = 1, old.Seq, hex.EncodeToString(old.Hash[:])
			files[r.File] = old.Body
		}
	}
	files["rows/index.json"], err = json.Marshal(index)
	require.NoError(t, err)
	resign(t, files, w.Node)
	_, err = bundle.Verify(t.Context(), pack(t, files), w.Trust(t))
	require.ErrorIs(t, err, bundle.ErrRow)
	require.ErrorContains(t, err, "a later entry changed person ada")
}

func TestOlderThanTheTrustFilesCheckpoint(t *testing.T) {
	t.Parallel()
	b := build(t)
	trust := b.world.Trust(t)
	trust.Least = string(b.world.Store.Checkpoint())
	_, err := bundle.Verify(t.Context(), b.path, trust)
	require.NoError(t, err)

	_, err = b.world.Store.Append(t.Context(), fixture.AnyUse(), b.world.Store.View().Epoch())
	require.NoError(t, err)
	trust.Least = string(b.world.Store.Checkpoint())
	_, err = bundle.Verify(t.Context(), b.path, trust)
	require.ErrorIs(t, err, bundle.ErrRollback)
}

func TestHostileArchives(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	notZip := filepath.Join(dir, "x")
	require.NoError(t, os.WriteFile(notZip, []byte("no archive"), 0o600))
	_, err := bundle.Verify(t.Context(), notZip, nil)
	require.ErrorIs(t, err, bundle.ErrFormat)

	bomb := filepath.Join(dir, "bomb.zip")
	f, err := os.Create(bomb)
	require.NoError(t, err)
	z := zip.NewWriter(f)
	packed, crc := zeros(t, 257)
	w, err := z.CreateRaw(&zip.FileHeader{Name: "MANIFEST.json", Method: zip.Deflate, UncompressedSize64: 257 << 20, CompressedSize64: uint64(len(packed)), CRC32: crc})
	require.NoError(t, err)
	_, err = w.Write(packed)
	require.NoError(t, err)
	require.NoError(t, z.Close())
	require.NoError(t, f.Close())
	_, err = bundle.Verify(t.Context(), bomb, nil)
	require.ErrorIs(t, err, bundle.ErrTooLarge)

	secondEnd := "PK\x05\x06" + strings.Repeat("\x00", 18)
	for name, comment := range map[string]string{"comment": "see also", "second end": secondEnd + "x", "cut comment": "PK\x05\x06" + strings.Repeat("\x00", 16) + "\x09\x00"} {
		commented := filepath.Join(dir, name)
		f, err = os.Create(commented)
		require.NoError(t, err)
		z = zip.NewWriter(f)
		require.NoError(t, z.SetComment(comment))
		require.NoError(t, z.Close())
		require.NoError(t, f.Close())
		_, err = bundle.Verify(t.Context(), commented, nil)
		require.ErrorIs(t, err, bundle.ErrFormat, name)
	}

	twice := filepath.Join(dir, "twice.zip")
	f, err = os.Create(twice)
	require.NoError(t, err)
	z = zip.NewWriter(f)
	for range 2 {
		_, err = z.Create("report.json")
		require.NoError(t, err)
	}
	require.NoError(t, z.Close())
	require.NoError(t, f.Close())
	_, err = bundle.Verify(t.Context(), twice, nil)
	require.ErrorIs(t, err, bundle.ErrExtra)
}

// zeros is a DEFLATE stream (RFC 1951) of so many MiB of zeros, and their CRC-32: one MiB packed and repeated.
func zeros(t *testing.T, mebibytes int) ([]byte, uint32) {
	t.Helper()
	mebibyte, crc := make([]byte, 1<<20), uint32(0)
	var part, end bytes.Buffer
	w, err := flate.NewWriter(&part, flate.BestSpeed)
	require.NoError(t, err)
	_, err = w.Write(mebibyte)
	require.NoError(t, err)
	require.NoError(t, w.Flush()) // up to a byte's end
	w.Reset(&end)
	require.NoError(t, w.Close())
	for range mebibytes {
		crc = crc32.Update(crc, crc32.IEEETable, mebibyte)
	}
	return append(bytes.Repeat(part.Bytes(), mebibytes), end.Bytes()...), crc
}

func FuzzVerify(f *testing.F) {
	f.Add([]byte("PK\x05\x06" + strings.Repeat("\x00", 18)))
	f.Fuzz(func(t *testing.T, data []byte) {
		path := filepath.Join(t.TempDir(), "b.zip")
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := bundle.Verify(t.Context(), path, nil); err == nil {
			t.Fatal("accepted noise as evidence")
		}
	})
}
