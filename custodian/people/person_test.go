package people_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"conclave/custodian/people"
)

func TestValidatePerson(t *testing.T) {
	cases := map[string]struct {
		change func(t *testing.T, p *people.Person)
		field  string
	}{
		"id":              {func(_ *testing.T, p *people.Person) { p.ID = "Ada" }, "id"},
		"name":            {func(_ *testing.T, p *people.Person) { p.Name = "ada\u202e" }, "name"},
		"no role":         {func(_ *testing.T, p *people.Person) { p.Roles = nil }, "roles"},
		"unknown role":    {func(_ *testing.T, p *people.Person) { p.Roles = []people.Role{"root"} }, "roles[0]"},
		"role twice":      {func(_ *testing.T, p *people.Person) { p.Roles = append(p.Roles, p.Roles[0]) }, "roles[1]"},
		"administrator":   {func(_ *testing.T, p *people.Person) { p.Roles = append(p.Roles, people.RoleAdministrator) }, "roles"},
		"auditor":         {func(_ *testing.T, p *people.Person) { p.Roles = append(p.Roles, people.RoleAuditor) }, "roles"},
		"group":           {func(_ *testing.T, p *people.Person) { p.Groups = []string{"ops", "ops"} }, "groups[1]"},
		"groups":          {func(_ *testing.T, p *people.Person) { p.Groups = make([]string, 33) }, "groups"},
		"group id":        {func(_ *testing.T, p *people.Person) { p.Groups = []string{"Ops"} }, "groups[0]"},
		"team":            {func(_ *testing.T, p *people.Person) { p.Team = "" }, "team"},
		"site":            {func(_ *testing.T, p *people.Person) { p.Site = "" }, "site"},
		"own manager":     {func(_ *testing.T, p *people.Person) { p.Manager = p.ID }, "manager"},
		"status":          {func(_ *testing.T, p *people.Person) { p.Status = "" }, "status"},
		"ends, custodian": {func(_ *testing.T, p *people.Person) { p.Until = &now }, "until"},
		"no key":          {func(_ *testing.T, p *people.Person) { p.ApprovalKeys = nil }, "approval_keys"},
		"key twice":       {func(_ *testing.T, p *people.Person) { p.ApprovalKeys = append(p.ApprovalKeys, p.ApprovalKeys[0]) }, "approval_keys[1]"},
		"algorithm":       {func(_ *testing.T, p *people.Person) { p.ApprovalKeys[0].Alg = "ES256" }, "approval_keys[0].alg"},
		"key id":          {func(_ *testing.T, p *people.Person) { p.ApprovalKeys[0].ID = "x" }, "approval_keys[0].id"},
		"weak key": {func(_ *testing.T, p *people.Person) { // a point of order 1: anybody's signature verifies
			p.ApprovalKeys[0].Key = json.RawMessage(`{"kty":"OKP","crv":"Ed25519","x":"AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}`)
		}, "approval_keys[0].key"},
		"key_ops": {func(_ *testing.T, p *people.Person) {
			p.ApprovalKeys[0].Key = json.RawMessage(strings.TrimSuffix(string(p.ApprovalKeys[0].Key), "}") + `,"key_ops":["verify"]}`)
		}, "approval_keys[0].key"},
		"key":          {func(_ *testing.T, p *people.Person) { p.ApprovalKeys[0].Key = json.RawMessage(`{}`) }, "approval_keys[0].key"},
		"no share key": {func(_ *testing.T, p *people.Person) { p.ShareKey = nil }, "share_key"},
		"share key":    {func(t *testing.T, p *people.Person) { p.ShareKey = edJWK(t) }, "share_key"},
		"share key id": {func(_ *testing.T, p *people.Person) { p.ShareKeyID = "x" }, "share_key_id"},
		"one key for both": {func(t *testing.T, p *people.Person) {
			p.ApprovalKeys = append(p.ApprovalKeys, credential(t, p.ShareKey))
		}, "share_key"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			p := person(t, "ada", people.RoleCustodian)
			c.change(t, p)
			require.Equal(t, c.field, field(t, p.Validate()))
		})
	}
	officer := person(t, "bo", people.RoleSecurityOfficer)
	officer.ShareKey, officer.ShareKeyID = nil, ""
	require.NoError(t, officer.Validate(), "who holds no share needs no key to open one")
}

func TestLines(t *testing.T) {
	ada, bo, cy, di := person(t, "ada", people.RoleWitness), person(t, "bo", people.RoleWitness), person(t, "cy", people.RoleWitness), person(t, "di", people.RoleWitness)
	ada.Manager, bo.Manager, cy.Manager = "bo", "cy", "the board"
	all := []*people.Person{ada, bo, cy, di}
	find := people.Among(all)
	require.NoError(t, people.CheckLines(all))
	require.Equal(t, []string{"bo", "cy", "the board"}, people.Line(ada, find))
	require.True(t, people.SameLine(ada, cy, find))
	require.True(t, people.SameLine(cy, ada, find))
	require.False(t, people.SameLine(ada, di, find))

	di.Manager = "ada"
	cy.Manager = "ada"
	require.Equal(t, []string{"bo", "cy", "ada"}, people.Line(ada, find), "a circle ends")
	require.Equal(t, []string{"ada", "bo", "cy"}, people.Line(di, find))
	require.Equal(t, "people[ada].manager", field(t, people.CheckLines(all)))
	require.ErrorContains(t, people.CheckLines([]*people.Person{di, cy, bo, ada}), "cy → ada → bo → cy")
	ada.Manager = "ada"
	require.Error(t, people.CheckLines(all))
	require.Empty(t, people.Line(ada, find))
}
