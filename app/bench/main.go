// Command bench measures the product beside its floor, interleaved in one run on one machine, and prints the
// table of docs/benchmarks.md as ratios. It needs wrk. It is not part of the product.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"
)

// options of the driver.
type options struct {
	dir, profile, only string
	rounds             int
	each               time.Duration // length of one run
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	role := flag.String("role", "drive", "drive, floor or product; the first starts the other two")
	dir := flag.String("dir", "", "working folder; default a temporary one")
	only := flag.String("only", "", "run only rows whose name holds this")
	rounds := flag.Int("rounds", 3, "rounds of each row; medians are printed")
	seconds := flag.Duration("seconds", 4*time.Second, "length of one run")
	profile := flag.String("profile", "", "file for a CPU profile of the product while the load runs")
	flag.Parse()
	var err error
	switch *role {
	case "floor":
		err = serveFloor(ctx)
	case "product":
		err = product(ctx, *dir, *profile)
	case "drive":
		err = drive(ctx, options{dir: *dir, profile: *profile, only: *only, rounds: *rounds, each: *seconds})
	default:
		err = fmt.Errorf("role %q: allowed are drive, floor, product", *role)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}
