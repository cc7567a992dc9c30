package bundle_test

import (
	"bytes"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/stretchr/testify/require"

	"conclave/reports/bundle"
)

// rewritten has a JSON file changed, and written in its one form.
func rewritten(name string, change func(t *testing.T, v map[string]any)) func(t *testing.T, b built, files map[string][]byte) {
	return func(t *testing.T, _ built, files map[string][]byte) {
		t.Helper()
		v := map[string]any{}
		d := json.NewDecoder(bytes.NewReader(files[name]))
		d.UseNumber()
		require.NoError(t, d.Decode(&v))
		change(t, v)
		raw, err := json.Marshal(v)
		require.NoError(t, err)
		one := jsontext.Value(raw)
		require.NoError(t, one.Canonicalize())
		files[name] = one
	}
}

// rowOf finds a row in the index by its kind.
func rowOf(t *testing.T, index map[string]any, kind string) map[string]any {
	t.Helper()
	rows := index["rows"].([]any)
	i := slices.IndexFunc(rows, func(r any) bool { return r.(map[string]any)["kind"] == kind })
	require.GreaterOrEqual(t, i, 0)
	return rows[i].(map[string]any)
}

// An insider who holds the node's key hides what would show who signed, counts around what is bad, or lets one thing stand for
// two. Program and page name it.
func TestInvariant09_InsiderWhoSignsTheManifestIsNamed(t *testing.T) {
	t.Parallel()
	b := build(t)
	page := openPage(t)
	for name, c := range map[string]struct {
		change func(t *testing.T, b built, files map[string][]byte)
		want   error
		file   string
	}{
		"ceremony withheld": {func(t *testing.T, b built, files map[string][]byte) {
			rewritten("rows/index.json", func(t *testing.T, v map[string]any) {
				row := rowOf(t, v, "ceremony")
				delete(files, row["file"].(string))
				delete(row, "file")
				row["withheld"] = "holds a sealed share"
			})(t, b, files)
		}, bundle.ErrMissing, "rows/index.json"},
		"row twice": {rewritten("rows/index.json", func(t *testing.T, v map[string]any) {
			v["rows"] = append(v["rows"].([]any), maps.Clone(rowOf(t, v, "person")))
		}), bundle.ErrRow, "rows/index.json"},
		"verdict passed over": {rewritten("report.json", func(t *testing.T, v map[string]any) {
			counts := v["counts"].(map[string]any)
			require.NotEqual(t, json.Number("0"), counts["needs a human"])
			delete(counts, "needs a human")
		}), bundle.ErrCitation, "report.json"},
		"rows counted away": {rewritten("report.json", func(t *testing.T, v map[string]any) {
			for _, c := range v["controls"].([]any) {
				result := c.(map[string]any)["result"].(map[string]any)
				tables, _ := result["tables"].([]any)
				if result["verdict"] != "satisfied" || len(tables) == 0 {
					continue
				}
				table := tables[0].(map[string]any)
				rows, _ := table["rows"].([]any)
				if len(rows) == 0 {
					continue
				}
				rows[0].(map[string]any)["state"] = "violating"
				table["violating"] = -1
				return
			}
			require.Fail(t, "no satisfied control with rows")
		}), bundle.ErrCitation, "report.json"},
		"people named by no row": {rewritten("report.json", func(t *testing.T, v map[string]any) {
			ref := v["who"].(map[string]any)["rows"].([]any)[0].(map[string]any)["rows"].([]any)[0].(map[string]any)
			ref["id"] = "nobody"
		}), bundle.ErrCitation, "report.json"},
		"entries counted around": {rewritten("report.json", func(t *testing.T, v map[string]any) {
			v["entries"].(map[string]any)["nothing"] = json.Number("9007199254740991")
		}), bundle.ErrCitation, "report.json"},
		"entry by another name": {func(t *testing.T, _ built, files map[string][]byte) {
			files["entries/0000000000010.json"], files["proofs/0000000000010.tlog-proof"] = files[anyEntry], files[anyProof]
		}, bundle.ErrExtra, "entries/0000000000010.json"},
	} {
		files := unpack(t, b.path)
		c.change(t, b, files)
		resignCanonical(t, files, b.world.Node)
		path := pack(t, files)
		_, err := bundle.Verify(t.Context(), path, b.world.Trust(t))
		require.Error(t, err, name)
		requireFault(t, err, c.want, c.file)
		requireAgree(t, name, page, path, b.world.Trust(t), err)
	}
}

// A ceremony's record that the period wrote and that is not in the bundle is said to be missing: what was signed is not shown.
func TestInvariant09_LeftOutRecordIsSaid(t *testing.T) {
	t.Parallel()
	r := newRecords(t)
	r.put(t)
	files := unpack(t, write(t, r.World, r.Node))
	rewritten("rows/index.json", func(t *testing.T, v map[string]any) {
		v["rows"] = slices.DeleteFunc(v["rows"].([]any), func(row any) bool { return row.(map[string]any)["kind"] == "script_run" })
	})(t, built{}, files)
	delete(files, "rows/script_run/cer-held.json")
	resignCanonical(t, files, r.Node)
	path := pack(t, files)
	res, err := bundle.Verify(t.Context(), path, r.Trust(t))
	require.NoError(t, err)
	const said = "NOT in the bundle: script_run cer-held."
	require.Contains(t, strings.Join(res.Checked, "\n"), said)
	_, words, checks := openPage(t).verify(t, path, r.Trust(t))
	require.Contains(t, checks, said, words)
}
