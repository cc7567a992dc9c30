package cli

import (
	"context"
	"io"

	"github.com/spf13/cobra"
)

// Run executes a command tree and returns the process's exit code. What went wrong is on errOut.
func Run(ctx context.Context, root *cobra.Command, args []string, in io.Reader, out, errOut io.Writer) int {
	root.SetArgs(args)
	root.SetIn(in)
	root.SetOut(out)
	root.SetErr(errOut)
	err := root.ExecuteContext(ctx)
	if err != nil {
		Explain(errOut, err)
	}
	return ExitCode(err)
}
