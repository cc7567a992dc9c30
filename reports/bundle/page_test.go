package bundle_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/stretchr/testify/require"

	"conclave/custodian"
	"conclave/custodian/ledger"
	"conclave/reports/bundle"
	"conclave/reports/internal/fixture"
)

// browser is the page in a tab of a real, headless Chromium without any network.
type browser struct{ ctx context.Context }

// openPage opens the page in a tab of its own.
func openPage(t *testing.T) browser {
	t.Helper()
	browsing, err := chromium()
	require.NoError(t, err)
	page, err := bundle.Page()
	require.NoError(t, err)
	path := filepath.Join(t.TempDir(), "verify.html")
	require.NoError(t, os.WriteFile(path, page, 0o600))
	ctx, cancel := chromedp.NewContext(browsing)
	t.Cleanup(cancel)
	require.NoError(t, chromedp.Do(ctx, chromedp.Navigate("file://"+path)))
	return browser{ctx}
}

// ended waits in the page until it has judged: asking it over and over from outside costs more than what it does meanwhile.
const ended = `new Promise(done => {
	const verdict = document.getElementById("verdict")
	const look = () => verdict.className !== "" && done([verdict.className, verdict.textContent, document.getElementById("checks").textContent])
	new MutationObserver(look).observe(verdict, {attributes: true})
	look()
})`

// verify has the page check a bundle and returns its verdict's class, its words and the lines of what was checked.
func (b browser) verify(t *testing.T, path string, trust *ledger.TrustFile) (class, words, checks string) {
	t.Helper()
	trustPath := filepath.Join(t.TempDir(), "trust.json")
	require.NoError(t, trust.Save(trustPath))
	ctx, cancel := context.WithTimeout(b.ctx, 3*time.Minute) // a machine may be busy
	defer cancel()
	require.NoError(t, chromedp.Do(ctx,
		chromedp.SetUploadFiles("#bundle", []string{path}), chromedp.SetUploadFiles("#trust", []string{trustPath}), chromedp.Click("#go")))
	got, err := chromedp.Run(ctx, chromedp.Evaluate[[]string](ended, chromedp.EvalAwaitPromise))
	require.NoError(t, err)
	require.Len(t, got, 3)
	return got[0], got[1], got[2]
}

// resignCanonical is resign, with the manifest in the one form that the format gives it.
func resignCanonical(t *testing.T, files map[string][]byte, by bundle.Identity) {
	t.Helper()
	resign(t, files, by)
	m := jsontext.Value(files["MANIFEST.json"])
	require.NoError(t, m.Canonicalize())
	signManifest(t, files, m, by)
}

// The page and the program agree on the good bundle and on the first thing wrong with every bad one.
func TestInvariant09_PageInABrowserVerifiesAndNamesWhatIsWrong(t *testing.T) {
	t.Parallel()
	b, other := build(t), build(t)
	page := openPage(t)
	class, words, checks := page.verify(t, b.path, b.world.Trust(t))
	require.Equal(t, "good", class, words)
	require.Contains(t, words, "Genuine")
	require.Contains(t, checks, "none is left out")

	cases := map[string]struct {
		change func(t *testing.T, b built, files map[string][]byte)
		signed bool // by the node, anew
	}{
		"report edited": {replace("report.json", "satisfied", "violated!"), false},
		"entry edited":  {flip(anyEntry), false},
		"file missing":  {drop(anyEntry), false},
		"file added":    {func(_ *testing.T, _ built, f map[string][]byte) { f["entries/note.txt"] = []byte("x") }, false},
		"large file added": {func(_ *testing.T, _ built, f map[string][]byte) { // more than the page holds whole: it reads all others piece by piece
			f["entries/note.txt"] = make([]byte, 17<<20)
			_, _ = rand.Read(f["entries/note.txt"])
		}, false},
		"signed by another":        {func(t *testing.T, _ built, f map[string][]byte) { resignCanonical(t, f, fixture.NewNode(t, "node-1")) }, false},
		"another instance":         {func(t *testing.T, _ built, f map[string][]byte) { clear(f); copyInto(f, unpack(t, other.path)) }, false},
		"node edits entry":         {replace(anyEntry, `"type":"keystore.register"`, `"type":"keystore.regisTer"`), true},
		"node drops control entry": {repacked(controlPack, without(12)), true},
		"node drops period entry":  {repacked(periodPack, without(20)), true},
		"node swaps entries":       {repacked(periodPack, swapped(20, 21)), true},
		"node edits period entry":  {repacked(periodPack, edited(`"outcome":"allow"`, `"outcome":"deny"`)), true},
		"node edits row":           {replace("rows/person/ada.json", "Ada", "Eve"), true},
		"report cites too much":    {replace("report.json", `"ledger":[]`, `"ledger":[999999]`), true},
		"report counts wrong":      {replace("report.json", `"custodian.add":5`, `"custodian.add":4`), true},
		"verdict against its rows": {replace("report.json", `"state":"ok"`, `"state":"violating"`), true},
		"checkpoint of another": {func(t *testing.T, _ built, f map[string][]byte) {
			f["checkpoint"] = unpack(t, other.path)["checkpoint"]
		}, true},
	}
	for name, c := range cases {
		files := unpack(t, b.path)
		c.change(t, b, files)
		if c.signed {
			resignCanonical(t, files, b.world.Node)
		}
		path := pack(t, files)
		_, err := bundle.Verify(t.Context(), path, b.world.Trust(t))
		requireAgree(t, name, page, path, b.world.Trust(t), err)
	}

	// Cut in the middle, and of an older database than the trust file knows.
	whole, err := os.ReadFile(b.path)
	require.NoError(t, err)
	cut := filepath.Join(t.TempDir(), "cut.zip")
	require.NoError(t, os.WriteFile(cut, whole[:len(whole)/2], 0o600))
	_, err = bundle.Verify(t.Context(), cut, b.world.Trust(t))
	class, words, _ = page.verify(t, cut, b.world.Trust(t))
	require.ErrorIs(t, err, bundle.ErrFormat)
	require.Equal(t, "bad", class)
	require.Contains(t, words, bundle.ErrFormat.Error())

	_, err = b.world.Store.Append(t.Context(), fixture.AnyUse(), b.world.Store.View().Epoch())
	require.NoError(t, err)
	trust := b.world.Trust(t)
	trust.Least = string(b.world.Store.Checkpoint())
	_, err = bundle.Verify(t.Context(), b.path, trust)
	requireAgree(t, "rolled back", page, b.path, trust, err)
}

// requireAgree holds the page's refusal to the program's: the same file, the same reason.
func requireAgree(t *testing.T, name string, page browser, path string, trust *ledger.TrustFile, err error) {
	t.Helper()
	var fault *bundle.FileError
	require.ErrorAs(t, err, &fault, name)
	class, words, _ := page.verify(t, path, trust)
	require.Equal(t, "bad", class, name)
	reason, _, _ := strings.Cut(fault.Err.Error(), ":")
	require.Contains(t, words, fault.File+": "+reason, name)
}

// What a period holds by hashes, and a ledger that forked, the page judges as the program does.
func TestInvariant09_PageJudgesPeriodsAndForks(t *testing.T) {
	t.Parallel()
	w := fixture.New(t, custodian.Production)
	page := openPage(t)
	for _, c := range []struct{ control, entries, leaves int }{{1000, 2, 1000}, {1000, 2, 2}, {20, 1000, 1000}} {
		path := within(t, w, fixture.Days(3), fixture.Days(7), c.control, c.entries, c.leaves)
		class, words, checks := page.verify(t, path, w.Trust(t))
		require.Equal(t, "good", class, words)
		require.Contains(t, checks, "The checkpoint kept before the period")
	}
	path := within(t, w, fixture.Days(3), fixture.Days(7), 1000, 1000, 1000)
	files := unpack(t, path)
	trust := w.Trust(t)
	head, err := ledger.OpenHead(files["ledger/start"], trust.Origin, w.Config.LogKey.Verifier)
	require.NoError(t, err)
	trust.Least = string(files["ledger/start"])
	_, words, checks := page.verify(t, path, trust)
	require.Contains(t, checks, "The log continues the trust file's checkpoint", words)
	head.Root[0] ^= 1
	forked, err := ledger.SignHead(w.Config.LogKey.Signer, trust.Origin, head)
	require.NoError(t, err)
	trust.Least = string(forked)
	_, err = bundle.Verify(t.Context(), path, trust)
	requireAgree(t, "fork by the trust file", page, path, trust, err)
	files["ledger/start"] = forked
	resignCanonical(t, files, w.Node)
	_, err = bundle.Verify(t.Context(), pack(t, files), w.Trust(t))
	requireAgree(t, "fork in the bundle", page, pack(t, files), w.Trust(t), err)
}

// The page reaches nothing and runs nothing but what is in it.
func TestPageIsOneFileWithoutNetwork(t *testing.T) {
	t.Parallel()
	page, err := bundle.Page()
	require.NoError(t, err)
	policy := regexp.MustCompile(`Content-Security-Policy" content="([^"]*)"`).FindSubmatch(page)
	require.NotNil(t, policy)
	require.Regexp(t, `^default-src 'none'; script-src 'sha256-[A-Za-z0-9+/]{43}='; style-src 'sha256-[A-Za-z0-9+/]{43}='; base-uri 'none'; form-action 'none'$`, string(policy[1]))
	for _, reach := range []string{"http://", "https://", "fetch(", "XMLHttpRequest", "WebSocket", "innerHTML", "eval(", "import(", " src="} {
		require.False(t, bytes.Contains(page, []byte(reach)), reach)
	}
	again, err := bundle.Page()
	require.NoError(t, err)
	require.Equal(t, page, again)
}
