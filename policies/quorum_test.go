package policies_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"conclave/policies"
)

func ask(operation string, classes ...string) policies.QuorumInput {
	return policies.QuorumInput{
		Now: now(), Mode: policies.Production, Operation: operation,
		Requester: policies.Requester{
			Kind: "human", ID: "ada",
			Roles: []string{"administrator", "auditor", "custodian", "key-manager", "key-owner", "security-officer", "witness"},
		},
		Target: policies.QuorumTarget{Type: "key", ID: "t", Owner: "ada", Classifications: classes, Threshold: 3, Total: 5},
	}
}

// The operations reference, line by line: class, approvals, a security officer among them, a witness, wait in days.
func TestInvariant01_QuorumTable(t *testing.T) {
	e := engine(t)
	for _, c := range []struct {
		operation string
		class     policies.Class
		approvals int
		officer   bool
		witness   bool
		waitDays  int64
	}{
		{"keystore.activate", "S", 3, false, false, 0},
		{"keystore.deactivate", "P", 1, false, false, 0},
		{"keystore.register", "G", 2, true, false, 0},
		{"keystore.alter", "G", 2, true, false, 0},
		{"keystore.retire", "G", 2, true, false, 0},
		{"keystore.initialise", "S", 3, false, true, 0},
		{"keystore.zeroise", "S", 3, false, true, 7},
		{"key.create", "G", 2, false, false, 0},
		{"template.create", "G", 2, false, false, 0},
		{"template.alter", "G", 2, false, false, 0},
		{"key.activate", "G", 2, false, false, 0},
		{"key.rotate", "G", 2, false, false, 0},
		{"key.suspend", "P", 1, false, false, 0},
		{"grant.revoke", "P", 1, false, false, 0},
		{"application.suspend", "P", 1, false, false, 0},
		{"custodian.suspend", "P", 1, false, false, 0},
		{"token.revoke", "P", 1, false, false, 0},
		{"node.revoke", "P", 1, false, false, 0},
		{"hold.set", "P", 1, false, false, 0},
		{"key.resume", "G", 2, true, false, 0},
		{"application.resume", "G", 2, true, false, 0},
		{"custodian.resume", "G", 2, true, false, 0},
		{"key.compromise", "G", 2, true, false, 0},
		{"key.deactivate", "G", 2, false, false, 0},
		{"key.destroy", "G", 2, false, true, 30},
		{"key.import", "G", 2, false, false, 0},
		{"key.import-confirm", "D", 1, false, false, 0},
		{"key.import-reject", "D", 1, false, false, 0},
		{"wrappingkey.create", "D", 1, false, false, 0},
		{"wrappingkey.withdraw", "D", 1, false, false, 0},
		{"key.export", "S", 3, true, false, 0},
		{"key.move", "G", 2, true, false, 0},
		{"key.reclassify", "G", 2, true, false, 0},
		{"group.create", "G", 2, true, false, 0},
		{"group.add", "G", 2, true, false, 0},
		{"group.remove", "G", 2, true, false, 0},
		{"group.drain", "P", 1, false, false, 0},
		{"group.undrain", "G", 2, false, false, 0},
		{"group.resync", "D", 1, false, false, 0},
		{"grant.create", "G", 2, false, false, 0},
		{"grant.alter", "G", 2, false, false, 0},
		{"application.enrol", "G", 2, false, false, 0},
		{"token.issue", "D", 1, false, false, 0},
		{"custodian.add", "G", 2, true, false, 0},
		{"custodian.alter", "G", 2, true, false, 0},
		{"custodian.remove", "G", 2, true, false, 0},
		{"role.change", "G", 2, true, false, 0},
		{"credential.add", "G", 2, true, false, 0},
		{"credential.recover", "G", 2, true, true, 0},
		{"credential.revoke", "P", 1, false, false, 0},
		{"invitation.open", "D", 1, false, false, 0},
		{"invitation.withdraw", "D", 1, false, false, 0},
		{"duty.close", "D", 1, false, false, 0},
		{"ownership.transfer", "G", 2, true, false, 0},
		{"acknowledgement.sign", "D", 1, false, false, 0},
		{"shares.reissue", "S", 3, false, true, 0},
		{"quorum.change", "S", 3, false, true, 0},
		{"shareset.create", "S", 3, false, true, 0},
		{"share.confirm", "D", 1, false, false, 0},
		{"share.drill", "D", 1, false, false, 0},
		{"share.report-lost", "D", 1, false, false, 0},
		{"share.move", "G", 2, false, true, 0},
		{"share.destroyed", "D", 1, false, false, 0},
		{"shares.cutover", "S", 3, false, false, 0},
		{"shares.rehearse", "S", 3, false, true, 0},
		{"drill.schedule", "G", 2, true, false, 0},
		{"drill.record", "G", 2, false, false, 0},
		{"shares.abandon", "P", 1, false, false, 0},
		{"policy.activate", "G", 3, true, false, 0},
		{"policy.recover", "S", 3, false, false, 0},
		{"node.enrol", "G", 2, false, false, 0},
		{"clock.confirm", "G", 2, false, false, 0},
		{"retention.change", "G", 2, true, false, 0},
		{"ledger.archive", "G", 2, true, false, 0},
		{"ledger.delete-archived", "G", 2, true, false, 30},
		{"hold.lift", "G", 2, true, false, 0},
		{"backup.schedule", "G", 2, false, false, 0},
		{"backup.open", "S", 3, false, true, 0},
		{"restore", "S", 3, false, true, 0},
		{"breakglass.open", "G", 2, false, false, 0},
		{"exception.grant", "G", 2, true, false, 0},
	} {
		for _, mode := range []policies.Mode{policies.Production, policies.Development} {
			in := ask(c.operation, "cardholder-data")
			in.Mode = mode
			d, err := e.Quorum(context.Background(), in)
			require.NoError(t, err, c.operation)
			require.Empty(t, d.Denials, c.operation)
			require.True(t, d.Allow)
			require.Equal(t, c.class, d.Class, c.operation)
			require.Equal(t, c.approvals, d.Approvals, c.operation)
			require.Equal(t, c.witness, d.Witness, c.operation)
			require.Equal(t, c.waitDays*86400, d.WaitSeconds, c.operation)
			require.Equal(t, c.class == policies.Attended, d.Shares, c.operation)
			require.Equal(t, c.class == "P" || c.class == "D", d.RequesterCounts, c.operation)
			require.Positive(t, d.ExpirySeconds, c.operation)
			if c.officer {
				require.Equal(t, []policies.RoleCount{{Role: "security-officer", Count: 1}}, d.Roles, c.operation)
			} else {
				require.Empty(t, d.Roles, c.operation)
			}
			if c.class == policies.Protective {
				require.EqualValues(t, 86400, d.ReviewSeconds, c.operation)
			}
			require.NotEmpty(t, d.Reasons)
			require.NotEmpty(t, d.Reasons[0].Controls)
		}
	}
}

func TestQuorumByClassAndPrecedent(t *testing.T) {
	e := engine(t)
	for name, c := range map[string]struct {
		in   policies.QuorumInput
		want policies.Class
	}{
		"grant of an open class":        {ask("grant.create", "confidential"), "D"},
		"grant of a protected class":    {ask("grant.create", "restricted"), "G"},
		"grant of a mixed batch":        {ask("grant.create", "public", "ephi"), "G"},
		"grant of an unknown class":     {ask("grant.create", "secret"), "G"},
		"grant of no class":             {ask("grant.create"), "G"},
		"enrolment without keys":        {ask("application.enrol"), "D"},
		"rotation of a restricted key":  {ask("key.rotate", "restricted"), "D"},
		"rotation of an ePHI key":       {ask("key.rotate", "ephi"), "G"},
		"new key without template":      {ask("key.create", "internal"), "G"},
		"new key under a template":      {cite(ask("key.create", "internal")), "A"},
		"protected key, with template":  {cite(ask("key.create", "ephi")), "G"},
		"rotation by a person, citing":  {cite(ask("key.rotate", "ephi")), "G"},
		"rotation by schedule":          {byNode(cite(ask("key.rotate", "ephi"))), "A"},
		"rotation by a node, citing no": {byNode(ask("key.rotate", "ephi")), "G"},
		"deactivation at oup_end":       {byNode(cite(ask("key.deactivate", "ephi"))), "A"},
		"activation by date":            {byNode(cite(ask("key.activate", "ephi"))), "A"},
		"scheduled backup":              {byNode(cite(ask("backup.run"))), "A"},
		"destruction, shortest wait":    {ask("key.destroy", "public"), "G"},
	} {
		d, err := e.Quorum(context.Background(), c.in)
		require.NoError(t, err, name)
		require.Equal(t, c.want, d.Class, name)
	}
	// A node proposes nothing but what is pre-authorised or an activation.
	d, err := e.Quorum(context.Background(), byNode(ask("key.rotate", "ephi")))
	require.NoError(t, err)
	require.Equal(t, []string{"proposer_kind_forbidden"}, codes(d.Denials))
}

func cite(in policies.QuorumInput) policies.QuorumInput {
	in.Precedent = "ceremony-1"
	return in
}

func byNode(in policies.QuorumInput) policies.QuorumInput {
	in.Requester = policies.Requester{Kind: "node", ID: "n1"}
	return in
}

func TestQuorumProposer(t *testing.T) {
	e := engine(t)
	in := ask("token.issue")
	in.Target.Owner = "bob"
	d, err := e.Quorum(context.Background(), in)
	require.NoError(t, err)
	require.False(t, d.Allow)
	require.Equal(t, []string{"not_owner"}, codes(d.Denials))

	in = ask("key.destroy", "ephi")
	in.Requester.Roles = []string{"witness"}
	d, err = e.Quorum(context.Background(), in)
	require.NoError(t, err)
	require.Equal(t, []string{"proposer_role_missing"}, codes(d.Denials))
}

func TestInvariant01_QuorumUndefined(t *testing.T) {
	e := engine(t)
	noThreshold := ask("keystore.activate")
	noThreshold.Target.Threshold = 0
	for name, in := range map[string]policies.QuorumInput{
		"unknown operation":           ask("key.steal"),
		"backup citing no schedule":   ask("backup.run"),
		"activation with no quorum":   noThreshold,
		"operation with other letter": ask("Key.destroy", "ephi"),
	} {
		_, err := e.Quorum(context.Background(), in)
		require.ErrorIs(t, err, policies.ErrUndefined, name)
		require.ErrorIs(t, err, policies.ErrPolicy, name)
	}
	in := ask("keystore.activate")
	in.Target.Threshold = 1
	_, err := e.Quorum(context.Background(), in)
	require.ErrorIs(t, err, policies.ErrBelowFloor)
	_, err = e.Quorum(context.Background(), ask("key.destroy"))
	require.ErrorIs(t, err, policies.ErrBelowFloor, "no class, so no wait")
}

// quorumPolicy is a decision point that answers with a fixed requirement.
func quorumPolicy(changes string) string {
	return `package conclave.decide.quorum

requirement := {
	"class": "G", "approvals": 2, "approver_roles": ["custodian"], "roles": [],
	"proposer_kinds": ["human"], "proposer_roles": ["key-manager"], "owner_only": false,
	"shares": false, "witness": true, "precedent": false, "step_up": true,
	"diversity": {"teams": 1, "sites": 1, "reporting_line": false},
	"cooling_off_seconds": 0, "wait_seconds": 604800, "expiry_seconds": 60, "review_seconds": 0,
	"cancel_roles": [], "allow": true, "denials": [],
	"reasons": [{"rule": "r", "code": "c", "message": "m", "remedy": "x", "controls": []}],
}

decision := object.union(requirement, ` + changes + `)
`
}

// Below policy there is a floor, and a missing, empty, zero, null or undefined requirement is a refusal.
func TestInvariant01_QuorumFloorBelowHostilePolicy(t *testing.T) {
	for _, c := range []struct {
		operation, changes string
		mode               policies.Mode
		want               error
	}{
		{"key.destroy", `{}`, policies.Production, nil},
		{"key.destroy", `{"approvals": 1}`, policies.Production, policies.ErrBelowFloor},
		{"key.destroy", `{"approvals": 1}`, policies.Development, nil},
		{"key.destroy", `{"approvals": 0}`, policies.Development, policies.ErrUndefined},
		{"key.destroy", `{"approvals": null}`, policies.Production, policies.ErrUndefined},
		{"key.destroy", `{"approvals": -2}`, policies.Production, policies.ErrUndefined},
		{"key.destroy", `{"approvals": 2.5}`, policies.Production, policies.ErrUndefined},
		{"key.destroy", `{"approvals": "2"}`, policies.Production, policies.ErrUndefined},
		{"key.destroy", `{"approvals": [2]}`, policies.Production, policies.ErrUndefined},
		{"key.destroy", `{"approvals": 99999999999999999999}`, policies.Production, policies.ErrUndefined},
		{"key.destroy", `{"class": "D"}`, policies.Production, policies.ErrBelowFloor},
		{"key.destroy", `{"class": "X"}`, policies.Production, policies.ErrBelowFloor},
		{"key.destroy", `{"class": null}`, policies.Production, policies.ErrUndefined},
		{"key.destroy", `{"class": "A", "approvals": 0, "precedent": true}`, policies.Production, policies.ErrBelowFloor},
		{"key.destroy", `{"wait_seconds": 604799}`, policies.Production, policies.ErrBelowFloor},
		{"key.destroy", `{"wait_seconds": 2592001}`, policies.Production, policies.ErrBelowFloor},
		{"key.destroy", `{"cooling_off_seconds": 7776001}`, policies.Production, policies.ErrBelowFloor},
		{"key.destroy", `{"cooling_off_seconds": 9007199254740992}`, policies.Production, policies.ErrBelowFloor},
		{"key.destroy", `{"expiry_seconds": 7776001}`, policies.Production, policies.ErrBelowFloor},
		{"key.destroy", `{"witness": false}`, policies.Production, policies.ErrBelowFloor},
		{"key.destroy", `{"witness": null}`, policies.Production, policies.ErrUndefined},
		{"key.destroy", `{"approver_roles": []}`, policies.Production, policies.ErrBelowFloor},
		{"key.destroy", `{"approver_roles": [""]}`, policies.Production, policies.ErrUndefined},
		{"key.destroy", `{"roles": [{"role": "x", "count": 0}]}`, policies.Production, policies.ErrUndefined},
		{"key.destroy", `{"expiry_seconds": 0}`, policies.Production, policies.ErrUndefined},
		{"key.destroy", `{"reasons": []}`, policies.Production, policies.ErrUndefined},
		{"key.destroy", `{"allow": false}`, policies.Production, policies.ErrUndefined},
		{"key.destroy", `{"diversity": null}`, policies.Production, policies.ErrUndefined},
		{"key.steal", `{"class": "D", "approvals": 1}`, policies.Production, policies.ErrBelowFloor},
		{"key.suspend", `{"class": "P", "approvals": 1, "wait_seconds": 0, "review_seconds": 86400}`, policies.Production, nil},
		{"key.suspend", `{"class": "P", "approvals": 1, "wait_seconds": 0, "review_seconds": 86401}`, policies.Production, policies.ErrBelowFloor},
		{"key.suspend", `{"class": "P", "approvals": 1, "wait_seconds": 0}`, policies.Production, policies.ErrBelowFloor},
		{"key.suspend", `{"class": "P", "approvals": 2, "wait_seconds": 0, "review_seconds": 1}`, policies.Production, policies.ErrBelowFloor},
		{"keystore.activate", `{"class": "S", "approvals": 3, "shares": true}`, policies.Production, nil},
		{"keystore.activate", `{"class": "S", "approvals": 2, "shares": true}`, policies.Production, policies.ErrBelowFloor},
		{"keystore.activate", `{"class": "S", "approvals": 3}`, policies.Production, policies.ErrBelowFloor},
		{"grant.create", `{"class": "D", "approvals": 1}`, policies.Production, policies.ErrBelowFloor},
		{"token.issue", `{"class": "D", "approvals": 1, "proposer_roles": []}`, policies.Production, policies.ErrBelowFloor},
		{"breakglass.open", `{"expiry_seconds": 14401}`, policies.Production, policies.ErrBelowFloor},
		{"backup.run", `{"class": "A", "approvals": 0, "precedent": true}`, policies.Production, policies.ErrBelowFloor},
	} {
		e, err := policies.New(context.Background(), policies.Options{
			Bundle: bundleWith(t, map[string]string{"lib/decide_quorum.rego": quorumPolicy(c.changes)}),
		})
		require.NoError(t, err)
		in := ask(c.operation, "ephi")
		in.Mode = c.mode
		_, err = e.Quorum(context.Background(), in)
		if c.want == nil {
			require.NoError(t, err, "%s %s", c.operation, c.changes)
			continue
		}
		require.ErrorIs(t, err, c.want, "%s %s", c.operation, c.changes)
		require.ErrorIs(t, err, policies.ErrPolicy)
	}
}
