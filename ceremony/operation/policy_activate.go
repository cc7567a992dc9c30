package operation

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"conclave/custodian"
	"conclave/custodian/amount"
	"conclave/custodian/ledger"
	"conclave/custodian/people"
	"conclave/custodian/store"
	"conclave/policies"
)

// PolicyTarget is the type of the target of changes of policy: there is one, the bundle in force.
const PolicyTarget = "policy"

// backtestAge is how old a back-test may be when a bundle is proposed (ours): what happened since is not in it.
const backtestAge = 24 * time.Hour

// simulationTime bounds the lock-out simulation under a proposed bundle.
const simulationTime = 10 * time.Second

// linesShown bounds how many differences approvers are shown one by one; the rest is counted.
const linesShown = 40

// policyActivateParams name the proposal and what its back-test found, so that both are signed.
type policyActivateParams struct {
	Bundle   string                    `json:"bundle"`
	Backtest custodian.BacktestSummary `json:"backtest"`
}

// policyActivate puts another bundle in force. The one in force judges it; no bundle is proposed that was not tried
// against what is on record, or that would leave people without a quorum they can reach.
type policyActivate struct{}

func (policyActivate) Name() string { return "policy.activate" }

func (policyActivate) Prepare(ctx context.Context, env Env, view *store.View, in Input) (Plan, error) {
	p, err := decode[policyActivateParams](in)
	if err != nil {
		return Plan{}, err
	}
	record, _, err := lookupBundle(view, p.Bundle)
	if err != nil {
		return Plan{}, err
	}
	plan, err := policyPlan(view, fmt.Sprintf("Put policy bundle %q (%.16s) in force", record.Name, record.Digest), record.Digest)
	if err != nil {
		return Plan{}, err
	}
	if record.Signer != "" && record.Signer != in.Requester.ID {
		plan.Subjects = []string{record.Signer} // who wrote it is heard by having written it
	}
	if plan.Lines[0].Before == record.Digest {
		plan.Deny = append(plan.Deny, refusal("no_change", "this bundle is in force", "nothing to do"))
		return plan, nil
	}
	proposed, err := env.Custodian.StoredPolicies(view, record.Digest)
	if err != nil {
		return Plan{}, fmt.Errorf("compiling policy bundle %s: %w", record.Digest, err)
	}
	plan.Lines = append(plan.Lines, bundleLines(env, record, proposed)...)
	tried, deny := backtestOf(view, p, plan.Lines[0].Before, in)
	plan.Lines, plan.Deny = append(plan.Lines, tried...), append(plan.Deny, deny...)
	ctx, cancel := context.WithTimeout(ctx, simulationTime)
	defer cancel()
	lost, err := lockOut(ctx, env, view, in, after{policies: proposed})
	if err != nil {
		return Plan{}, fmt.Errorf("simulating the proposed policy: %w", err)
	}
	plan.Deny = append(plan.Deny, lost...)
	return plan, nil
}

func (policyActivate) Execute(_ context.Context, env Env, tx *store.Tx, in Input) (Result, error) {
	p, err := decode[policyActivateParams](in)
	if err != nil {
		return Result{}, err
	}
	record, _, err := lookupBundle(tx.View(), p.Bundle)
	if err != nil {
		return Result{}, err
	}
	return putInForce(env, tx, in, record, map[string]any{"backtest": p.Backtest})
}

// putInForce is the change itself, recorded.
func putInForce(env Env, tx *store.Tx, in Input, record *custodian.PolicyBundle, detail map[string]any) (Result, error) {
	a := act(env, tx, in, in.Reason)
	operation, _ := detail["operation"].(string)
	if operation == "" {
		operation = policyActivate{}.Name()
	}
	if err := custodian.PutInForce(tx, record.Digest, in.Ceremony, operation, env.Policies); err != nil {
		return Result{}, err
	}
	detail["digest"], detail["before"], detail["signer"] = record.Digest, env.Policies.Digest(), record.Signer
	if err := tx.Append(a.event(operation, ledger.Target{Type: PolicyTarget, ID: record.Digest}, detail)); err != nil {
		return Result{}, err
	}
	return result(map[string]any{"bundle": record.Digest, "before": env.Policies.Digest()}), nil
}

// lookupBundle reads a kept bundle and its files.
func lookupBundle(view *store.View, digest string) (*custodian.PolicyBundle, policies.Files, error) {
	record, files, err := custodian.StoredPolicy(view, digest)
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil, &custodian.InputError{Field: "bundle", Problem: fmt.Sprintf("%q is not kept here", clean(digest)), Allowed: "the digest of a bundle of GET /v1/policy/bundles"}
	}
	if err != nil {
		return nil, nil, fmt.Errorf("reading policy bundle %q: %w", clean(digest), err)
	}
	return record, files, nil
}

// policyPlan is what all changes of policy have in common. The governance revision is the number of the term, so that
// of two proposals the later one is void once the other is in force. Its first line is the digest, before and after.
func policyPlan(view *store.View, title, digest string) (Plan, error) {
	before := "unreadable"
	inForce, err := custodian.InForce(view)
	var tampered *store.TamperedError
	switch {
	case err == nil:
		before = inForce.Digest
	case !errors.As(err, &tampered):
		return Plan{}, err
	}
	return Plan{
		Target: Target{Type: PolicyTarget, ID: custodian.PolicyRow, GovRevision: inForce.Number}, Title: title,
		Lines:  []Line{{Label: "bundle in force", Before: before, After: digest}},
		Quorum: policies.QuorumInput{Target: policies.QuorumTarget{Type: PolicyTarget, ID: custodian.PolicyRow}},
	}, nil
}

// bundleLines say where a bundle comes from and what it changes.
func bundleLines(env Env, record *custodian.PolicyBundle, proposed *policies.Engine) []Line {
	signer := record.Signer
	if signer == "" {
		signer = "everybody named at genesis"
	}
	out := []Line{{Label: "signed by", After: signer}}
	if c := record.Check; c != nil {
		tests := fmt.Sprintf("%d of its own tests pass, %d %% of lines covered; %d questions answered", c.Tests, c.Coverage, c.Probes)
		if c.Tests == 0 {
			tests = fmt.Sprintf("it came without tests; %d questions answered", c.Probes)
		}
		out = append(out, Line{Label: "checked", After: tests})
	}
	changes := policies.Diff(env.Policies.Files(), proposed.Files())
	for i, c := range changes {
		if i == linesShown {
			out = append(out, Line{Label: "more", After: fmt.Sprintf("%s: conclave policy diff %.16s", amount.Of(len(changes)-i, "further difference"), record.Digest)})
			break
		}
		label := c.File
		if c.At != "" {
			label += " " + c.At
		}
		out = append(out, Line{Label: label, Before: short(c.Before), After: short(c.After)})
	}
	return out
}

func short(text string) string {
	const most = 200
	if len(text) > most {
		return ledger.CleanText(text[:most]) + "…"
	}
	return ledger.CleanText(text)
}

// backtestOf holds what was signed of the back-test against what is kept of it.
func backtestOf(view *store.View, p policyActivateParams, inForce string, in Input) ([]Line, []policies.Reason) {
	kept, err := custodian.BacktestOf(view, p.Bundle, p.Backtest.ReportSHA256)
	again := "back-test it: conclave policy backtest " + clean(p.Bundle)
	switch {
	case err != nil:
		return nil, []policies.Reason{refusal("backtest_missing", "the bundle was not tried against what is on record", again)}
	case kept.Against != inForce:
		return nil, []policies.Reason{refusal("backtest_stale", "it was tried against another bundle than the one in force", again)}
	case kept.BacktestSummary != p.Backtest:
		return nil, []policies.Reason{refusal("backtest_differs", "what is to be signed is not what the back-test found", again)}
	case len(in.Approvers) == 0 && in.ApprovedAt.IsZero() && in.Now.Sub(kept.FinishedAt) > backtestAge:
		return nil, []policies.Reason{refusal("backtest_stale", "it was tried over 24 hours ago", again)}
	}
	s := kept.BacktestSummary
	return []Line{
		{Label: "recorded decisions replayed", After: fmt.Sprint(s.Decisions)},
		{Label: "of these denied from now on", After: fmt.Sprint(s.NewlyDenied)},
		{Label: "of these allowed from now on", After: fmt.Sprint(s.NewlyAllowed)},
		{Label: "keys placed otherwise", After: fmt.Sprint(s.Placements)},
		{Label: "keys with other cryptoperiods", After: fmt.Sprint(s.Lifecycles)},
		{Label: "operations that take something else", After: fmt.Sprint(s.Quorums)},
		{Label: "back-test report, SHA-256", After: s.ReportSHA256},
	}, nil
}

// NamesBundle says whether a proposal's parameters name a bundle.
func NamesBundle(params []byte, digest string) bool { return bytes.Contains(params, []byte(digest)) }

// remainingHolders is how many confirmed shares of a set are with people who have not left, suspended ones among them.
func remainingHolders(view *store.View, set *people.ShareSet) int {
	n, find := 0, register(view)
	for _, s := range shareRows(view, set.ID) {
		if s.Usable(set) && s.Status == people.ShareConfirmed && remains(find(s.Custodian)) {
			n++
		}
	}
	return n
}

func remains(p *people.Person) bool { return p != nil && p.Status != people.StatusLeft }
