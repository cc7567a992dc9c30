package people_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"conclave/custodian/people"
)

func TestInvariant03_WhoCounts(t *testing.T) {
	day := 24 * time.Hour
	cases := map[string]struct {
		change func(p *people.Person)
		role   people.Role
		code   string
	}{
		"custodian":          {func(*people.Person) {}, people.RoleCustodian, ""},
		"any role":           {func(*people.Person) {}, "", ""},
		"wrong role":         {func(*people.Person) {}, people.RoleSecurityOfficer, people.CodeWrongRole},
		"suspended":          {func(p *people.Person) { p.Status = people.StatusSuspended }, "", people.CodeSuspended},
		"suspended since":    {func(p *people.Person) { p.SuspendedAt = &now }, "", people.CodeSuspended},
		"no status":          {func(p *people.Person) { p.Status = "" }, "", people.CodeSuspended},
		"left":               {func(p *people.Person) { p.Status = people.StatusLeft }, "", people.CodeLeft},
		"unsigned":           {func(p *people.Person) { p.Acknowledgement = nil }, people.RoleCustodian, people.CodeUnacknowledged},
		"no envelope":        {func(p *people.Person) { p.Acknowledgement.Envelope = nil }, "", people.CodeUnacknowledged},
		"expired":            {func(p *people.Person) { p.Acknowledgement.ExpiresAt = now }, "", people.CodeAckExpired},
		"over a year":        {func(p *people.Person) { p.Acknowledgement = forever(now.Add(-366 * day)) }, "", people.CodeAckExpired},
		"old form":           {func(p *people.Person) { p.Acknowledgement.FormVersion = "0" }, "", people.CodeAckVersion},
		"future":             {func(p *people.Person) { p.Acknowledgement = acknowledged(now.Add(time.Second)) }, "", people.CodeUnacknowledged},
		"engagement over":    {func(p *people.Person) { p.Until = &now }, "", people.CodeEnded},
		"engagement goes on": {func(p *people.Person) { p.Until = new(now.Add(day)) }, "", ""},
		"unsigned witness": {func(p *people.Person) {
			p.Acknowledgement, p.Roles = nil, append(p.Roles, people.RoleWitness)
		}, people.RoleWitness, ""},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			p := person(t, "ada", people.RoleCustodian)
			c.change(p)
			err := people.Eligible(p, c.role, now)
			require.Equal(t, c.code, code(err))
			require.Equal(t, c.code == "", err == nil)
		})
	}
	require.Equal(t, people.CodeUnknown, code(people.Eligible(nil, "", now)))
	require.NoError(t, people.Present(person(t, "ada", people.RoleCustodian)))
	require.Equal(t, people.CodeUnknown, code(people.Present(nil)))
}

func forever(at time.Time) *people.Acknowledgement {
	a := acknowledged(at)
	a.ExpiresAt = at.Add(100 * people.AcknowledgementPeriod)
	return a
}

func TestInvariant03_OneHumanOneVoice(t *testing.T) {
	ada, bo := person(t, "ada", people.RoleCustodian), person(t, "bo", people.RoleSecurityOfficer, people.RoleWitness)
	cy, di := person(t, "cy", people.RoleCustodian), person(t, "di", people.RoleCustodian)
	ada.ApprovalKeys = append(ada.ApprovalKeys, credential(t, ecJWK(t)))
	di.ApprovalKeys[0].Revoked = true
	bo.Site = ada.Site
	voice := func(p *people.Person, i int) people.Voice {
		return people.Voice{Person: p, Credential: p.ApprovalKeys[i].ID}
	}
	tally := people.Count([]people.Voice{
		voice(ada, 0), voice(ada, 1), voice(bo, 0), voice(cy, 0), voice(di, 0),
		{Person: bo, Credential: ada.ApprovalKeys[0].ID}, {Credential: "nobody"},
	}, "", map[string]string{"cy": people.CodeExcludedRequester}, now)
	require.Equal(t, []*people.Person{ada, bo}, tally.Counted)
	var codes []string
	for _, r := range tally.Refused {
		codes = append(codes, r.Code)
	}
	require.Equal(t, []string{people.CodeCounted, people.CodeExcludedRequester, people.CodeCredentialRevoked,
		people.CodeCredentialUnknown, people.CodeUnknown}, codes)
	require.Equal(t, 1, tally.InRole(people.RoleSecurityOfficer, now))
	require.Equal(t, 0, tally.InRole(people.RoleAuditor, now))
	require.Equal(t, 2, tally.Teams())
	require.Equal(t, 1, tally.Sites())

	later := now.Add(2 * people.AcknowledgementPeriod)
	require.Empty(t, people.Count([]people.Voice{voice(ada, 0), voice(bo, 0)}, "", nil, later).Counted, "judged at execution time")
	require.Len(t, people.Count([]people.Voice{voice(ada, 0), voice(bo, 0)}, people.RoleWitness, nil, later).Counted, 1)
}

// TestFormDigest pins the words of the form: who changes them gives the form a new version.
func TestFormDigest(t *testing.T) {
	f := people.CurrentForm()
	require.Equal(t, "1", f.Version)
	require.Equal(t, formDigest, f.Digest(), "the words changed: give the form a new version")
	require.Contains(t, f.Text(), "at most one share")
}

func TestTerms(t *testing.T) {
	p := person(t, "ada", people.RoleCustodian)
	at := now.Add(300 * time.Millisecond)
	good := people.NewTerms("instance", p, []string{"root"}, at)
	from, until, err := good.Validate("instance", p, at)
	require.NoError(t, err)
	require.Equal(t, now, from)
	require.Equal(t, now.Add(people.AcknowledgementPeriod), until)
	body, err := json.Marshal(good)
	require.NoError(t, err)
	require.Contains(t, string(body), `"effective_at":"2026-05-04T08:00:00Z"`)

	for name, change := range map[string]func(x *people.Terms){
		"instance":     func(x *people.Terms) { x.Instance = "" },
		"person":       func(x *people.Terms) { x.Person = "bo" },
		"name":         func(x *people.Terms) { x.Name = "Somebody" },
		"staff_number": func(x *people.Terms) { x.StaffNumber = "7" },
		"roles":        func(x *people.Terms) { x.Roles = nil },
		"form_version": func(x *people.Terms) { x.FormVersion = "0" },
		"form_sha256":  func(x *people.Terms) { x.FormSHA256 = "00" },
		"conflicts":    func(x *people.Terms) { x.Conflicts = "none\u202e" },
		"backup":       func(x *people.Terms) { x.Backup = "a\nb" },
		"trained_on":   func(x *people.Terms) { x.TrainedOn = "last week" },
		"effective_at": func(x *people.Terms) { x.EffectiveAt = now.Add(-25 * time.Hour).Format(time.RFC3339) },
		"expires_at":   func(x *people.Terms) { x.ExpiresAt = now.Add(366 * 24 * time.Hour).Format(time.RFC3339) },
	} {
		bad := good
		change(&bad)
		_, _, err := bad.Validate("instance", p, at)
		require.Equal(t, name, field(t, err))
	}

	// Times have one spelling, since verifiers read no other.
	east := time.FixedZone("east", 3600)
	for _, spelt := range []string{from.In(east).Format(time.RFC3339), from.Format("2006-01-02T15:04:05.000Z07:00")} {
		bad := good
		bad.EffectiveAt = spelt
		_, _, err := bad.Validate("instance", p, at)
		require.Equal(t, "effective_at", field(t, err), spelt)
	}
	late := good
	late.ExpiresAt = until.In(east).Format(time.RFC3339)
	_, _, err = late.Validate("instance", p, at)
	require.Equal(t, "expires_at", field(t, err))
}

const formDigest = "7241179833d62bc7168cea972dfb2411695dd901efdfc76c1676e07844a7b20a"
