package oversight_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"conclave/custodian/access"
	"conclave/custodian/identity"
	"conclave/custodian/key"
	"conclave/custodian/oversight"
)

var now = time.Date(2026, 11, 24, 9, 0, 0, 0, time.UTC)

func field(t *testing.T, err error) string {
	t.Helper()
	var e *key.FieldError
	require.ErrorAs(t, err, &e)
	require.NotEmpty(t, e.Problem)
	require.NotEmpty(t, e.Allowed)
	return e.Field
}

func TestHoldCovers(t *testing.T) {
	hold := func(kind, id string) *oversight.Hold {
		return &oversight.Hold{ID: "h", On: oversight.Ref{Type: kind, ID: id}, Matter: "m"}
	}
	version := oversight.Ref{Type: oversight.HoldVersion, ID: "orders/2"}
	for name, c := range map[string]struct {
		hold *oversight.Hold
		ref  oversight.Ref
		want bool
	}{
		"the key of the version":     {hold("key", "orders"), version, true},
		"another key":                {hold("key", "order"), version, false},
		"the version":                {hold("key_version", "orders/2"), version, true},
		"another version":            {hold("key_version", "orders/20"), version, false},
		"a version keeps its key":    {hold("key_version", "orders/2"), oversight.Ref{Type: "key", ID: "orders"}, true},
		"a longer name is not it":    {hold("key_version", "orders2/1"), oversight.Ref{Type: "key", ID: "orders"}, false},
		"everything":                 {hold("instance", ""), version, true},
		"a person is no key":         {hold("person", "orders"), oversight.Ref{Type: "key", ID: "orders"}, false},
		"entries cover nothing else": {hold("ledger", ""), version, false},
	} {
		require.NoError(t, c.hold.Validate(), name)
		require.Equal(t, c.want, c.hold.Covers(c.ref), name)
		c.hold.LiftedAt = &now
		require.False(t, c.hold.Covers(c.ref), name+", lifted")
	}
	entries := &oversight.Hold{ID: "h", On: oversight.Ref{Type: "ledger"}, From: 10, To: 20, Matter: "m"}
	require.NoError(t, entries.Validate())
	for _, c := range []struct {
		from, to uint64
		want     bool
	}{{0, 9, false}, {0, 10, true}, {15, 15, true}, {20, 30, true}, {21, 30, false}, {0, 100, true}} {
		require.Equal(t, c.want, entries.CoversEntries(c.from, c.to), "%d-%d", c.from, c.to)
	}
	require.True(t, hold("instance", "").CoversEntries(5, 6))
	require.False(t, hold("key", "orders").CoversEntries(5, 6))
	for want, bad := range map[string]*oversight.Hold{
		"on.type": hold("planet", "x"), "on.id": hold("instance", "x"), "to": {ID: "h", On: oversight.Ref{Type: "ledger"}, From: 3, To: 2, Matter: "m"},
		"matter": {ID: "h", On: oversight.Ref{Type: "key", ID: "x"}}, "id": {On: oversight.Ref{Type: "key", ID: "x"}, Matter: "m"},
	} {
		require.Equal(t, want, field(t, bad.Validate()))
	}
	require.Equal(t, "to", field(t, (&oversight.Hold{ID: "h", On: oversight.Ref{Type: "key", ID: "x"}, To: 2, Matter: "m"}).Validate()))
}

func TestFindings(t *testing.T) {
	f := &oversight.Finding{ID: "f", Title: "t", Source: oversight.FromIncident, About: oversight.Ref{Type: "key", ID: "k"}, Owner: "ada", OpenedAt: now, DueAt: now.Add(90 * key.Day)}
	require.NoError(t, f.Validate())
	require.True(t, f.Blocks(f.About))
	require.False(t, f.Blocks(oversight.Ref{Type: "key", ID: "other"}))
	require.False(t, f.Overdue(f.DueAt))
	require.True(t, f.Overdue(f.DueAt.Add(1)))
	for _, s := range []oversight.Source{oversight.FromUndo, oversight.FromOverdue} {
		f.Source = s
		require.False(t, f.Blocks(f.About), s)
	}
	f.DueAt = f.DueAt.Add(1)
	require.Equal(t, "due_at", field(t, f.Validate()))
	f.DueAt, f.ClosedAt = now.Add(1), &now
	require.Equal(t, "evidence", field(t, f.Validate()))
	require.False(t, f.Blocks(f.About))
}

func TestExceptionsAndEmergencyAccessEndByDate(t *testing.T) {
	x := &oversight.Exception{ID: "x", Rule: "place.fips_level", Keystore: "ks", Risk: "r", Compensating: "c", Owner: "ada", GrantedAt: now, ExpiresAt: now.Add(365 * key.Day)}
	require.NoError(t, x.Validate())
	require.True(t, x.InForce(now))
	require.False(t, x.InForce(now.Add(-1)))
	require.True(t, x.InForce(x.ExpiresAt.Add(-1)))
	require.False(t, x.InForce(x.ExpiresAt))
	x.RevokedAt = &now
	require.False(t, x.InForce(now))
	x.ExpiresAt = x.ExpiresAt.Add(1)
	require.Equal(t, "expires_at", field(t, x.Validate()))
	x.ExpiresAt, x.Keystore = now.Add(1), ""
	require.Equal(t, "keystore", field(t, x.Validate()))

	b := &oversight.BreakGlass{ID: "b", Kind: identity.Human, Principal: "ada", Keys: []string{"k"}, Operations: []access.Operation{access.Decrypt}, Reason: "r",
		OpenedAt: now, ExpiresAt: now.Add(4 * time.Hour)}
	require.NoError(t, b.Validate())
	require.True(t, b.Open(now))
	require.False(t, b.Open(b.ExpiresAt))
	require.Equal(t, b.ExpiresAt, b.EndedAt())
	closed := now.Add(time.Hour)
	b.ClosedAt = &closed
	require.False(t, b.Open(now))
	require.Equal(t, closed, b.EndedAt())
	b.ExpiresAt = b.ExpiresAt.Add(1)
	require.Equal(t, "expires_at", field(t, b.Validate()))
	b.ExpiresAt, b.Keys = now.Add(time.Hour), []string{"k", "k"}
	require.Equal(t, "keys[1]", field(t, b.Validate()))
	b.Keys, b.Kind = []string{"k"}, identity.Node
	require.Equal(t, "kind", field(t, b.Validate()))
}

func TestRetentionBounds(t *testing.T) {
	r := oversight.DefaultRetention(oversight.ClassLedger)
	require.NoError(t, r.Validate(true))
	r.Days, r.ImmediateDays = oversight.LeastDays, oversight.LeastImmediate
	require.NoError(t, r.Validate(false))
	require.Equal(t, "days", field(t, r.Validate(true)))
	r.ImmediateDays--
	require.Equal(t, "immediate_days", field(t, r.Validate(false)))
	require.Equal(t, oversight.LeastImmediate, r.Effective(false).ImmediateDays)
	r.Class = "other"
	require.Equal(t, "class", field(t, r.Validate(false)))
}

func TestWhatAQuorumConfirmedBoundsTheClock(t *testing.T) {
	var none *oversight.ClockConfirmation
	require.Equal(t, now, none.NotBefore(now))
	c := &oversight.ClockConfirmation{Wall: now.Add(-time.Hour), Ledger: now}
	require.Equal(t, c.Wall, c.NotBefore(now), "the ledger was ahead, and that was found wrong")
	require.Equal(t, now.Add(1), c.NotBefore(now.Add(1)), "a later entry is a measure again")
	c.Wall = now.Add(time.Hour)
	require.Equal(t, now, c.NotBefore(now))
}
