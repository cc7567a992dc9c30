package policies

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/cover"
	"github.com/open-policy-agent/opa/v1/storage"
	"github.com/open-policy-agent/opa/v1/tester"
)

// testTimeout bounds one Rego test.
const testTimeout = 5 * time.Second

// TestResult of one Rego test.
type TestResult struct {
	Package string `json:"package"`
	Name    string `json:"name"`
	File    string `json:"file"`
	Line    int    `json:"line"`
	Pass    bool   `json:"pass"`
	Problem string `json:"problem,omitempty"`
}

// FileCoverage is how much of one file the tests evaluate.
type FileCoverage struct {
	File    string  `json:"file"`
	Percent float64 `json:"percent"`
	Missing []int   `json:"missing,omitempty"` // first lines of what no test evaluates
}

// TestReport of one run over a bundle.
type TestReport struct {
	PolicyDigest string         `json:"policy_digest"`
	Tests        []TestResult   `json:"tests"`
	Coverage     float64        `json:"coverage"` // percent over all files
	Files        []FileCoverage `json:"files"`
	Findings     []Finding      `json:"findings,omitempty"`
}

// OK reports whether every test passed, all lines are covered and nothing was found wrong in the form.
func (r TestReport) OK() bool {
	return len(r.Tests) > 0 && r.Coverage == 100 && len(r.Findings) == 0 &&
		!slices.ContainsFunc(r.Tests, func(t TestResult) bool { return !t.Pass })
}

// RunTests runs the Rego tests of the bundle with coverage, and Lint. Tests that do not parse are ErrBundle.
func (e *Engine) RunTests(ctx context.Context) (TestReport, error) {
	if e.unusable != nil {
		return TestReport{}, fmt.Errorf("running policy tests: %w", e.unusable)
	}
	modules := make(map[string]*ast.Module, len(e.bundle.modules)+len(e.bundle.tests))
	for name, module := range e.bundle.modules {
		modules[name] = module.Copy()
	}
	for _, name := range e.bundle.tests {
		module, err := e.bundle.parseModule(name)
		if err != nil {
			return TestReport{}, err
		}
		modules[name] = module
	}
	coverage := cover.New()
	report := TestReport{PolicyDigest: e.Digest(), Findings: e.Lint()}
	err := storage.Txn(ctx, e.store, storage.TransactionParams{}, func(txn storage.Transaction) error {
		results, err := tester.NewRunner().
			SetCompiler(e.bundle.newCompiler()).
			SetStore(e.store).
			SetModules(modules).
			SetCoverageQueryTracer(coverage).
			SetCoverageRuns(nil).
			CapturePrintOutput(false).
			RaiseBuiltinErrors(true).
			SetTimeout(testTimeout).
			RunTests(ctx, txn)
		if err != nil {
			return err
		}
		for result := range results {
			report.Tests = append(report.Tests, testResult(result))
		}
		return nil
	})
	if err != nil {
		return TestReport{}, fmt.Errorf("running policy tests: %w: %w", ErrBundle, err)
	}
	report.addCoverage(coverage.Report(e.bundle.modules))
	return report, nil
}

func testResult(r *tester.Result) TestResult {
	out := TestResult{Package: strings.TrimPrefix(r.Package, "data."), Name: r.Name, Pass: r.Pass()}
	if r.Location != nil {
		out.File, out.Line = r.Location.File, r.Location.Row
	}
	switch {
	case r.Error != nil:
		out.Problem = r.Error.Error()
	case r.Skip:
		out.Pass, out.Problem = false, "skipped"
	case !out.Pass:
		out.Problem = "false"
	}
	return out
}

func (r *TestReport) addCoverage(report cover.Report) {
	covered, missing := 0, 0
	for _, file := range slices.Sorted(maps.Keys(report.Files)) {
		if strings.HasSuffix(file, "_test.rego") {
			continue
		}
		f := report.Files[file]
		out := FileCoverage{File: file, Percent: f.Coverage}
		for _, gap := range f.NotCovered {
			out.Missing = append(out.Missing, gap.Start.Row)
		}
		r.Files = append(r.Files, out)
		covered, missing = covered+f.CoveredLines, missing+f.NotCoveredLines
	}
	if covered+missing > 0 {
		r.Coverage = 100 * float64(covered) / float64(covered+missing)
	}
}
