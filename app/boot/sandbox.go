package boot

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime/debug"
	"runtime/metrics"
	"time"

	"github.com/spf13/cobra"

	"conclave/policies"
)

// Bounds of the process that judges proposed policy bundles (ours). An honest bundle takes some 100 MiB and seconds.
const (
	sandboxMemory = 512 << 20
	sandboxTime   = 2 * time.Minute
	sandboxAnswer = 16 << 20
	sandboxWatch  = 10 * time.Millisecond
)

// judgeCommand is the command of that process.
const judgeCommand = "policy-judge"

// exitMemory is how that process ends when a bundle takes more memory than it may.
const exitMemory = 71

// sandbox does jobs in a process of its own, which is told nothing but the job: a bundle that never ends, or takes
// all memory, or makes the evaluator fail, ends that process and no other.
func sandbox(program string) policies.Sandbox {
	return func(ctx context.Context, job policies.Job) (policies.Verdict, error) {
		ctx, cancel := context.WithTimeout(ctx, sandboxTime)
		defer cancel()
		in, err := json.Marshal(job)
		if err != nil {
			return policies.Verdict{}, fmt.Errorf("encoding a policy job: %w", err)
		}
		child := exec.CommandContext(ctx, program, judgeCommand)
		child.Env = []string{"GOMAXPROCS=1"} // half a small machine is left to calls, and nothing of ours is told
		child.Dir = "/"
		child.Stdin = bytes.NewReader(in)
		out := &boundedBuffer{most: sandboxAnswer}
		child.Stdout = out
		child.WaitDelay = time.Second
		err = child.Run()
		var exit *exec.ExitError
		switch {
		case errors.Is(ctx.Err(), context.DeadlineExceeded):
			return policies.Verdict{}, &policies.Exceeded{What: "it took more time than it may"}
		case ctx.Err() != nil:
			return policies.Verdict{}, ctx.Err()
		case out.over:
			return policies.Verdict{}, &policies.Exceeded{What: "its answers are larger than they may be"}
		case errors.As(err, &exit):
			return policies.Verdict{}, &policies.Exceeded{What: endOf(exit)}
		case err != nil:
			return policies.Verdict{}, fmt.Errorf("policy sandbox: %w", err)
		}
		var v policies.Verdict
		if err := json.Unmarshal(out.Bytes(), &v); err != nil {
			return policies.Verdict{}, fmt.Errorf("reading the policy sandbox's verdict: %w", err)
		}
		return v, nil
	}
}

func endOf(exit *exec.ExitError) string {
	if exit.ExitCode() == exitMemory || exit.ExitCode() == 2 || !exit.Exited() { // 2: the runtime gave up
		return fmt.Sprintf("it took more memory than it may, or made its evaluator fail (%d MiB are allowed)", sandboxMemory>>20)
	}
	return fmt.Sprintf("its evaluator failed (%s)", exit)
}

// boundedBuffer takes so much and no more.
type boundedBuffer struct {
	bytes.Buffer
	most int
	over bool
}

func (b *boundedBuffer) Write(p []byte) (int, error) {
	if b.Len()+len(p) > b.most {
		b.over = true
		return 0, io.ErrShortWrite
	}
	return b.Buffer.Write(p)
}

// policyJudge is the sandbox's process: one job in, one verdict out.
func policyJudge() *cobra.Command {
	return &cobra.Command{
		Use: judgeCommand, Short: "Judge a proposed policy bundle apart from the service (started by the service)", Args: cobra.NoArgs, Hidden: true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			confine(sandboxMemory)
			go watchMemory(sandboxMemory)
			return policies.ServeJob(cmd.Context(), cmd.InOrStdin(), cmd.OutOrStdout())
		},
	}
}

// watchMemory ends the process when its memory grows over the bound. The operating system's limit, where there is
// one, stands behind it for what grows faster than somebody can look.
func watchMemory(most uint64) {
	debug.SetMemoryLimit(int64(most) * 3 / 4)
	sample := []metrics.Sample{{Name: "/memory/classes/total:bytes"}, {Name: "/memory/classes/heap/released:bytes"}}
	for range time.Tick(sandboxWatch) {
		metrics.Read(sample)
		if sample[0].Value.Uint64()-sample[1].Value.Uint64() > most {
			os.Exit(exitMemory)
		}
	}
}
