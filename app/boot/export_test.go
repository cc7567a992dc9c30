package boot

import (
	"context"

	"conclave/app/httpapi"
	"conclave/policies"
)

// Sandbox judges bundles in a process of a program.
func Sandbox(program string) policies.Sandbox { return sandbox(program) }

// Judging says whether a test's own program was started as the sandbox's process; Judge is what it then does.
func Judging(args []string) bool { return len(args) == 2 && args[1] == judgeCommand }

// Judge runs that command and returns the exit code.
func Judge() int {
	c := policyJudge()
	c.SetArgs([]string{})
	if err := c.Execute(); err != nil {
		return 1
	}
	return 0
}

// Reporter is what the API makes reports with.
func (r *Running) Reporter() httpapi.Reporter { return reporter{r.service} }

// ReportJobs are the service's own.
func (r *Running) ReportJobs() httpapi.ReportJobs { return r.service.reportJobs }

// HaveWitnessed has the ledger witnessed and time-stamped now, where that is due.
func (r *Running) HaveWitnessed(ctx context.Context) error { return r.service.haveWitnessed(ctx) }

// LookAtArchives looks whether the files of segments are as recorded, now.
func (r *Running) LookAtArchives(ctx context.Context) error { return r.service.archives.look(ctx) }
