package policies_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"conclave/policies"
)

func decision(class policies.Class, change func(d *policies.QuorumDecision)) policies.QuorumDecision {
	d := policies.QuorumDecision{Operation: "key.rotate", Class: class, Approvals: 2, ApproverRoles: []string{"custodian", "key-manager"},
		Diversity: policies.Diversity{Teams: 1, Sites: 1}, ExpirySeconds: 1000, Allow: true,
		Reasons: []policies.Reason{{Rule: "quorum.table", Code: "class", Message: "because of " + string(class)}}}
	if class == policies.Direct {
		d.Approvals, d.RequesterCounts, d.ApproverRoles, d.ExpirySeconds = 1, true, nil, 15
	}
	if change != nil {
		change(&d)
	}
	return d
}

// Of everything the most demanding counts, whatever the order of the items.
func TestStrictest(t *testing.T) {
	direct := decision(policies.Direct, func(d *policies.QuorumDecision) { d.OwnerOnly = true })
	plain := decision(policies.Governed, func(d *policies.QuorumDecision) {
		d.Roles = []policies.RoleCount{{Role: "security-officer", Count: 1}}
		d.CancelRoles, d.WaitSeconds = []string{"custodian"}, 5
	})
	hard := decision(policies.Governed, func(d *policies.QuorumDecision) {
		d.Approvals, d.ApproverRoles = 3, []string{"key-manager"}
		d.Roles = []policies.RoleCount{{Role: "security-officer", Count: 2}, {Role: "custodian", Count: 1}}
		d.Witness, d.StepUp, d.WaitSeconds, d.CoolingOffSeconds, d.ExpirySeconds, d.ReviewSeconds = true, true, 10, 7, 900, 60
		d.Diversity = policies.Diversity{Teams: 2, Sites: 2, ReportingLine: true}
		d.CancelRoles = []string{"security-officer"}
		d.Allow, d.Denials = false, []policies.Reason{{Code: "not_here"}}
	})
	for _, order := range [][]policies.QuorumDecision{{direct, plain, hard}, {hard, plain, direct}, {plain, hard, direct}} {
		got, err := policies.Strictest(order)
		require.NoError(t, err)
		require.Equal(t, policies.Governed, got.Class)
		require.Equal(t, 3, got.Approvals)
		require.False(t, got.RequesterCounts)
		require.Equal(t, []string{"key-manager"}, got.ApproverRoles)
		require.ElementsMatch(t, []policies.RoleCount{{Role: "security-officer", Count: 2}, {Role: "custodian", Count: 1}}, got.Roles)
		require.True(t, got.Witness && got.StepUp && got.Diversity.ReportingLine)
		require.False(t, got.OwnerOnly)
		require.Equal(t, []int64{10, 7, 900, 60}, []int64{got.WaitSeconds, got.CoolingOffSeconds, got.ExpirySeconds, got.ReviewSeconds})
		require.Equal(t, 2, got.Diversity.Teams)
		require.ElementsMatch(t, []string{"custodian", "security-officer"}, got.CancelRoles)
		require.False(t, got.Allow)
		require.Len(t, got.Denials, 1)
		require.Len(t, got.Reasons, 2, "each reason once")
	}
	require.Equal(t, []string{"custodian", "key-manager"}, plain.ApproverRoles, "what went in is as it was")
}

func TestStrictestOfNothingInCommon(t *testing.T) {
	a := decision(policies.Governed, func(d *policies.QuorumDecision) { d.ApproverRoles = []string{"custodian"} })
	b := decision(policies.Governed, func(d *policies.QuorumDecision) { d.ApproverRoles = []string{"key-manager"} })
	_, err := policies.Strictest([]policies.QuorumDecision{a, b})
	require.ErrorIs(t, err, policies.ErrPolicy)
	_, err = policies.Strictest(nil)
	require.ErrorIs(t, err, policies.ErrPolicy)
	b.Operation = "key.create"
	_, err = policies.Strictest([]policies.QuorumDecision{a, b})
	require.ErrorIs(t, err, policies.ErrPolicy)
}
