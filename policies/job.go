package policies

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	strict "github.com/go-json-experiment/json"
)

// Job is work on a bundle that nobody vouches for yet. It is done apart from the service, in a process whose time and
// memory are bounded: see [RunJob].
type Job struct {
	Files map[string]string `json:"files"`
	// Check also runs the bundle's own tests and asks every decision point.
	Check      bool       `json:"check"`
	Operations []string   `json:"operations,omitempty"` // governed operations that the bundle must know
	Questions  []Question `json:"questions,omitempty"`
}

// Question is one input of a decision point, in its JSON form.
type Question struct {
	Point Point           `json:"point"`
	Input json.RawMessage `json:"input"`
}

// Answer is the typed decision as JSON, or why there is none.
type Answer struct {
	Decision json.RawMessage `json:"decision,omitempty"`
	Problem  string          `json:"problem,omitempty"`
}

// Verdict is what a Job came to. Refused is why the bundle is none, "" for nothing.
type Verdict struct {
	Refused string   `json:"refused,omitempty"`
	Check   *Check   `json:"check,omitempty"`
	Answers []Answer `json:"answers,omitempty"`
}

// Sandbox does jobs where they can do no harm. An error says that the job could not be finished within its bounds,
// which is a refusal of the bundle: *Exceeded. Any other error is the sandbox's own.
type Sandbox func(ctx context.Context, job Job) (Verdict, error)

// Exceeded says that a bundle took more time or memory than it may.
type Exceeded struct{ What string }

func (e *Exceeded) Error() string { return "the bundle was stopped: " + e.What }

// Bounds of a job.
const (
	// questionTimeout bounds one decision of a proposed bundle. One of the carried bundle takes under a millisecond.
	questionTimeout = 500 * time.Millisecond
	// MaxQuestions of one job.
	MaxQuestions = 2000
	maxJob       = 16 << 20
	maxFindings  = 20
)

// ServeJob reads a Job from in and writes its Verdict to out: what the sandbox's process does.
func ServeJob(ctx context.Context, in io.Reader, out io.Writer) error {
	raw, err := io.ReadAll(io.LimitReader(in, maxJob))
	if err != nil {
		return fmt.Errorf("reading the job: %w", err)
	}
	var job Job
	if err := strict.Unmarshal(raw, &job); err != nil {
		return fmt.Errorf("reading the job: %w", err)
	}
	verdict, err := RunJob(ctx, job)
	if err != nil {
		return err
	}
	if err := json.NewEncoder(out).Encode(verdict); err != nil {
		return fmt.Errorf("writing the verdict: %w", err)
	}
	return nil
}

// RunJob does a job in this process.
func RunJob(ctx context.Context, job Job) (Verdict, error) { return runJob(ctx, job, questionTimeout) }

// PatientJob is RunJob with another bound on one decision: for who shares a machine with much else and trusts the bundle.
func PatientJob(bound time.Duration) Sandbox {
	return func(ctx context.Context, job Job) (Verdict, error) { return runJob(ctx, job, bound) }
}

func runJob(ctx context.Context, job Job, bound time.Duration) (Verdict, error) {
	files := Files{}
	for name, text := range job.Files {
		files[name] = []byte(text)
	}
	e, err := New(ctx, Options{Timeout: bound, Files: files})
	if errors.Is(err, ErrBundle) {
		return Verdict{Refused: err.Error()}, nil
	}
	if err != nil {
		return Verdict{}, err
	}
	var v Verdict
	if job.Check {
		if v.Check, v.Refused, err = e.check(ctx, job.Operations); err != nil || v.Refused != "" {
			return Verdict{Refused: v.Refused}, err
		}
	}
	for _, q := range job.Questions {
		if err := ctx.Err(); err != nil {
			return Verdict{}, err
		}
		_, decision, _, err := e.decideJSON(ctx, q.Point, q.Input)
		answer := Answer{}
		if err != nil {
			answer.Problem = err.Error()
		} else if answer.Decision, err = json.Marshal(decision); err != nil {
			return Verdict{}, fmt.Errorf("encoding an answer: %w", err)
		}
		v.Answers = append(v.Answers, answer)
	}
	return v, nil
}

// check judges the bundle as one that is proposed: what its rules say of themselves, its tests, and an answer from
// every decision point.
func (e *Engine) check(ctx context.Context, operations []string) (*Check, string, error) {
	out := &Check{}
	_, metadata := e.bundle.rules()
	for _, f := range metadata {
		return nil, "a rule does not say what it is: " + f.String(), nil
	}
	if len(e.bundle.tests) > 0 {
		report, err := e.RunTests(ctx)
		if errors.Is(err, ErrBundle) {
			return nil, err.Error(), nil
		}
		if err != nil {
			return nil, "", err
		}
		for _, t := range report.Tests {
			if !t.Pass {
				return nil, fmt.Sprintf("its test %s.%s does not pass: %s", t.Package, t.Name, t.Problem), nil
			}
		}
		out.Tests, out.Coverage = len(report.Tests), int(report.Coverage)
		for _, f := range report.Findings {
			out.Findings = append(out.Findings, f.String())
		}
	} else {
		for _, f := range e.Lint() {
			if !strings.HasPrefix(f.Message, noTest) {
				out.Findings = append(out.Findings, f.String())
			}
		}
		out.Findings = append(out.Findings, "it comes without tests")
	}
	if more := len(out.Findings) - maxFindings; more > 0 {
		out.Findings = append(out.Findings[:maxFindings], fmt.Sprintf("and %d more", more))
	}
	problem, err := e.probe(ctx, operations, out)
	return out, problem, err
}
