package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"conclave/app/api"
	"conclave/custodian/amount"
	"conclave/policies"
)

const maxPolicyInput = 256 << 10

func policyCommand() *cobra.Command {
	return parent("policy", "Ask the policy, change it together, undo a change", policyShow(), policyList(), policyPlace(), policyWhatIf(), policyExplain(), policyTest(),
		policySign(), policySet(), policyDiff(), policyPropose(), policyBacktest(), policyActivate(), policyRecover(), policyFetch(), policyDocs())
}

func policyShow() *cobra.Command {
	return &cobra.Command{
		Use: "show", Short: "Show the policy in force", Args: exactly(),
		RunE: action(func(s *session, _ *cobra.Command, _ []string) error {
			if err := s.connectAny(); err != nil {
				return err
			}
			p, err := s.client.Policy(s.ctx)
			if err != nil {
				return err
			}
			return s.show(p, func(w io.Writer) { writePolicy(w, p) })
		}),
	}
}

func writePolicy(w io.Writer, p api.Policy) {
	facts(w, "digest", p.Digest)
	var rules []policies.Rule
	if json.Unmarshal(p.Rules, &rules) != nil {
		fmt.Fprintf(w, "%s\n", clean(string(p.Rules)))
		return
	}
	var rows [][]string
	for _, r := range rules {
		rows = append(rows, []string{r.ID, r.Code, r.Title, strings.Join(r.Controls, ", ")})
	}
	fmt.Fprintln(w)
	table(w, []string{"RULE", "CODE", "TITLE", "CONTROLS"}, rows)
}

func policyExplain() *cobra.Command {
	c := &cobra.Command{
		Use: "explain POINT", Short: "Evaluate a decision point on an input and show which rules fired", Args: exactly("POINT"),
		Long:      "POINT is authorise, place, quorum or lifecycle. The input is JSON, in --input FILE or on standard input (-).",
		ValidArgs: []string{"authorise", "place", "quorum", "lifecycle"},
	}
	input := c.Flags().String("input", "-", "file with the input as JSON, or -")
	c.RunE = action(func(s *session, _ *cobra.Command, args []string) error {
		raw, err := s.readInput(*input, maxPolicyInput)
		if err != nil {
			return err
		}
		if !json.Valid(raw) {
			return usagef("input: not JSON")
		}
		if err := s.connectPerson(); err != nil {
			return err
		}
		out, err := s.client.Explain(s.ctx, api.ExplainRequest{Point: args[0], Input: raw})
		if err != nil {
			return err
		}
		return s.show(out, func(w io.Writer) { fmt.Fprintf(w, "%s\n\n%s\n", clean(out.Trace), clean(string(out.Decision))) })
	})
	return c
}

func (s *session) readInput(path string, limit int64) ([]byte, error) {
	if path != "-" {
		b, err := readSmall(path, limit)
		if err != nil {
			return nil, fmt.Errorf("reading input: %w", err)
		}
		return b, nil
	}
	b, err := io.ReadAll(io.LimitReader(s.in, limit+1))
	if err != nil {
		return nil, fmt.Errorf("reading input: %w", err)
	}
	if int64(len(b)) > limit {
		return nil, usagef("input: over %d bytes", limit)
	}
	return b, nil
}

var errPolicyTests = errors.New("policy tests failed")

func policyTest() *cobra.Command {
	return &cobra.Command{
		Use: "test", Short: "Run the tests of the policy that this program carries; needs no service", Args: exactly(),
		RunE: action(func(s *session, _ *cobra.Command, _ []string) error {
			engine, err := policies.New(s.ctx, policies.Options{})
			if err != nil {
				return err
			}
			report, err := engine.RunTests(s.ctx)
			if err != nil {
				return err
			}
			err = s.show(report, func(w io.Writer) { writePolicyTests(w, report) })
			if err == nil && !report.OK() {
				err = errPolicyTests
			}
			return err
		}),
	}
}

func writePolicyTests(w io.Writer, r policies.TestReport) {
	failed := 0
	for _, t := range r.Tests {
		if !t.Pass {
			failed++
			fmt.Fprintf(w, "FAIL %s.%s (%s:%d) %s\n", t.Package, t.Name, t.File, t.Line, t.Problem)
		}
	}
	for _, f := range r.Files {
		if len(f.Missing) > 0 {
			fmt.Fprintf(w, "not covered: %s %.1f %%, lines %v\n", f.File, f.Percent, f.Missing)
		}
	}
	for _, f := range r.Findings {
		fmt.Fprintf(w, "finding: %+v\n", f)
	}
	fmt.Fprintf(w, "%s, %d failed, coverage %.1f %%, bundle %s\n", amount.Of(len(r.Tests), "test"), failed, r.Coverage, r.PolicyDigest)
}
