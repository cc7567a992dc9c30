package quorum

import (
	"encoding/json"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"conclave/custodian/key"
	"conclave/custodian/people"
	"conclave/policies"
)

// bundle is the embedded policy.
func bundle(t testing.TB) *policies.Engine {
	t.Helper()
	e, err := policies.New(t.Context(), policies.Options{Timeout: time.Minute})
	require.NoError(t, err)
	return e
}

func acknowledged(p *people.Person) *people.Person {
	p.Acknowledgement = &people.Acknowledgement{FormVersion: people.CurrentForm().Version, SignedAt: noon.Add(-time.Hour),
		ExpiresAt: noon.Add(300 * 24 * time.Hour), Envelope: json.RawMessage(`{}`)}
	return p
}

// firm is five custodians on three sites with a share each of 3 of 5, two of them officers, a key manager, two
// witnesses and an auditor.
func firm(t testing.TB) Facts {
	f := Facts{Operations: []string{"acknowledgement.sign", "backup.run", "custodian.add", "custodian.suspend", "key.create", "key.destroy", "keystore.activate",
		"policy.activate", "shares.reissue"}, Mode: policies.Production, Policy: bundle(t), Digest: "d", Now: noon}
	for i, id := range []string{"ada", "ben", "cleo", "dan", "eve"} {
		roles := []people.Role{people.RoleCustodian}
		if i < 2 {
			roles = append(roles, people.RoleSecurityOfficer)
		}
		f.People = append(f.People, acknowledged(somebodyIn(id, []string{"red", "green"}[i%2], []string{"x", "y", "z"}[i%3], "", roles...)))
		at := noon.Add(-time.Hour)
		f.Shares = append(f.Shares, &people.Share{Set: "root", Epoch: 1, Index: i + 1, Custodian: id, Status: people.ShareConfirmed, ConfirmedAt: &at})
	}
	f.People = append(f.People, acknowledged(somebodyIn("fay", "blue", "x", "", people.RoleKeyManager)),
		somebodyIn("wes", "blue", "x", "", people.RoleWitness), somebodyIn("wil", "blue", "y", "", people.RoleWitness),
		somebodyIn("aud", "audit", "z", "", people.RoleAuditor))
	f.Sets = []*people.ShareSet{{ID: "root", Keystore: "soft", Threshold: 3, Total: 5, Epoch: 1}}
	return f
}

func (h *Health) of(t *testing.T, matter string) Outlook {
	t.Helper()
	i := slices.IndexFunc(h.Operations, func(o Outlook) bool { return o.Matter() == matter })
	require.GreaterOrEqual(t, i, 0, matter)
	return h.Operations[i]
}

func TestHealthOfAFirm(t *testing.T) {
	f := firm(t)
	h, err := Assess(t.Context(), f)
	require.NoError(t, err)
	require.Equal(t, 9, h.Active)
	require.Empty(t, h.Levels())
	require.Empty(t, h.Overdue)
	require.Equal(t, []string{"important"}, h.Sets[0].Sizing.Presets)

	add := h.of(t, "custodian.add")
	require.True(t, add.Ready)
	require.Equal(t, Losses{Survived: 1, Critical: []string{"ada", "ben"}}, add.Losses, "the two officers")
	require.Equal(t, []int{6, 6, 0}, []int{add.CanAsk, add.CanApprove, add.CanAttend})
	require.Equal(t, 2, h.of(t, "keystore.activate set root").Losses.Survived)
	require.Equal(t, 1, h.of(t, "shares.reissue set root").Losses.Survived, "two witnesses")
	require.Equal(t, policies.PreAuthorised, h.of(t, "backup.run").Class)
	require.Equal(t, NoPeople, h.of(t, "backup.run").Level())
	require.True(t, h.of(t, "key.create protected").Ready)
	require.NotEmpty(t, h.of(t, "key.destroy protected").Block, "both witnesses are of one team")
	require.Contains(t, h.of(t, "key.destroy protected").Block, Place{"team", "blue"})
	require.Contains(t, h.of(t, "custodian.add").Act, Place{"team", "red"}, "ada, cleo and eve")
	require.NotContains(t, h.of(t, "policy.activate").Act, Place{"team", "red"}, "it takes two teams")
	require.Equal(t, 9, h.of(t, "acknowledgement.sign").CanAsk, "everybody for themselves")
	require.Equal(t, 2, h.of(t, "custodian.suspend").CanAsk)
	require.Empty(t, h.of(t, "custodian.suspend").Act, "one person does it alone anyway")

	detail, err := Detail(t.Context(), f, "custodian.add")
	require.NoError(t, err)
	require.Len(t, detail[0].Requesters, 6)
	require.Equal(t, Asking{Person: "ada", Ready: true, Approvers: 5}, detail[0].Requesters[0])
	require.Equal(t, []string{"ada", "ben", "cleo", "dan", "eve", "fay"}, detail[0].Approvers)
}

// TestInvariant12_HealthFollowsPeople: what changes about people is seen at once.
func TestInvariant12_HealthFollowsPeople(t *testing.T) {
	f := firm(t)
	f.People[0].Acknowledgement = nil
	f.People[2].Acknowledgement.ExpiresAt = noon.Add(10 * 24 * time.Hour)
	f.Shares[3].Status, f.Shares[3].ConfirmedAt = people.ShareIssued, nil
	soon, past := noon.Add(20*24*time.Hour), noon.Add(-time.Hour)
	f.Drills = []people.DrillDue{{Set: "root", Kind: people.DrillVerification, Person: "eve", Due: past, Late: true},
		{Set: "root", Kind: people.DrillTableTop, Person: "ada", Due: soon}, {Set: "root", Kind: people.DrillSite, Person: "ada", Due: soon.AddDate(0, 1, 0)}}
	h, err := Assess(t.Context(), f)
	require.NoError(t, err)
	ends := f.People[2].Acknowledgement.ExpiresAt
	require.Equal(t, []Overdue{{Kind: "acknowledgement", Person: "ada", Late: true}, {Kind: "acknowledgement", Person: "cleo", Due: &ends},
		{Kind: "confirmation", Person: "dan", Set: "root", Late: true}, {Kind: "drill", Person: "eve", Set: "root", Due: &past, Late: true},
		{Kind: "table-top", Person: "ada", Set: "root", Due: &soon}}, h.Overdue)
	require.Equal(t, NoSpare, h.Levels()["custodian.add"], "ben is the only officer who counts")
	require.Equal(t, []string{"ben"}, h.of(t, "custodian.add").Losses.Critical)

	f.People[1].Status = people.StatusSuspended
	f.People[2].Status = people.StatusLeft
	h, err = Assess(t.Context(), f)
	require.NoError(t, err)
	require.Equal(t, Lost, h.Levels()["custodian.add"])
	require.Equal(t, "nobody else is left with role security officer", h.of(t, "custodian.add").Lack)
	require.Equal(t, Lost, h.Levels()["share set root"])
	require.Equal(t, -1, h.of(t, "keystore.activate set root").Losses.Survived)
}

func TestSizing(t *testing.T) {
	spread := func(at ...int) (sites []string) {
		for i, n := range at {
			for range n {
				sites = append(sites, fmt.Sprintf("s%d", i))
			}
		}
		return sites
	}
	for _, c := range []struct {
		m, n    int
		at      []int
		against []string
		presets []string
	}{
		{2, 3, []int{1, 1, 1}, nil, []string{"standard"}},
		{3, 5, []int{2, 2, 1}, nil, []string{"important"}},
		{4, 7, []int{3, 2, 2}, nil, []string{"root"}},
		{3, 5, []int{2, 1, 1, 1}, nil, []string{"important"}},
		{3, 5, []int{3, 1, 1}, []string{"sites", "site-loss"}, nil},
		{3, 5, []int{5}, []string{"sites", "site-loss"}, nil},
		{4, 7, []int{4, 3}, []string{"sites", "site-loss"}, nil},
		{3, 3, []int{1, 1, 1}, []string{"size", "spare", "site-loss"}, nil},
		{2, 5, []int{1, 1, 1, 1, 1}, []string{"majority"}, nil},
		{1, 3, []int{1, 1, 1}, []string{"size", "majority", "sites"}, nil},
		{3, 5, []int{2, 1}, []string{"site-loss"}, nil},
		{4, 6, []int{2, 2, 2}, nil, nil},
	} {
		s := Size(c.m, c.n, spread(c.at...))
		var against []string
		for _, r := range s.Rules {
			if !r.Holds {
				against = append(against, r.Name)
			}
		}
		require.Equal(t, c.against, against, "%d of %d at %v", c.m, c.n, c.at)
		require.Equal(t, c.presets, s.Presets, "%d of %d at %v", c.m, c.n, c.at)
		require.Equal(t, against == nil, s.Good)
	}
}

func TestSimulate(t *testing.T) {
	f := firm(t)
	simulate := func(s Supposition) *Simulation {
		require.NoError(t, s.Check(f.People, f.Sets))
		out, err := Simulate(t.Context(), f, &s)
		require.NoError(t, err)
		return out
	}
	verdict := func(s *Simulation, operation string) string {
		i := slices.IndexFunc(s.Operations, func(c Change) bool { return c.Operation == operation })
		return s.Operations[i].Verdict
	}
	gone := simulate(Supposition{Remove: []string{"ada"}, Suspend: []string{"ben"}})
	require.Equal(t, "lost", verdict(gone, "custodian.add"))
	require.Equal(t, "weaker", verdict(gone, "keystore.activate"))
	require.Equal(t, []int{2, 0}, []int{gone.Sets[0].Before.Survives, gone.Sets[0].After.Survives})
	require.Equal(t, "same", verdict(simulate(Supposition{Remove: []string{"aud"}}), "custodian.add"))
	more := simulate(Supposition{Add: []Newcomer{{ID: "gus", Roles: []people.Role{people.RoleCustodian, people.RoleSecurityOfficer}, Team: "blue", Site: "z"}},
		Sets: map[string]NewSet{"root": {Threshold: 4, Holders: []string{"ada", "ben", "cleo", "dan", "eve", "gus"}}}})
	require.Equal(t, "stronger", verdict(more, "custodian.add"))
	require.Equal(t, SetStand{Threshold: 4, Total: 6, Holders: []string{"ada", "ben", "cleo", "dan", "eve", "gus"}, Survives: 2,
		Sizing: more.Sets[0].After.Sizing}, more.Sets[0].After)
	demoted := simulate(Supposition{Roles: map[string][]people.Role{"ada": {people.RoleWitness}}})
	require.Equal(t, "weaker", verdict(demoted, "custodian.add"))
	require.Equal(t, "ada", f.People[0].ID)
	require.True(t, f.People[0].Has(people.RoleCustodian), "nothing is changed")
}

// TestInvariant12_APolicyIsTriedOut: another bundle judges afterwards only.
func TestInvariant12_APolicyIsTriedOut(t *testing.T) {
	f := firm(t)
	f.Operations = []string{"custodian.add"}
	f.Policy = fixed{takes: policies.QuorumDecision{Class: policies.Governed, Approvals: 2, ApproverRoles: []string{"custodian"}, ProposerRoles: []string{"key-manager"}}}
	f.Then = fixed{takes: policies.QuorumDecision{Class: policies.Governed, Approvals: 6, ApproverRoles: []string{"custodian"}, ProposerRoles: []string{"key-manager"}}}
	out, err := Simulate(t.Context(), f, &Supposition{Policy: "d"})
	require.NoError(t, err)
	require.Equal(t, "lost", out.Operations[0].Verdict)
	require.Equal(t, "5 of the 6 approvals that it takes are left", out.Operations[0].After.Lack)
}

func TestSuppositionsAreChecked(t *testing.T) {
	f := firm(t)
	many := make([]string, MaxSupposed+1)
	for name, c := range map[string]struct {
		s     Supposition
		field string
	}{
		"nothing":       {Supposition{}, "remove"},
		"stranger":      {Supposition{Remove: []string{"zoe"}}, "remove[0]"},
		"many":          {Supposition{Suspend: many}, "suspend"},
		"no such role":  {Supposition{Roles: map[string][]people.Role{"ada": {"king"}}}, "roles[0]"},
		"conflict":      {Supposition{Roles: map[string][]people.Role{"ada": {people.RoleAuditor, people.RoleCustodian}}}, "roles"},
		"taken":         {Supposition{Add: []Newcomer{{ID: "ada"}}}, "add[0].id"},
		"no team":       {Supposition{Add: []Newcomer{{ID: "gus", Roles: []people.Role{"custodian"}, Site: "x"}}}, "add[0].team"},
		"bad id":        {Supposition{Add: []Newcomer{{ID: "../x", Roles: []people.Role{"custodian"}, Site: "x", Team: "x"}}}, "add[0].id"},
		"no such set":   {Supposition{Sets: map[string]NewSet{"other": {2, []string{"ada"}}}}, "share_sets"},
		"no holders":    {Supposition{Sets: map[string]NewSet{"root": {2, nil}}}, "share_sets.root.holders"},
		"twice":         {Supposition{Sets: map[string]NewSet{"root": {2, []string{"ada", "ada"}}}}, "share_sets.root.holders[1]"},
		"foreign share": {Supposition{Sets: map[string]NewSet{"root": {2, []string{"zoe"}}}}, "share_sets.root.holders[0]"},
		"threshold":     {Supposition{Sets: map[string]NewSet{"root": {-1, []string{"ada"}}}}, "share_sets.root.threshold"},
	} {
		t.Run(name, func(t *testing.T) {
			var field *key.FieldError
			require.ErrorAs(t, c.s.Check(f.People, f.Sets), &field)
			require.Equal(t, c.field, field.Field)
		})
	}
}

// BenchmarkAssess is health of 300 people and 70 operations on a bundle asked before.
func BenchmarkAssess(b *testing.B) {
	f := firm(b)
	for i := range 300 {
		f.People = append(f.People, acknowledged(somebodyIn(fmt.Sprintf("p%03d", i), fmt.Sprintf("t%d", i%20), fmt.Sprintf("s%d", i%5), fmt.Sprintf("p%03d", i/8),
			[]people.Role{people.RoleCustodian, people.RoleKeyManager, people.RoleKeyOwner, people.RoleWitness}[i%4])))
	}
	f.Operations = nil
	for _, kind := range []string{"key.create", "key.destroy", "custodian.add", "policy.activate", "grant.create", "shares.reissue", "keystore.activate"} {
		for range 10 {
			f.Operations = append(f.Operations, kind)
		}
	}
	r := NewRegister(f.People, Holdings(f.Sets, f.Shares), f.Now)
	table := NewTable(f.Policy, f.Mode, f.Now)
	for b.Loop() {
		_, err := r.outlooks(b.Context(), table, f.Operations, f.Sets)
		require.NoError(b, err)
	}
}
