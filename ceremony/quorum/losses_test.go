package quorum

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"conclave/custodian/people"
	"conclave/policies"
)

// fixed is a policy of one answer, for people with one of the proposer roles and perhaps the node.
type fixed struct {
	takes policies.QuorumDecision
	node  bool
}

func (f fixed) Quorum(_ context.Context, in policies.QuorumInput) (policies.QuorumDecision, error) {
	d := f.takes
	d.Allow = in.Requester.Kind == "node" && f.node || slices.ContainsFunc(in.Requester.Roles, func(r string) bool { return slices.Contains(d.ProposerRoles, r) })
	return d, nil
}

var noon = time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)

func somebodyIn(id, team, site, manager string, roles ...people.Role) *people.Person {
	return &people.Person{ID: id, Name: id, Roles: roles, Team: team, Site: site, Manager: manager, Status: people.StatusActive,
		ApprovalKeys: []people.Credential{{ID: id}}}
}

// drawn is a small register and a requirement.
func drawn(t *rapid.T, most int) ([]*people.Person, policies.QuorumDecision, Case, map[string]Holding) {
	n := rapid.IntRange(0, most).Draw(t, "people")
	var all []*people.Person
	var holders []string
	pick := func(name string, from ...string) string { return rapid.SampledFrom(from).Draw(t, name) }
	for i := range n {
		id := fmt.Sprintf("p%d", i)
		roles := rapid.SliceOfNDistinct(rapid.SampledFrom([]people.Role{people.RoleCustodian, people.RoleSecurityOfficer, people.RoleKeyManager, people.RoleWitness}),
			1, 3, func(r people.Role) people.Role { return r }).Draw(t, "roles")
		manager := ""
		if m := rapid.IntRange(-1, n-1).Draw(t, "manager"); m >= 0 && m != i {
			manager = fmt.Sprintf("p%d", m)
		}
		all = append(all, somebodyIn(id, pick("team", "a", "b", "c"), pick("site", "x", "y"), manager, roles...))
		if rapid.Bool().Draw(t, "holds") {
			holders = append(holders, id)
		}
	}
	takes := policies.QuorumDecision{Approvals: rapid.IntRange(1, 3).Draw(t, "approvals"), ApproverRoles: []string{"custodian", "key-manager"},
		ProposerRoles: []string{"security-officer", "key-manager"}, Witness: rapid.Bool().Draw(t, "witness"),
		Class: policies.Class(pick("class", "G", "G", "G", "S", "P", "D"))}
	if rapid.Bool().Draw(t, "officer") {
		takes.Roles = []policies.RoleCount{{Role: "security-officer", Count: rapid.IntRange(1, 2).Draw(t, "officers")}}
	}
	takes.Diversity = policies.Diversity{Teams: rapid.IntRange(1, 3).Draw(t, "teams"), Sites: rapid.IntRange(1, 2).Draw(t, "sites"),
		ReportingLine: rapid.Bool().Draw(t, "line")}
	c := Case{Operation: "test", TargetType: "test"}
	sets := map[string]Holding{}
	if takes.Class == policies.Attended {
		takes.Approvals = rapid.IntRange(2, 3).Draw(t, "threshold")
		c.Set, c.Threshold = "root", takes.Approvals
		sets["root"] = Holding{Threshold: c.Threshold, Total: 5, Holders: holders}
	}
	return all, takes, c, sets
}

// possible tries every requester, witness and choice of approvers, with the rules as DESIGN words them.
func possible(all []*people.Person, takes policies.QuorumDecision, c Case, sets map[string]Holding) bool {
	find := people.Among(all)
	asks := func(p *people.Person) bool {
		return p.Has(people.RoleSecurityOfficer) || p.Has(people.RoleKeyManager)
	}
	for _, r := range all {
		if !asks(r) {
			continue
		}
		if takes.Class == policies.Protective || takes.Class == policies.Direct {
			return true
		}
		for choice := range 1 << len(all) {
			for w := -1; w < len(all); w++ {
				if takes.Witness != (w >= 0) || w >= 0 && (choice&(1<<w) != 0 || !all[w].Has(people.RoleWitness) || takes.Class == policies.Governed && all[w] == r) {
					continue
				}
				if suffices(all, choice, r, takes, c, sets, find) {
					return true
				}
			}
		}
	}
	return false
}

func suffices(all []*people.Person, choice int, r *people.Person, takes policies.QuorumDecision, c Case, sets map[string]Holding, find people.Lookup) bool {
	teams, sites, roles, n := map[string]bool{}, map[string]bool{}, 0, 0
	if takes.Class == policies.Governed {
		teams[r.Team], sites[r.Site] = true, true
	}
	for i, p := range all {
		if choice&(1<<i) == 0 {
			continue
		}
		switch {
		case takes.Class == policies.Governed && (p == r || takes.Diversity.ReportingLine && slices.Contains(people.Line(p, find), r.ID)),
			!p.Has(people.RoleCustodian) && !p.Has(people.RoleKeyManager),
			takes.Class == policies.Attended && !slices.Contains(sets[c.Set].Holders, p.ID):
			return false
		}
		n++
		teams[p.Team], sites[p.Site] = true, true
		if p.Has(people.RoleSecurityOfficer) {
			roles++
		}
	}
	return n >= takes.Approvals && (len(takes.Roles) == 0 || roles >= takes.Roles[0].Count) &&
		len(teams) >= takes.Diversity.Teams && len(sites) >= takes.Diversity.Sites
}

// TestInvariant12_LossesAgainstEveryLoss compares the answers with trying everything on small registers.
func TestInvariant12_LossesAgainstEveryLoss(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		all, takes, c, sets := drawn(t, 6)
		r := NewRegister(all, sets, time.Time{})
		table := NewTable(fixed{takes: takes}, policies.Production, noon)
		fewest := len(all) + 1
		for lost := range 1 << len(all) {
			var left []*people.Person
			for i, p := range all {
				own := *p
				if lost&(1<<i) != 0 {
					own.Status = people.StatusLeft // still above whom they are above
				}
				left = append(left, &own)
			}
			here := slices.DeleteFunc(slices.Clone(left), func(p *people.Person) bool { return p.Status != people.StatusActive })
			lines(here, all)
			want := possible(here, takes, c, sets)
			words, err := NewRegister(left, sets, time.Time{}).Lack(t.Context(), table, c)
			require.NoError(t, err)
			require.Equal(t, want, words == "", words)
			if !want {
				fewest = min(fewest, len(all)-len(here))
			}
		}
		panels, err := r.panels(t.Context(), table, c)
		require.NoError(t, err)
		got := losses(panels)
		require.Equal(t, fewest-1, got.Survived)
		require.False(t, got.AtLeast)
		if got.Survived >= 0 {
			require.Len(t, got.Critical, fewest)
		}
	})
}

// lines makes the reporting lines of those who are left what they were: who has left still stands between.
func lines(here, all []*people.Person) {
	find := people.Among(all)
	present := people.Among(here)
	for _, p := range here {
		for _, above := range people.Line(p, find) {
			if present(above) != nil {
				p.Manager = above
				break
			}
			p.Manager = ""
		}
	}
}

// TestLossesOfManyAlike: what nothing tells apart is not tried one by one.
func TestLossesOfManyAlike(t *testing.T) {
	var all []*people.Person
	for i := range 400 {
		all = append(all, somebodyIn(fmt.Sprintf("p%03d", i), fmt.Sprintf("t%d", i%40), fmt.Sprintf("s%d", i%5), "", people.RoleCustodian))
	}
	takes := policies.QuorumDecision{Class: policies.Governed, Approvals: 2, ApproverRoles: []string{"custodian"}, ProposerRoles: []string{"custodian"}, Roles: []policies.RoleCount{{Role: "security-officer", Count: 1}}}
	assess := func() Losses {
		panels, err := NewRegister(all, nil, time.Time{}).panels(t.Context(), NewTable(fixed{takes: takes}, policies.Production, noon), Case{Operation: "test"})
		require.NoError(t, err)
		return losses(panels)
	}
	require.Equal(t, -1, assess().Survived)
	for i := range 4 {
		all[i*7].Roles = append(all[i*7].Roles, people.RoleSecurityOfficer)
	}
	require.Equal(t, Losses{Survived: 3, Critical: []string{"p000", "p007", "p014", "p021"}}, assess())
	takes.Diversity = policies.Diversity{Teams: 2, Sites: 2, ReportingLine: true}
	require.Equal(t, 3, assess().Survived)
	takes.Roles = nil
	require.Equal(t, Losses{Survived: MaxLosses, AtLeast: true}, assess())
}
