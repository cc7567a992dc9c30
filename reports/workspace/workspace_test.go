package workspace_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/stretchr/testify/require"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"conclave/custodian"
	"conclave/custodian/ledger"
	"conclave/reports/internal/fixture"
	"conclave/reports/render"
	"conclave/reports/workspace"
)

func open(t *testing.T, w *fixture.World) *workspace.Workspace {
	t.Helper()
	desk, err := workspace.New(w.Source(t))
	require.NoError(t, err)
	return desk
}

func field(t *testing.T, err error) string {
	t.Helper()
	var bad *custodian.InputError
	require.ErrorAs(t, err, &bad)
	return bad.Field
}

func TestPopulations(t *testing.T) {
	w := fixture.New(t, custodian.Production)
	desk := open(t, w)
	all, err := desk.Populations(t.Context(), workspace.Period{}, fixture.Now())
	require.NoError(t, err)
	src := w.Source(t)
	for _, p := range all.Items {
		n := 0
		for range src.Rows(p.Kind) {
			n++
		}
		require.Equal(t, n, p.Existing, p.Kind)
		require.GreaterOrEqual(t, p.Changed, p.Existing, "since the beginning everything was made once: %s", p.Kind)
	}
	i := slices.IndexFunc(all.Items, func(p workspace.Population) bool { return p.Kind == "person" })
	require.Positive(t, all.Items[i].Existing)
	none, err := desk.Populations(t.Context(), workspace.Period{From: fixture.Start().AddDate(-1, 0, 0), To: fixture.Start().AddDate(0, 0, -1)}, fixture.Now())
	require.NoError(t, err)
	for _, p := range none.Items {
		require.Zero(t, p.Changed, p.Kind)
	}
	for name, p := range map[string]workspace.Period{
		"from": {From: fixture.Now().Add(time.Hour)},
		"to":   {From: fixture.Start(), To: fixture.Start().Add(-time.Hour)},
	} {
		_, err := desk.Populations(t.Context(), p, fixture.Now())
		require.Equal(t, name, field(t, err))
	}
}

// TestSampleIsRepeatable draws by the documented rule, without the package.
func TestSampleIsRepeatable(t *testing.T) {
	w := fixture.New(t, custodian.Production)
	desk := open(t, w)
	d := workspace.Draw{Kind: "person", Basis: workspace.Existing, Seed: "4711", Want: 3}
	s, err := desk.Sample(t.Context(), d, fixture.Now())
	require.NoError(t, err)
	members, err := desk.Members(t.Context(), d, "", fixture.Now())
	require.NoError(t, err)
	require.Equal(t, s.Population, members.Total)
	all := sha256.Sum256([]byte(strings.Join(members.Items, "\n") + "\n"))
	require.Equal(t, hex.EncodeToString(all[:]), s.Digest)
	rank := func(id string) string {
		sum := sha256.Sum256([]byte("conclave-sample-1\n" + w.Instance.ID + "\n4711\nperson\n" + id))
		return hex.EncodeToString(sum[:])
	}
	slices.SortFunc(members.Items, func(a, b string) int { return strings.Compare(rank(a), rank(b)) })
	require.Len(t, s.Items, 3)
	for i, x := range s.Items {
		require.Equal(t, members.Items[i], x.ID)
		require.Equal(t, rank(x.ID), x.Rank)
	}
	again, err := open(t, w).Sample(t.Context(), d, fixture.Now())
	require.NoError(t, err)
	require.Equal(t, s, again)
	d.Seed = "4712"
	other, err := desk.Sample(t.Context(), d, fixture.Now())
	require.NoError(t, err)
	require.NotEqual(t, s.Items, other.Items)
	d.Want = workspace.MaxSample
	whole, err := desk.Sample(t.Context(), d, fixture.Now())
	require.NoError(t, err)
	require.Len(t, whole.Items, whole.Population)
	for name, bad := range map[string]workspace.Draw{
		"kind":  {Kind: "secret", Basis: workspace.Existing, Seed: "1", Want: 1},
		"basis": {Kind: "key", Basis: "some", Seed: "1", Want: 1},
		"seed":  {Kind: "key", Basis: workspace.Existing, Seed: "a\nb", Want: 1},
		"want":  {Kind: "key", Basis: workspace.Existing, Seed: "1", Want: workspace.MaxSample + 1},
	} {
		_, err := desk.Sample(t.Context(), bad, fixture.Now())
		require.Equal(t, name, field(t, err))
	}
}

// TestDossierProvesItself checks every line of a dossier as a stranger would, and that a changed word is noticed.
func TestDossierProvesItself(t *testing.T) {
	w := fixture.New(t, custodian.Production)
	desk := open(t, w)
	keys, err := desk.Members(t.Context(), workspace.Draw{Kind: "key", Basis: workspace.Existing}, "", fixture.Now())
	require.NoError(t, err)
	require.NotEmpty(t, keys.Items)
	d, err := desk.Dossier(t.Context(), "key", keys.Items[0], workspace.Beside{}, fixture.Now())
	require.NoError(t, err)
	require.NotEmpty(t, d.Timeline)
	require.Equal(t, "key", d.Facts[0].Row.Kind)
	require.True(t, slices.ContainsFunc(d.Facts, func(f workspace.Fact) bool { return f.Row.Kind == "key_version" }))

	v, err := note.NewVerifier(w.LogKey)
	require.NoError(t, err)
	origin, err := ledger.Origin(w.Instance.ID)
	require.NoError(t, err)
	head, err := ledger.OpenHead([]byte(d.Checkpoint.Note), origin, v)
	require.NoError(t, err)
	for _, e := range d.Timeline {
		require.NoError(t, e.Check())
		var proof tlog.RecordProof
		for _, text := range e.Proof {
			h, err := tlog.ParseHash(text)
			require.NoError(t, err)
			proof = append(proof, h)
		}
		require.NoError(t, ledger.CheckInclusion(proof, head, e.Seq, e.Entry))
	}
	lie := d.Timeline[0]
	lie.Actor = "somebody else"
	require.ErrorIs(t, lie.Check(), workspace.ErrMisquoted)

	raw, err := json.Marshal(d)
	require.NoError(t, err)
	for _, f := range d.Facts {
		if f.Row.Kind != "key_version" {
			continue
		}
		require.Contains(t, f.Withheld, "material")
		require.NotContains(t, string(f.Body), `"material"`)
	}
	back := new(workspace.Dossier)
	require.NoError(t, json.Unmarshal(raw, back))
	require.NoError(t, back.Timeline[0].Check(), "as it was sent")

	var page bytes.Buffer
	require.NoError(t, render.Dossier(&page, d))
	require.Contains(t, page.String(), "pre-activation → active (T4), by ")
	require.Contains(t, page.String(), "<dt>protects until</dt>")
	require.Contains(t, page.String(), d.Number)
	require.NotContains(t, page.String(), "<script")

	_, err = desk.Dossier(t.Context(), "key", "never-was", workspace.Beside{}, fixture.Now())
	require.Equal(t, "id", field(t, err))
}

func TestNumbersOpen(t *testing.T) {
	w := fixture.New(t, custodian.Production)
	desk := open(t, w)
	size := w.Source(t).Checkpoint().Size
	number := workspace.Number{Instance: w.Instance.ID[:8], Size: size - 1, Kind: "entry", ID: "3"}
	x, err := desk.Open(t.Context(), number.String(), workspace.Beside{}, fixture.Now())
	require.NoError(t, err)
	require.EqualValues(t, 3, x.Item.Event.Seq)
	require.NoError(t, x.Item.Event.Check())
	require.Equal(t, []string{number.String(), number.String()}, []string{x.Item.Number, x.Item.Event.Number}, "as it was cited")
	cited := workspace.Number{Instance: number.Instance, Size: 1, Kind: "person", ID: someone(t, desk)}.String()
	d, err := desk.Open(t.Context(), cited, workspace.Beside{}, fixture.Now())
	require.NoError(t, err)
	require.Equal(t, "person", d.Dossier.Kind)
	require.Equal(t, cited, d.Dossier.Cited)
	require.Positive(t, d.Dossier.Newer)
	require.LessOrEqual(t, d.Dossier.Newer, len(d.Dossier.Timeline))
	for _, bad := range []string{"", "EV", "EV-1-2-entry-3", number.String() + "x", strings.ToLower(number.String()), "EV-" + number.Instance + "-0-entry-0",
		"EV-" + number.Instance + "-5-entry-5", "EV-" + number.Instance + "-05-entry-1", "EV-" + number.Instance + "-5-secret-x", "EV-00000000-5-entry-1",
		workspace.Number{Instance: number.Instance, Size: size + 1, Kind: "entry", ID: "1"}.String()} {
		_, err := desk.Open(t.Context(), bad, workspace.Beside{}, fixture.Now())
		require.Equal(t, "number", field(t, err), bad)
	}
}

func someone(t *testing.T, desk *workspace.Workspace) string {
	t.Helper()
	m, err := desk.Members(t.Context(), workspace.Draw{Kind: "person", Basis: workspace.Existing}, "", fixture.Now())
	require.NoError(t, err)
	return m.Items[0]
}
