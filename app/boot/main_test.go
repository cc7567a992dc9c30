package boot_test

import (
	"fmt"
	"os"
	"testing"

	"go.uber.org/goleak"

	"conclave/app/boot"
	"conclave/custodian/store/storetest"
)

// A stopped service leaves no goroutine behind.
func TestMain(m *testing.M) {
	if boot.Judging(os.Args) { // the service under test started this program to judge a bundle
		os.Exit(boot.Judge())
	}
	code := storetest.Run(m)
	if err := goleak.Find(); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}
