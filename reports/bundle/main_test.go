package bundle_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"sync"
	"testing"

	"github.com/chromedp/chromedp"
)

// chromium is one browser for all tests, begun by the first that needs it: to start one takes as long as to judge a few
// bundles. stopChromium ends it.
var (
	chromium     = sync.OnceValues(startChromium)
	stopChromium = func() {}
)

func TestMain(m *testing.M) {
	code := m.Run()
	stopChromium()
	os.Exit(code)
}

func startChromium() (context.Context, error) {
	path, err := exec.LookPath("chromium")
	if err != nil {
		return nil, fmt.Errorf("Debian package chromium: %w", err)
	}
	profile, err := os.MkdirTemp("", "conclave-chromium-")
	if err != nil {
		return nil, err
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(path), chromedp.NoSandbox, chromedp.UserDataDir(profile),
		chromedp.Flag("host-resolver-rules", "MAP * ~NOTFOUND"))
	ctx, endBrowser := chromedp.NewExecAllocator(context.Background(), options...)
	ctx, closeTab := chromedp.NewContext(ctx)
	stopChromium = func() {
		closeTab()
		endBrowser()
		_ = os.RemoveAll(profile)
	}
	return ctx, chromedp.Do(ctx)
}
