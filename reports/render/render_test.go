package render_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"html"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"conclave/custodian"
	"conclave/custodian/key"
	"conclave/reports"
	"conclave/reports/control"
	"conclave/reports/internal/fixture"
	"conclave/reports/render"
)

func page(t *testing.T, r *reports.Report) string {
	t.Helper()
	var b bytes.Buffer
	require.NoError(t, render.HTML(&b, r))
	return b.String()
}

func TestPageIsSelfContained(t *testing.T) {
	t.Parallel()
	text := page(t, fixture.New(t, custodian.Production).Report(t))
	for _, forbidden := range []string{"<script", "<link", "<img", "src=", "@import", "url(", "style=", "http://", "https://", "onclick"} {
		require.NotContains(t, text, forbidden)
	}
	_, rest, found := strings.Cut(text, "<style>")
	require.True(t, found)
	style, _, _ := strings.Cut(rest, "</style>")
	sum := sha256.Sum256([]byte(style))
	require.Contains(t, text, `content="default-src 'none'; style-src 'sha256-`+base64.StdEncoding.EncodeToString(sum[:])+`'`)
}

func TestPageShowsEveryControl(t *testing.T) {
	t.Parallel()
	r := fixture.New(t, custodian.Production).Report(t)
	text := page(t, r)
	for _, c := range r.Controls {
		require.Contains(t, text, `id="c-`+strings.ReplaceAll(c.ID, ".", "-")+`"`)
		require.Contains(t, text, "v-"+strings.ReplaceAll(string(c.Result.Verdict), " ", "-"))
	}
	require.Contains(t, text, "#1<")
	require.NotContains(t, text, "DEVELOPMENT")
	require.NotContains(t, text, "ZgotmplZ")
}

func TestDevelopmentIsOnThePage(t *testing.T) {
	t.Parallel()
	require.Contains(t, page(t, fixture.New(t, custodian.Development).Report(t)), "DEVELOPMENT INSTANCE")
}

func TestHostileNamesAreHarmless(t *testing.T) {
	t.Parallel()
	r := fixture.New(t, custodian.Production, func(h *fixture.History) {
		h.People[0].Name = `<script>alert(1)</script>"'&`
		h.People[1].Name = "Boris \u202edecivorp\u2066\u200b\u0085"
		h.Keystores[0].Location = "</style><b>"
	}).Report(t)
	shown := page(t, r)
	require.NotContains(t, shown, "<script")
	require.NotContains(t, shown, "</style><b>")
	for _, c := range []string{"\u202e", "\u2066", "\u200b", "\u0085"} {
		require.NotContains(t, shown, c)
	}
	require.Contains(t, html.UnescapeString(shown), "‹U+202E›decivorp‹U+2066›‹U+200B›‹U+0085›")
	require.Equal(t, page(t, r), shown, "the same report gives the same page")
}

func TestJSONIsTheReport(t *testing.T) {
	t.Parallel()
	r := fixture.New(t, custodian.Production).Report(t)
	var b bytes.Buffer
	require.NoError(t, render.JSON(&b, r))
	back, err := reports.Parse(b.Bytes())
	require.NoError(t, err)
	want, err := r.JSON()
	require.NoError(t, err)
	got, err := back.JSON()
	require.NoError(t, err)
	require.Equal(t, string(want), string(got))
}

// TestSpecimen writes a page with every verdict to the file that CONCLAVE_SPECIMEN names, to be looked at.
func TestSpecimen(t *testing.T) {
	t.Parallel()
	r := fixture.New(t, custodian.Development, func(h *fixture.History) {
		h.AddKey("cards-test", "test", key.CardholderData, h.Versions[0].CheckValue)
		h.People[1].Acknowledgement.ExpiresAt = fixture.Days(10)
		h.Versions[0].OUPEnd = fixture.Days(6)
	}).Report(t)
	r.Controls[9].Result = control.Result{Verdict: control.NoEvidence, Summary: "Nothing to look at."}
	r.Controls[13].Result = control.Result{Verdict: control.NotApplicable, Summary: "Does not arise here."}
	r.Counts = map[string]int{}
	for _, c := range r.Controls {
		r.Counts[string(c.Result.Verdict)]++
	}
	text := page(t, r)
	for _, v := range control.Verdicts() {
		require.Contains(t, text, string(v))
	}
	if name := os.Getenv("CONCLAVE_SPECIMEN"); name != "" {
		require.NoError(t, os.WriteFile(name, []byte(text), 0o600))
	}
}
