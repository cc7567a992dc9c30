package operation

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"conclave/custodian"
	"conclave/custodian/identity"
	"conclave/custodian/people"
	"conclave/custodian/store"
	"conclave/policies"
)

// lockOut refuses a suspension after which custodian.resume would lack a quorum (DESIGN invariant 12). Whoever
// suspends now, and whoever suspended somebody who still is, does not count in the simulation: otherwise one
// officer, or several together, could suspend everybody else and then withhold the approvals that undo it. A row
// that contradicts the ledger is nobody's: it stands neither for a voice left nor in the way of restricting.
func lockOut(ctx context.Context, env Env, view *store.View, suspend string, in Input) ([]policies.Reason, error) {
	out := map[string]bool{suspend: true, in.Requester.ID: true}
	for _, p := range store.All[people.Person](view, custodian.KindPerson) {
		if p.Status == people.StatusSuspended && p.SuspendedBy != "" {
			out[p.SuspendedBy] = true
		}
	}
	var left []*people.Person
	for _, p := range store.All[people.Person](view, custodian.KindPerson) {
		if !out[p.ID] && people.Present(p) == nil && slices.ContainsFunc(p.ApprovalKeys, func(c people.Credential) bool { return !c.Revoked }) {
			left = append(left, p)
		}
	}
	lack := "nobody is left who may ask for it"
	for _, asks := range left {
		takes, err := env.Policies.Quorum(ctx, releaseOf(suspend, asks, in))
		if err != nil && !errors.Is(err, policies.ErrPolicy) {
			return nil, fmt.Errorf("simulating the release of %s: %w", suspend, err)
		}
		if err != nil || !takes.Allow {
			continue
		}
		if lack = lacking(left, asks, takes); lack == "" {
			return nil, nil
		}
	}
	return []policies.Reason{{Rule: "operation", Code: "lock_out", Controls: []string{"nist-800-53r5:AC-5"},
		Message: fmt.Sprintf("without %s nobody could be released any more: not counting those who suspended others, %s", suspend, lack),
		Remedy:  "have those released who are suspended (custodian.resume), or let an officer act who suspended nobody"}}, nil
}

func releaseOf(person string, asks *people.Person, in Input) policies.QuorumInput {
	q := policies.QuorumInput{Now: in.Now, Mode: policies.Mode(in.Instance.Mode), Operation: custodianResume{}.Name(),
		Requester: policies.Requester{Kind: string(identity.Human), ID: asks.ID},
		Target:    policies.QuorumTarget{Type: "person", ID: person}}
	for _, r := range asks.Roles {
		q.Requester.Roles = append(q.Requester.Roles, string(r))
	}
	return q
}

// lacking says what a quorum of these people, one of whom asks, would lack; "" when they suffice. Acknowledgements
// do not matter: everybody can sign their own. All of them approving is the most there can be, so that nothing
// else need be tried.
func lacking(left []*people.Person, asks *people.Person, takes policies.QuorumDecision) string {
	find := people.Among(left)
	var able people.Tally
	for _, p := range left {
		reports := takes.Diversity.ReportingLine && slices.Contains(people.Line(p, find), asks.ID)
		holds := slices.ContainsFunc(takes.ApproverRoles, func(r string) bool { return p.Has(people.Role(r)) })
		if p.ID != asks.ID && holds && !reports {
			able.Counted = append(able.Counted, p)
		}
	}
	if n := len(able.Counted); n < takes.Approvals {
		return fmt.Sprintf("%d of the %d approvals that it takes are left", n, takes.Approvals)
	}
	for _, r := range takes.Roles {
		n := 0
		for _, p := range able.Counted {
			if p.Has(people.Role(r.Role)) {
				n++
			}
		}
		if n < r.Count {
			return fmt.Sprintf("nobody else is left with role %s", strings.ReplaceAll(r.Role, "-", " "))
		}
	}
	able.Counted = append(able.Counted, asks)
	if able.Teams() < takes.Diversity.Teams || able.Sites() < takes.Diversity.Sites {
		return "those left are of too few teams or sites"
	}
	return ""
}
