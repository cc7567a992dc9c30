package custodian_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"conclave/custodian"
	"conclave/custodian/access"
	"conclave/custodian/custodiantest"
	"conclave/custodian/identity"
	"conclave/custodian/key"
	"conclave/custodian/ledger"
	"conclave/custodian/oversight"
	"conclave/custodian/people"
)

// emergency lets a person or application use the demo key for an hour, as breakglass.open does.
func emergency(t testing.TB, c *custodiantest.Custodian, kind identity.Kind, principal string, ops ...access.Operation) *oversight.BreakGlass {
	t.Helper()
	now := c.Clock.Now()
	b := &oversight.BreakGlass{ID: "bg-test", Kind: kind, Principal: principal, Keys: []string{custodiantest.KeyID}, Operations: ops, Reason: "an emergency",
		OpenedAt: now, ExpiresAt: now.Add(time.Hour), Ceremony: "c-emergency"}
	require.NoError(t, b.Validate())
	c.Put(t, custodian.KindBreakGlass, b.ID, b)
	return b
}

func withoutGrant(t testing.TB, c *custodiantest.Custodian) {
	t.Helper()
	now := c.Clock.Now()
	change(t, c, custodian.KindGrant, custodiantest.GrantID, func(g *access.Grant) { g.RevokedAt = &now })
}

// Emergency access ends by date alone: a decision that was kept does not outlive it by a second.
func TestInvariant01_EmergencyAccessEndsWithItsTime(t *testing.T) {
	ctx := context.Background()
	c := custodiantest.New(t, custodiantest.Options{})
	made := mustUse(t, c, encrypt(custodiantest.KeyID, "a medical record"))
	withoutGrant(t, c)
	use := decrypt(made.Ciphertext)
	use.ReasonCode = "treatment"
	used, err := c.Use(ctx, c.App, use)
	requireDenied(t, "grant_revoked", used, err)

	emergency(t, c, identity.Application, custodiantest.ApplicationID, access.Decrypt)
	for range 3 { // the later ones from memory
		opened, err := c.Use(ctx, c.App, use)
		require.NoError(t, err)
		require.Equal(t, "a medical record", string(opened.Plaintext))
		require.Equal(t, map[string]any{"breakglass": "c-emergency", "reason_code": "treatment"}, detailOf(t, last(t, c)))
	}
	c.Clock.Advance(time.Hour - time.Second)
	_, err = c.Use(ctx, c.App, use)
	require.NoError(t, err)
	c.Clock.Advance(time.Second)
	used, err = c.Use(ctx, c.App, use)
	requireDenied(t, "grant_revoked", used, err) // as before
}

func TestEmergencyAccessStandsForAGrantAndNothingElse(t *testing.T) {
	ctx := context.Background()
	c := custodiantest.New(t, custodiantest.Options{})
	c.AddKey(t, "other", key.Internal)
	c.AddGrant(t, "g-other", custodiantest.ApplicationID, "other")
	made := mustUse(t, c, encrypt(custodiantest.KeyID, "record"))
	foreign := mustUse(t, c, encrypt("other", "record"))
	b := emergency(t, c, identity.Human, "demo-ben", access.Decrypt)
	ben, use := human("demo-ben"), decrypt(made.Ciphertext)
	setStatus := func(status people.Status) {
		change(t, c, custodian.KindPerson, ben.ID, func(p *people.Person) { p.Status = status })
	}

	used, err := c.Use(ctx, ben, use)
	requireDenied(t, "reason_code_required", used, err)
	use.ReasonCode = "routine"
	used, err = c.Use(ctx, ben, use)
	requireDenied(t, "reason_code_not_allowed", used, err)
	use.ReasonCode = "incident-response"
	opened, err := c.Use(ctx, ben, use)
	require.NoError(t, err)
	require.Equal(t, "record", string(opened.Plaintext))
	require.Equal(t, ben.ID, last(t, c).Actor.ID)

	for name, tc := range map[string]struct {
		who    identity.Principal
		use    custodian.Use
		code   string
		before func()
	}{
		"another person":     {human("demo-dan"), use, "grant_missing", nil},
		"another operation":  {ben, dataKey(custodiantest.KeyID), "grant_operation", nil},
		"another key":        {ben, custodian.Use{Operation: access.Decrypt, Ciphertext: foreign.Ciphertext, ReasonCode: "recovery"}, "grant_missing", nil},
		"suspended person":   {ben, use, "caller_not_active", func() { setStatus(people.StatusSuspended) }},
		"an application too": {identity.Principal{Kind: identity.Application, ID: "demo-ben"}, use, "grant_missing", nil},
	} {
		t.Run(name, func(t *testing.T) {
			if tc.before != nil {
				tc.before()
			}
			_, err := c.Use(ctx, tc.who, tc.use)
			var refusal *custodian.Denied
			require.ErrorAs(t, err, &refusal)
			var codes []string
			for _, r := range refusal.Reasons {
				codes = append(codes, r.Code)
			}
			require.Contains(t, codes, tc.code)
			require.Equal(t, ledger.Deny, last(t, c).Outcome)
		})
	}
	setStatus(people.StatusActive)
	changeVersion(t, c, custodiantest.KeyID, 1, func(v *key.Version) { v.RUPEnd = c.Clock.Now() })
	_, err = c.Use(ctx, ben, use)
	require.Error(t, err, "dates hold")
	changeVersion(t, c, custodiantest.KeyID, 1, func(v *key.Version) { v.RUPEnd = c.Clock.Now().AddDate(1, 0, 0) })
	_, err = c.Use(ctx, ben, use)
	require.NoError(t, err)

	now := c.Clock.Now()
	b.ClosedAt = &now
	c.Put(t, custodian.KindBreakGlass, b.ID, b)
	used, err = c.Use(ctx, ben, use)
	requireDenied(t, "emergency_access_ended", used, err)
}

// What a grant covers is no emergency, and a batch marks its items.
func TestEmergencyAccessIsMarkedInBatches(t *testing.T) {
	ctx := context.Background()
	c := custodiantest.New(t, custodiantest.Options{})
	made := mustUse(t, c, encrypt(custodiantest.KeyID, "record"))
	emergency(t, c, identity.Application, custodiantest.ApplicationID, access.Decrypt)
	use := decrypt(made.Ciphertext)
	_, err := c.Use(ctx, c.App, use)
	require.NoError(t, err)
	require.Empty(t, detailOf(t, last(t, c)))

	withoutGrant(t, c)
	use.ReasonCode = "recovery"
	items, err := c.UseBatch(ctx, c.App, []custodian.Use{use, use})
	require.NoError(t, err)
	require.NoError(t, items[1].Err)
	detail := detailOf(t, last(t, c))
	require.Equal(t, "recovery", detail["reason_code"])
	require.Equal(t, "c-emergency", detail["items"].([]any)[0].(map[string]any)["b"])
}

// A row put into the database by hand opens nothing.
func TestInvariant08_EmergencyAccessByHandOpensNothing(t *testing.T) {
	ctx := context.Background()
	c := custodiantest.New(t, custodiantest.Options{})
	made := mustUse(t, c, encrypt(custodiantest.KeyID, "record"))
	b := emergency(t, c, identity.Human, "demo-ben", access.Decrypt)
	c.Clock.Advance(2 * time.Hour)
	use := decrypt(made.Ciphertext)
	use.ReasonCode = "recovery"
	_, err := c.Use(ctx, human("demo-ben"), use)
	require.Error(t, err)
	result, err := intruder(t, c).Exec(`UPDATE authority_rows SET body = CAST(replace(CAST(body AS TEXT), ?, ?) AS BLOB) WHERE kind = 'breakglass'`,
		b.ExpiresAt.Format(time.RFC3339), b.ExpiresAt.AddDate(1, 0, 0).Format(time.RFC3339))
	require.NoError(t, err)
	changed, err := result.RowsAffected()
	require.NoError(t, err)
	require.EqualValues(t, 1, changed)
	c.Restart(t)
	c.Activate(t)
	require.NotEmpty(t, c.View().Tampered(custodian.KindBreakGlass))
	used, err := c.Use(ctx, human("demo-ben"), use)
	requireDenied(t, "grant_missing", used, err)
}
