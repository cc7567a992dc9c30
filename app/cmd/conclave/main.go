// Command conclave is the key custodian service and its command line in one program.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"conclave/app/boot"
	"conclave/app/cli"
	"conclave/app/demo"
)

func main() { os.Exit(run()) }

// run exists so that what it defers happens before the process ends.
func run() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	root := cli.Root(append(boot.Commands(cli.Version()), demo.Command(), cli.WitnessCommand(), cli.RestoreCommand(boot.Restore), cli.NodeCommand(boot.NodeFiles()))...)
	return cli.Run(ctx, root, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
}
