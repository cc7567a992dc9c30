package bundle_test

import (
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"

	"conclave/reports/bundle"
	"conclave/reports/internal/fixture"
)

// evaluate reads something of the page as text.
func (b browser) evaluate(t *testing.T, script string) string {
	t.Helper()
	got, err := chromedp.Run(b.ctx, chromedp.Evaluate[string](script))
	require.NoError(t, err)
	return got
}

// The page lists the report's verdicts by what they ask for, each with why, and shows what a report says as text and
// nothing else; a bundle that is refused has none.
func TestPageListsVerdictsByWhatTheyAskFor(t *testing.T) {
	t.Parallel()
	b := buildOf(t, fixture.Request())
	page := openPage(t)
	class, words, _ := page.verify(t, b.path, b.world.Trust(t))
	require.Equal(t, "good", class, words)
	r, err := bundle.Verify(t.Context(), b.path, b.world.Trust(t))
	require.NoError(t, err)

	rows := page.evaluate(t, `[...document.querySelectorAll("#controls tbody tr")].map(r => r.textContent).join("\n")`)
	require.Len(t, strings.Split(rows, "\n"), len(r.Report.Controls)+groups(r.Counts))
	for _, c := range r.Report.Controls {
		why := c.Result.Question
		if why == "" {
			why = c.Result.Summary
		}
		require.Contains(t, rows, c.ID+c.Title+c.Conclusion, "beside each other")
		require.Contains(t, rows, why, c.ID)
	}
	at := -1
	for _, verdict := range []string{"violated", "no evidence", "needs a human", "satisfied", "not applicable"} {
		if r.Counts[verdict] == 0 {
			continue
		}
		next := strings.Index(rows, " "+verdict+" (")
		require.Greater(t, next, at, verdict)
		at = next
	}

	files := unpack(t, b.path)
	replace("report.json", `"conclusion":"in place"`, `"conclusion":"<img src=x onerror=document.title=1>`+"\u202e"+`in place"`)(t, b, files)
	resignCanonical(t, files, b.world.Node)
	class, words, _ = page.verify(t, pack(t, files), b.world.Trust(t))
	require.Equal(t, "good", class, words)
	require.Contains(t, page.evaluate(t, `document.getElementById("controls").textContent`), "<img src=x onerror=document.title=1>U+202E in place")
	require.Equal(t, "0", page.evaluate(t, `String(document.querySelectorAll("#controls img").length)`))

	replace("report.json", `"state":"ok"`, `"state":"violating"`)(t, b, files)
	resignCanonical(t, files, b.world.Node)
	class, _, _ = page.verify(t, pack(t, files), b.world.Trust(t))
	require.Equal(t, "bad", class)
	require.Equal(t, "true", page.evaluate(t, `String(document.getElementById("verdicts").hidden)`), "what a refused bundle says is not shown")
}

// groups is how many verdicts occur.
func groups(counts map[string]int) (n int) {
	for _, of := range counts {
		if of > 0 {
			n++
		}
	}
	return n
}
