package key_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"conclave/custodian/key"
	"conclave/hsm"
)

func TestNewVersion(t *testing.T) {
	g := generation(start)
	v, err := key.NewVersion(payroll(), 1, g)
	require.NoError(t, err)
	require.Equal(t, key.PreActivation, v.State)
	require.Equal(t, start, v.ActivationAt)
	require.Equal(t, start.Add(365*key.Day), v.OUPEnd)
	require.Equal(t, start.Add(1460*key.Day), v.RUPEnd)
	require.Equal(t, "140-3 level 1 #5247", v.FIPSClaim)
	require.Equal(t, "A1B2C3D4E5", v.CheckValue)
	require.NoError(t, v.CheckHistory())
	g.Material.Blob[0] = 99
	require.Equal(t, byte(1), v.Material.Blob[0], "the record has its own copy")

	g.ActivationAt = start.Add(key.Day)
	v, err = key.NewVersion(payroll(), 1, g)
	require.NoError(t, err)
	require.Equal(t, start.Add(366*key.Day), v.OUPEnd)
	require.Empty(t, key.FIPSClaim(hsm.Facts{}))

	cases := map[string]struct {
		change func(k *key.Key, n *uint32, g *key.Generation)
		field  string
	}{
		"key":           {func(k *key.Key, _ *uint32, _ *key.Generation) { k.OUPDays = 0 }, "oup_days"},
		"number":        {func(_ *key.Key, n *uint32, _ *key.Generation) { *n = 0 }, "version"},
		"time":          {func(_ *key.Key, _ *uint32, g *key.Generation) { g.At = time.Time{} }, "at"},
		"activation":    {func(_ *key.Key, _ *uint32, g *key.Generation) { g.ActivationAt = start.Add(-time.Hour) }, "activation_at"},
		"other key":     {func(_ *key.Key, _ *uint32, g *key.Generation) { g.Material.Key = "other" }, "material"},
		"other version": {func(_ *key.Key, n *uint32, _ *key.Generation) { *n = 2 }, "material"},
		"algorithm":     {func(_ *key.Key, _ *uint32, g *key.Generation) { g.Algorithm = 0 }, "algorithm"},
		"check value":   {func(_ *key.Key, _ *uint32, g *key.Generation) { g.Material.CheckValue = "" }, "material"},
		"generator":     {func(_ *key.Key, _ *uint32, g *key.Generation) { g.Facts.RNG = "" }, "material"},
		"actor":         {func(_ *key.Key, _ *uint32, g *key.Generation) { g.Actor = " " }, "actor"},
		"strength":      {func(_ *key.Key, _ *uint32, g *key.Generation) { g.StrengthBits = 80 }, "strength_bits"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			k, n, g := payroll(), uint32(1), generation(start)
			c.change(k, &n, &g)
			_, err := key.NewVersion(k, n, g)
			require.Equal(t, c.field, field(t, err))
		})
	}
}

func TestCheckStrength(t *testing.T) {
	last := time.Date(2031, 1, 1, 0, 0, 0, 0, time.UTC)
	require.NoError(t, key.CheckStrength(112, last))
	require.Error(t, key.CheckStrength(112, last.Add(time.Second)))
	require.NoError(t, key.CheckStrength(128, last.Add(time.Second)))
	require.Error(t, key.CheckStrength(111, start))
}

func TestDates(t *testing.T) {
	v := inState(t, key.Active)
	k := payroll()
	days := func(n int) time.Time { return start.Add(time.Duration(n) * key.Day) }
	for at, want := range map[int]int{10: 0, 274: 0, 275: 90, 334: 90, 335: 30, 358: 7, 364: 7, 365: 0, 400: 0} {
		require.Equal(t, want, v.Warning(days(at)), at)
	}
	require.False(t, v.RotationDue(k, days(334)))
	require.True(t, v.RotationDue(k, days(335)))

	id, due := v.Due(days(365).Add(-time.Second))
	require.False(t, due, id)
	id, due = v.Due(days(365))
	require.True(t, due)
	require.Equal(t, "T8", id)
	old, err := v.Apply(key.Transition{ID: id, At: days(365), Actor: "node:n1", Reason: "expired"}, key.Facts{})
	require.NoError(t, err, "expiry never waits")
	require.False(t, old.RotationDue(k, days(400)))
	_, due = old.Proposal(days(1459))
	require.False(t, due)
	id, due = old.Proposal(days(1460))
	require.True(t, due)
	require.Equal(t, "T13", id)

	waiting := inState(t, key.PreActivation)
	id, due = waiting.Due(start)
	require.True(t, due)
	require.Equal(t, "T4", id)
	_, due = waiting.Due(start.Add(-time.Second))
	require.False(t, due)
	_, due = waiting.Due(days(365))
	require.False(t, due)

	ended := inState(t, key.Active)
	ended.Type = key.SymmetricAuthorisation
	_, due = ended.Due(days(365))
	require.False(t, due, "set D is destroyed by ceremony, not by a job")
	id, due = ended.Proposal(days(365))
	require.True(t, due)
	require.Equal(t, "T5", id)

	held := inState(t, key.Suspended)
	require.False(t, held.ReviewOverdue(days(30)))
	require.True(t, held.ReviewOverdue(days(31)))
	_, due = held.Due(days(400))
	require.False(t, due, "a job releases nothing that a person stopped")
}

func TestVersionID(t *testing.T) {
	require.Equal(t, "payroll/7", key.VersionID("payroll", 7))
	k, n, err := key.ParseVersionID("payroll/7")
	require.NoError(t, err)
	require.Equal(t, "payroll", k)
	require.Equal(t, uint32(7), n)
	for _, bad := range []string{"", "payroll", "payroll/", "payroll/0", "payroll/07", "payroll/+7", "payroll/4294967296", "Pay/1", "a/1/2", "/1"} {
		_, _, err := key.ParseVersionID(bad)
		require.Equal(t, "version", field(t, err), bad)
	}
}

func FuzzParseVersionID(f *testing.F) {
	for _, s := range []string{"payroll/7", "a/1", "/1", "a/01", "a/99999999999"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if k, n, err := key.ParseVersionID(s); err == nil && key.VersionID(k, n) != s {
			t.Fatalf("%q reads as %q, %d", s, k, n)
		}
	})
}

func TestFanOut(t *testing.T) {
	at := start.Add(20 * time.Hour)
	all := func() []*key.Version {
		var vs []*key.Version
		for i, s := range key.States() {
			v := inState(t, s)
			v.Version = uint32(i + 1)
			vs = append(vs, v)
		}
		return vs
	}
	states := func(vs []*key.Version) map[uint32]key.State {
		m := map[uint32]key.State{}
		for _, v := range vs {
			m[v.Version] = v.State
		}
		return m
	}
	for to, want := range map[key.State]map[uint32]key.State{
		key.Suspended:   {2: key.Suspended},
		key.Active:      {3: key.Active},
		key.Deactivated: {2: key.Deactivated, 3: key.Deactivated},
		key.Compromised: {1: key.Compromised, 2: key.Compromised, 3: key.Compromised, 4: key.Compromised},
	} {
		changed, err := key.FanOut(all(), to, line("", at), allFacts(at))
		require.NoError(t, err, to)
		require.Equal(t, want, states(changed), to)
	}

	over := start.Add(366 * key.Day)
	changed, err := key.FanOut([]*key.Version{inState(t, key.Suspended)}, key.Active, line("", over), allFacts(over))
	require.NoError(t, err)
	require.Equal(t, key.Deactivated, changed[0].State, "resumed past its period, it processes only")

	_, err = key.FanOut(all(), key.Active, line("", at), key.Facts{})
	require.Equal(t, key.CodeFindingOpen, transitionCode(t, err))
	_, err = key.FanOut([]*key.Version{inState(t, key.Deactivated)}, key.Suspended, line("", at), allFacts(at))
	require.Equal(t, key.CodeDeactivatedReturns, transitionCode(t, err))
	_, err = key.FanOut([]*key.Version{inState(t, key.PreActivation)}, key.Active, line("", at), allFacts(at))
	require.Equal(t, key.CodeNoChange, transitionCode(t, err), "resuming does not activate")
	_, err = key.FanOut(nil, key.Suspended, line("", at), allFacts(at))
	require.Equal(t, key.CodeNoChange, transitionCode(t, err))
	_, err = key.FanOut(all(), key.Destroyed, line("", at), allFacts(at))
	require.Equal(t, key.CodeUnknownState, transitionCode(t, err))
}
