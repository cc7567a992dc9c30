package people_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"conclave/custodian/people"
)

func rootSet(m, n int) *people.ShareSet {
	return &people.ShareSet{ID: "root", Keystore: "vault-1", Threshold: m, Total: n, Epoch: 2, Scheme: "ISO/IEC 19592-2 Shamir GF(256)"}
}

// TestQuorumSizes judges every size: 2 ≤ m < n and m > n/2, nothing else.
func TestQuorumSizes(t *testing.T) {
	for n := -1; n <= 12; n++ {
		for m := -1; m <= 13; m++ {
			want := m >= 2 && m < n && 2*m > n
			err := rootSet(m, n).Validate()
			require.Equal(t, want, err == nil, "%d of %d: %v", m, n, err)
		}
	}
	require.NoError(t, rootSet(128, 255).Validate())
	require.Equal(t, "total", field(t, rootSet(129, 256).Validate()))
}

func TestShareSetPurposes(t *testing.T) {
	set := rootSet(2, 3)
	set.Purpose = people.PurposeBackup
	require.Equal(t, "keystore", field(t, set.Validate()))
	set.Keystore = ""
	require.NoError(t, set.Validate())
	require.Equal(t, "backups", set.Opens())
	set.Purpose = "lunch"
	require.Equal(t, "purpose", field(t, set.Validate()))
	set.Purpose = people.PurposeKeystore
	require.Equal(t, "keystore", field(t, set.Validate()))
	require.Equal(t, "keystore vault-1", rootSet(2, 3).Opens())
}

func TestShareRecords(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		epoch, index := rapid.Uint32Min(1).Draw(t, "epoch"), rapid.IntRange(1, 255).Draw(t, "index")
		set, e, i, err := people.ParseShareID(people.ShareID("root", epoch, index))
		require.NoError(t, err)
		require.Equal(t, []any{"root", epoch, index}, []any{set, e, i})
	})
	for _, bad := range []string{"", "root", "root/1", "root/0/1", "root/1/0", "root/1/256", "root/01/1", "root/1/1/1", "Root/1/1", "root/1/+1"} {
		_, _, _, err := people.ParseShareID(bad)
		require.Equal(t, "share", field(t, err), bad)
	}
	s := share("ada", 1, people.ShareIssued)
	require.NoError(t, s.Validate())
	s.Commitment = nil
	require.Equal(t, "commitment", field(t, s.Validate()))
}

func FuzzParseShareID(f *testing.F) {
	for _, s := range []string{"root/1/1", "root/1/256", "//", "root/-1/1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if set, e, i, err := people.ParseShareID(s); err == nil && people.ShareID(set, e, i) != s {
			t.Fatalf("%q reads as %q %d %d", s, set, e, i)
		}
	})
}

func TestCheckAssignment(t *testing.T) {
	var register []*people.Person
	var holders []string
	for i := range 5 {
		p := person(t, fmt.Sprintf("c%d", i+1), people.RoleCustodian)
		register, holders = append(register, p), append(holders, p.ID)
	}
	lead := person(t, "lead", people.RoleAdministrator)
	officer := person(t, "officer", people.RoleSecurityOfficer)
	gone := person(t, "gone", people.RoleCustodian)
	gone.Status = people.StatusLeft
	keyless := person(t, "keyless", people.RoleCustodian)
	keyless.ShareKey = nil
	find := people.Among(append(register, lead, officer, gone, keyless))
	set := rootSet(3, 5)
	require.NoError(t, people.CheckAssignment(set, holders, find))
	require.Equal(t, "holders", field(t, people.CheckAssignment(set, holders[:4], find)))
	for _, wrong := range []string{"c1", "lead", "officer", "gone", "keyless", "stranger"} {
		bad := append([]string{}, holders...)
		bad[3] = wrong
		err := people.CheckAssignment(set, bad, find)
		require.Equal(t, "holders[3]", field(t, err), wrong)
		require.ErrorContains(t, err, wrong)
	}
}

func share(custodian string, index int, status people.ShareStatus) *people.Share {
	at := now.Add(-time.Hour)
	s := &people.Share{Set: "root", Epoch: 2, Index: index, Custodian: custodian, Status: status, IssuedAt: at,
		Commitment: []byte{1}, Sealed: "e30"}
	if status == people.ShareConfirmed {
		s.ConfirmedAt = &at
	}
	return s
}

// spread makes five custodians with a confirmed share each, over three sites.
func spread(t *testing.T) ([]*people.Person, []*people.Share) {
	var register []*people.Person
	var shares []*people.Share
	for i, site := range []string{"berlin", "berlin", "lyon", "lyon", "turin"} {
		p := person(t, fmt.Sprintf("c%d", i+1), people.RoleCustodian)
		p.Site = site
		register = append(register, p)
		shares = append(shares, share(p.ID, i+1, people.ShareConfirmed))
	}
	return register, shares
}

func TestHealth(t *testing.T) {
	register, shares := spread(t)
	assess := func() people.Health { return people.Assess(rootSet(3, 5), shares, people.Among(register), now) }
	h := assess()
	require.True(t, h.Ready())
	require.Equal(t, []int{5, 5, 0, 2}, []int{h.Usable, h.Confirmed, h.Lost, h.LossesSurvived})
	require.Empty(t, h.CanAct)
	require.Empty(t, h.CanBlock)
	require.Empty(t, h.Warnings)

	shares[0].Status = people.ShareLost
	register[1].Status = people.StatusSuspended
	h = assess()
	require.Equal(t, []int{3, 4, 1, 0}, []int{h.Usable, h.Confirmed, h.Lost, h.LossesSurvived})
	require.Equal(t, []string{"c2"}, h.Absent)
	require.Contains(t, h.CanBlock, people.Place{Kind: "site", Name: "lyon", Shares: 2})
	require.NotEmpty(t, h.Warnings)

	register[2].Acknowledgement = nil
	h = assess()
	require.False(t, h.Ready())
	require.Equal(t, -1, h.LossesSurvived)
	require.Equal(t, []string{"c3"}, h.Unacknowledged)

	for _, s := range shares[:3] {
		s.Status = people.ShareLost
	}
	require.True(t, assess().Exposed, "a quorum of lost shares is a lost secret")
}

func TestHealthPlacesAndDates(t *testing.T) {
	register, shares := spread(t)
	register[2].Site = "berlin"
	register[3].Team, register[4].Team, register[0].Team = "hsm", "hsm", "hsm"
	register[0].Manager, register[1].Manager = "c5", "c5"
	register[1].Acknowledgement = acknowledged(now.Add(-time.Hour))
	stale := now.Add(-people.DrillPeriod - time.Second)
	shares[0].ConfirmedAt = &stale
	shares[1].ConfirmedAt, shares[1].DrilledAt = &stale, &now
	shares[2].Status = people.ShareIssued
	old := []*people.Share{share("c1", 1, people.ShareConfirmed), share("c2", 2, people.ShareLost), share("c3", 3, people.ShareIssued),
		share("c4", 4, people.ShareRetired)}
	for _, s := range old {
		s.Epoch = 1
	}
	foreign := share("c1", 1, people.ShareLost)
	foreign.Set = "other"
	h := people.Assess(rootSet(3, 5), append(append(shares, old...), foreign, share("c4", 4, people.ShareConfirmed)), people.Among(register), now)
	require.Equal(t, 5, h.Usable)
	require.Equal(t, []string{"c4"}, h.Doubled)
	require.Equal(t, []string{"c1"}, h.OverdueDrills)
	require.Equal(t, []string{"c3"}, h.Unconfirmed)
	require.Equal(t, 3, h.OldShares)
	require.Zero(t, h.Lost)
	want := []people.Place{{Kind: "line", Name: "c5", Shares: 3}, {Kind: "site", Name: "berlin", Shares: 3}, {Kind: "team", Name: "hsm", Shares: 3}}
	require.Equal(t, want, h.CanAct)
	require.Equal(t, want, h.CanBlock)
	require.Len(t, h.Warnings, 8)
}
