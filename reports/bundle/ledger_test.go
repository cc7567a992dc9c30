package bundle_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"conclave/custodian"
	"conclave/custodian/ledger"
	"conclave/reports"
	"conclave/reports/bundle"
	"conclave/reports/internal/fixture"
)

const (
	controlPack, controlCover = "ledger/control/000000.entries", "ledger/control.hashes"
	periodPack, periodCover   = "ledger/period/000000.entries", "ledger/period.hashes"
)

// within builds a bundle of a period within bounds.
func within(t *testing.T, w *fixture.World, from, to time.Time, control, entries, leaves int) string {
	t.Helper()
	src := w.Source(t)
	request := lightest()
	request.From, request.To = from, to
	r, err := reports.Generate(t.Context(), src, request, fixture.Now())
	require.NoError(t, err)
	path := filepath.Join(t.TempDir(), "evidence.zip")
	f, err := os.Create(path)
	require.NoError(t, err)
	require.NoError(t, bundle.BuildWithin(t.Context(), f, src, r, w.Node, control, entries, leaves))
	require.NoError(t, f.Close())
	return path
}

// repack takes the entries of a packed file apart, has them changed, and packs them again.
func repack(t *testing.T, data []byte, change func(entries [][]byte) [][]byte) []byte {
	t.Helper()
	var entries [][]byte
	for raw, err := range ledger.ReadBundle(data) {
		require.NoError(t, err)
		entries = append(entries, bytes.Clone(raw))
	}
	var out []byte
	var err error
	for _, raw := range change(entries) {
		out, err = ledger.AppendBundle(out, raw)
		require.NoError(t, err)
	}
	return out
}

func repacked(name string, change func(entries [][]byte) [][]byte) func(t *testing.T, b built, files map[string][]byte) {
	return func(t *testing.T, _ built, files map[string][]byte) {
		require.Contains(t, files, name)
		files[name] = repack(t, files[name], change)
	}
}

func without(i int) func(entries [][]byte) [][]byte {
	return func(entries [][]byte) [][]byte { return slices.Delete(entries, i, i+1) }
}

func swapped(i, j int) func(entries [][]byte) [][]byte {
	return func(entries [][]byte) [][]byte {
		entries[i], entries[j] = entries[j], entries[i]
		return entries
	}
}

func edited(old, with string) func(entries [][]byte) [][]byte {
	return func(entries [][]byte) [][]byte {
		i := slices.IndexFunc(entries, func(e []byte) bool { return bytes.Contains(e, []byte(old)) })
		entries[i] = bytes.Replace(entries[i], []byte(old), []byte(with), 1)
		return entries
	}
}

// What the node itself leaves out, moves or rewrites of the ledger is named, although it signs the manifest anew.
func TestInvariant09_NodeThatLeavesOutOfTheLedgerIsNamed(t *testing.T) {
	t.Parallel()
	b := build(t)
	period := func(change func(p *bundle.Period)) func(t *testing.T, b built, files map[string][]byte) {
		return func(t *testing.T, _ built, files map[string][]byte) {
			var p bundle.Period
			require.NoError(t, json.Unmarshal(files["ledger/period.json"], &p))
			change(&p)
			var err error
			files["ledger/period.json"], err = json.Marshal(p)
			require.NoError(t, err)
		}
	}
	cases := map[string]struct {
		change func(t *testing.T, b built, files map[string][]byte)
		want   error
		file   string
	}{
		"control entry left out":      {repacked(controlPack, without(12)), bundle.ErrLeftOut, controlPack},
		"first control entry":         {repacked(controlPack, without(0)), bundle.ErrLeftOut, controlPack},
		"last control entry":          {repacked(controlPack, func(e [][]byte) [][]byte { return e[:len(e)-1] }), bundle.ErrLeftOut, "ledger/control/"},
		"control entries swapped":     {repacked(controlPack, swapped(3, 4)), bundle.ErrLeftOut, controlPack},
		"control entry twice":         {repacked(controlPack, func(e [][]byte) [][]byte { return slices.Insert(e, 5, e[4]) }), bundle.ErrLeftOut, controlPack},
		"control entry edited":        {repacked(controlPack, edited(`"outcome":"done"`, `"outcome":"deny"`)), bundle.ErrLeftOut, controlCover},
		"control plane gone":          {drop(controlPack), bundle.ErrLeftOut, "ledger/control/"},
		"cover edited":                {flip(controlCover), bundle.ErrLeftOut, controlCover},
		"cover cut":                   {func(_ *testing.T, _ built, f map[string][]byte) { f[periodCover] = append(f[periodCover], 1) }, bundle.ErrFormat, periodCover},
		"period entry left out":       {repacked(periodPack, without(20)), bundle.ErrLeftOut, periodPack},
		"last period entry":           {repacked(periodPack, func(e [][]byte) [][]byte { return e[:len(e)-1] }), bundle.ErrLeftOut, "ledger/period.json"},
		"period entries swapped":      {repacked(periodPack, swapped(20, 21)), bundle.ErrLeftOut, periodPack},
		"period entry edited":         {repacked(periodPack, edited(`"outcome":"allow"`, `"outcome":"deny"`)), bundle.ErrLeftOut, periodCover},
		"period cut at its end":       {period(func(p *bundle.Period) { p.End-- }), bundle.ErrLeftOut, "entries/000000000047.json"},
		"period cut at its beginning": {period(func(p *bundle.Period) { p.First++ }), bundle.ErrLeftOut, "entries/000000000000.json"},
		"unknown form":                {period(func(p *bundle.Period) { p.Form = "none" }), bundle.ErrFormat, "ledger/period.json"},
		"invented checkpoint":         {period(func(p *bundle.Period) { p.After = 34 }), bundle.ErrFormat, "ledger/period.json"},
		"chain begun later":           {period(func(p *bundle.Period) { p.ControlFrom = 4 }), bundle.ErrLeftOut, "ledger/period.json"},
		"packed file renamed": {func(_ *testing.T, _ built, f map[string][]byte) {
			f["ledger/period/000001.entries"] = f[periodPack]
			delete(f, periodPack)
		}, bundle.ErrMissing, periodPack},
		"counts against the entries": {replace("report.json", `"custodian.add":5`, `"custodian.add":4`), bundle.ErrCitation, "report.json"},
		"an entry of another ledger": {func(t *testing.T, _ built, f map[string][]byte) {
			f[periodPack] = unpack(t, build(t).path)[periodPack]
		}, bundle.ErrLeftOut, periodCover},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			files := unpack(t, b.path)
			resigned(c.change)(t, b, files)
			_, err := bundle.Verify(t.Context(), pack(t, files), b.world.Trust(t))
			requireFault(t, err, c.want, c.file)
		})
	}
}

func requireFault(t *testing.T, err, want error, file string) {
	t.Helper()
	require.ErrorIs(t, err, want)
	var fault *bundle.FileError
	require.ErrorAs(t, err, &fault)
	require.Equal(t, file, fault.File)
}

// A period in the middle of the ledger is bounded by checkpoints kept around it, however much of it is in the bundle.
func TestInvariant09_PeriodIsCompleteInEveryForm(t *testing.T) {
	t.Parallel()
	w := fixture.New(t, custodian.Production)
	from, to := fixture.Days(3), fixture.Days(7)
	for name, c := range map[string]struct {
		control, entries, leaves int
		form                     string
		whole                    bool
	}{
		"entries":               {1000, 1000, 1000, "entries", true},
		"leaves":                {1000, 2, 1000, "leaves", true},
		"subtrees":              {1000, 2, 2, "subtrees", true},
		"control plane too big": {20, 1000, 1000, "entries", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := within(t, w, from, to, c.control, c.entries, c.leaves)
			r, err := bundle.Verify(t.Context(), path, w.Trust(t))
			require.NoError(t, err)
			require.Equal(t, c.whole, r.Complete)
			require.Positive(t, r.PeriodEntries)
			files := unpack(t, path)
			var p bundle.Period
			require.NoError(t, json.Unmarshal(files["ledger/period.json"], &p))
			require.Equal(t, c.form, p.Form)
			require.Positive(t, p.Start)
			require.Positive(t, p.After)
			require.Equal(t, r.PeriodEntries, p.End-p.First)

			// A hash of the period, a checkpoint around it and its proof cannot be changed either.
			for name, want := range map[string]error{"ledger/period/000000.": bundle.ErrLeftOut, "ledger/start.hashes": bundle.ErrFork,
				"ledger/end.hashes": bundle.ErrFork, "ledger/start": bundle.ErrSignature, "ledger/end": bundle.ErrSignature} {
				bad := unpack(t, path)
				for file := range bad {
					if file != name && !(strings.HasSuffix(name, ".") && strings.HasPrefix(file, name)) {
						continue
					}
					if c.form == "entries" && strings.HasPrefix(name, "ledger/period/") {
						continue
					}
					flip(file)(t, built{}, bad)
					resign(t, bad, w.Node)
					_, err := bundle.Verify(t.Context(), pack(t, bad), w.Trust(t))
					require.ErrorIs(t, err, want, file)
				}
			}
		})
	}
}

// A checkpoint that the very log key signed for another log is a fork, whether the bundle holds it or the trust file.
func TestInvariant09_ForkIsNamed(t *testing.T) {
	t.Parallel()
	w := fixture.New(t, custodian.Production)
	origin := w.Trust(t).Origin
	path := within(t, w, fixture.Days(3), fixture.Days(7), 1000, 1000, 1000)
	files := unpack(t, path)
	head, err := ledger.OpenHead(files["ledger/start"], origin, w.Config.LogKey.Verifier)
	require.NoError(t, err)
	head.Root[0] ^= 1
	files["ledger/start"], err = ledger.SignHead(w.Config.LogKey.Signer, origin, head)
	require.NoError(t, err)
	resign(t, files, w.Node)
	_, err = bundle.Verify(t.Context(), pack(t, files), w.Trust(t))
	requireFault(t, err, bundle.ErrFork, "ledger/start")

	trust := w.Trust(t)
	trust.Least = string(files["ledger/start"])
	_, err = bundle.Verify(t.Context(), path, trust)
	requireFault(t, err, bundle.ErrFork, "checkpoint")

	head.Root[0] ^= 1
	genuine, err := ledger.SignHead(w.Config.LogKey.Signer, origin, head)
	require.NoError(t, err)
	trust.Least = string(genuine)
	r, err := bundle.Verify(t.Context(), path, trust)
	require.NoError(t, err)
	require.Contains(t, strings.Join(r.Checked, "\n"), "The log continues the trust file's checkpoint")
}

// A bundle of a database that was set back shows fewer entries than the trust file's checkpoint.
func TestInvariant09_RolledBackBundleIsNamed(t *testing.T) {
	t.Parallel()
	b := build(t)
	_, err := b.world.Store.Append(t.Context(), fixture.AnyUse(), b.world.Store.View().Epoch())
	require.NoError(t, err)
	trust := b.world.Trust(t)
	trust.Least = string(b.world.Store.Checkpoint())
	_, err = bundle.Verify(t.Context(), b.path, trust)
	requireFault(t, err, bundle.ErrRollback, "checkpoint")
}

// Signatures of people are checked against the ceremonies that they stand under, not taken from the row's word.
func TestInvariant02_UnsignedOrMisappliedApprovalIsNamed(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(t *testing.T, c fixture.Ceremony){
		"no signature": func(_ *testing.T, c fixture.Ceremony) { delete(votes(c)[0], "envelope") },
		"another's vote": func(_ *testing.T, c fixture.Ceremony) {
			votes(c)[0]["envelope"], votes(c)[1]["envelope"] = votes(c)[1]["envelope"], votes(c)[0]["envelope"]
		},
		"other parameters":  func(_ *testing.T, c fixture.Ceremony) { c["params"] = map[string]any{"id": "else"} },
		"other operation":   func(_ *testing.T, c fixture.Ceremony) { c["operation"] = "key.destroy" },
		"other policy":      func(_ *testing.T, c fixture.Ceremony) { c["policy_digest"] = "00" },
		"vote turned":       func(_ *testing.T, c fixture.Ceremony) { votes(c)[0]["decision"] = "reject" },
		"approver unsigned": func(_ *testing.T, c fixture.Ceremony) { c["approvers"] = []string{"boris"} },
		"unknown person":    func(_ *testing.T, c fixture.Ceremony) { votes(c)[0]["person"] = "eve" },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := fixture.New(t, custodian.Production)
			c := fixture.Governed("cer-late", "key.rotate", "cards", fixture.Now().Add(-time.Second), "efua", "dana", "chen")
			w.Sign(t, w.History, c)
			change(t, c)
			w.PutCeremony(t, c)
			_, err := bundle.Verify(t.Context(), write(t, w, w.Node), w.Trust(t))
			requireFault(t, err, bundle.ErrTranscript, "rows/ceremony/cer-late.json")
		})
	}
}

func votes(c fixture.Ceremony) []map[string]any { return c["votes"].([]map[string]any) }
