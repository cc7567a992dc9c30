package policies

import (
	"cmp"
	"fmt"
	"slices"
)

// Strictest is what several operations take that are decided by one statement: of everything the most demanding,
// and allowed only when each of them is. Each decision has passed the floor of its own operation, so that
// together they do as well. Decisions of no common ground (nobody's role would count for all) are ErrPolicy.
func Strictest(decisions []QuorumDecision) (QuorumDecision, error) {
	if len(decisions) == 0 {
		return QuorumDecision{}, fmt.Errorf("uniting quorums: %w: there are none", ErrUndefined)
	}
	out := slices.MaxFunc(decisions, func(a, b QuorumDecision) int { return cmp.Compare(severity(a.Class), severity(b.Class)) })
	out.ApproverRoles = slices.Clone(out.ApproverRoles)
	out.Roles, out.Denials, out.Reasons = slices.Clone(out.Roles), slices.Clone(out.Denials), slices.Clone(out.Reasons)
	out.CancelRoles = slices.Clone(out.CancelRoles)
	for _, d := range decisions {
		if d.Operation != out.Operation || d.PolicyDigest != out.PolicyDigest {
			return QuorumDecision{}, fmt.Errorf("uniting quorums: %w: of %s and %s, or of two bundles", ErrUndefined, out.Operation, d.Operation)
		}
		if err := out.raise(d); err != nil {
			return QuorumDecision{}, err
		}
	}
	slices.SortFunc(out.Denials, compareReasons)
	slices.SortFunc(out.Reasons, compareReasons)
	return out, nil
}

// severity orders the classes by how many people they take.
func severity(c Class) int {
	return slices.Index([]Class{PreAuthorised, Direct, Protective, Governed, Attended}, c)
}

// raise makes d count as well.
func (out *QuorumDecision) raise(d QuorumDecision) error {
	out.Approvals = max(out.Approvals, d.Approvals)
	if d.Class == out.Class { // a lesser class is one person's, at once: its roles and its expiry say nothing
		out.ExpirySeconds = min(out.ExpirySeconds, d.ExpirySeconds)
		out.ApproverRoles = slices.DeleteFunc(out.ApproverRoles, func(r string) bool { return !slices.Contains(d.ApproverRoles, r) })
		if len(out.ApproverRoles) == 0 && len(d.ApproverRoles) > 0 {
			return fmt.Errorf("uniting quorums of %s: %w: nobody's approval would count for every item", d.Operation, ErrUndefined)
		}
	}
	for _, r := range d.Roles {
		i := slices.IndexFunc(out.Roles, func(have RoleCount) bool { return have.Role == r.Role })
		if i < 0 {
			out.Roles = append(out.Roles, r)
			continue
		}
		out.Roles[i].Count = max(out.Roles[i].Count, r.Count)
	}
	out.OwnerOnly = out.OwnerOnly && d.OwnerOnly // an owner needs no acknowledgement: only where all are the owner's
	out.Witness, out.StepUp = out.Witness || d.Witness, out.StepUp || d.StepUp
	out.Diversity = Diversity{Teams: max(out.Diversity.Teams, d.Diversity.Teams), Sites: max(out.Diversity.Sites, d.Diversity.Sites),
		ReportingLine: out.Diversity.ReportingLine || d.Diversity.ReportingLine}
	out.CoolingOffSeconds, out.WaitSeconds = max(out.CoolingOffSeconds, d.CoolingOffSeconds), max(out.WaitSeconds, d.WaitSeconds)
	if d.ReviewSeconds > 0 && (out.ReviewSeconds == 0 || d.ReviewSeconds < out.ReviewSeconds) {
		out.ReviewSeconds = d.ReviewSeconds
	}
	out.CancelRoles = union(out.CancelRoles, d.CancelRoles) // cancelling only restricts
	out.Allow = out.Allow && d.Allow
	out.Denials, out.Reasons = unite(out.Denials, d.Denials), unite(out.Reasons, d.Reasons)
	return nil
}

func union(a, b []string) []string {
	for _, s := range b {
		if !slices.Contains(a, s) {
			a = append(a, s)
		}
	}
	return a
}

func unite(a, b []Reason) []Reason {
	for _, r := range b {
		if !slices.ContainsFunc(a, func(have Reason) bool { return compareReasons(have, r) == 0 }) {
			a = append(a, r)
		}
	}
	return a
}
