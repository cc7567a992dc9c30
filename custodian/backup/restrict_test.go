package backup_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"conclave/custodian"
	"conclave/custodian/access"
	"conclave/custodian/backup"
	"conclave/custodian/custodiantest"
	"conclave/custodian/identity"
	"conclave/custodian/key"
	"conclave/custodian/oversight"
	"conclave/custodian/people"
)

var day = time.Date(2026, 11, 24, 9, 0, 0, 0, time.UTC)

// apply states a fact about a row as it is, and applies it to the row as it was.
func apply(t *testing.T, is, was any) backup.Applied {
	t.Helper()
	f, restricts := backup.FactOf("any", "x", 2, is)
	require.True(t, restricts, "%T", is)
	out, err := backup.Restrict(was, f, backup.Act{Actor: "node:n", Ceremony: "r-1", At: day.Add(time.Hour)})
	require.NoError(t, err)
	return out
}

// Every kind of row that can be restricted is so again after a restore, or the record says that it is not.
func TestInvariant08_WhatWasTakenDoesNotReturn(t *testing.T) {
	at := day
	_, restricts := backup.FactOf("template", "x", 1, &key.Template{Status: key.StatusActive})
	require.True(t, restricts)

	exception := apply(t, &oversight.Exception{RevokedAt: &at}, &oversight.Exception{}).Next.(*oversight.Exception)
	require.NotNil(t, exception.RevokedAt)
	glass := apply(t, &oversight.BreakGlass{ClosedAt: &at}, &oversight.BreakGlass{}).Next.(*oversight.BreakGlass)
	require.NotNil(t, glass.ClosedAt)
	template := apply(t, &key.Template{Status: key.StatusRetired}, &key.Template{Status: key.StatusActive}).Next.(*key.Template)
	require.Equal(t, key.StatusRetired, template.Status)
	schedule := apply(t, &backup.Schedule{Status: backup.ScheduleStopped}, &backup.Schedule{Status: backup.ScheduleActive}).Next.(*backup.Schedule)
	require.Equal(t, backup.ScheduleStopped, schedule.Status)
	for _, ended := range []people.InvitationStatus{people.InvitationUsed, people.InvitationWithdrawn} {
		i := apply(t, &people.Invitation{Status: ended}, &people.Invitation{Status: people.InvitationAnswered}).Next.(*people.Invitation)
		require.Equal(t, ended, i.Status)
	}

	node := apply(t, &custodian.Node{ID: "n", RevokedAt: &at}, &custodian.Node{ID: "n"}).Next.(*custodian.Node)
	require.ErrorIs(t, node.Standing(), custodian.ErrNodeRevoked)
	require.Nil(t, apply(t, &custodian.Node{ID: "n"}, &custodian.Node{ID: "n", RevokedAt: &at}).Next, "what stands in the backup stands")

	grant := func(context map[string]string) *access.Grant {
		return &access.Grant{Operations: []access.Operation{access.Decrypt}, Context: context, ExpiresAt: at.Add(time.Hour)}
	}
	narrowed := apply(t, grant(map[string]string{"tenant": "a"}), grant(nil)).Next.(*access.Grant)
	require.Equal(t, map[string]string{"tenant": "a"}, narrowed.Context)
	require.Nil(t, apply(t, grant(nil), grant(map[string]string{"tenant": "a"})).Next, "a demand that was dropped is made again")
	require.NotNil(t, apply(t, grant(map[string]string{"tenant": "a"}), grant(map[string]string{"tenant": "b"})).Next.(*access.Grant).RevokedAt)

	k := func(class key.Classification, impact key.Impact) *key.Key {
		return &key.Key{ID: "k", Label: "k", Type: key.DataEncryption, Classification: class, Impact: impact, Jurisdiction: "EU", Environment: key.Production, Owner: "o",
			Keystore: "ks", Origin: "generated", OUPDays: 90, RUPDays: 365, RotateDays: 30, Current: 1, Versions: 1}
	}
	raised := apply(t, k(key.CardholderData, key.High), k(key.Internal, key.Low))
	require.NotNil(t, raised.Next, raised.Note)
	require.Equal(t, key.CardholderData, raised.Next.(*key.Key).Classification)
	require.Contains(t, apply(t, k(key.Internal, key.Low), k(key.CardholderData, key.High)).Note, "counts again")

	exposed := apply(t, &key.Keystore{Status: key.KeystoreRegistered, SecretExposed: &key.Exposure{Set: "s", Epoch: 1, At: at, Until: &at}},
		&key.Keystore{Status: key.KeystoreRegistered}).Next.(*key.Keystore)
	require.NotNil(t, exposed.SecretExposed)
	require.Nil(t, exposed.SecretExposed.Until, "the backup has the secret that was exposed")

	p := apply(t, &people.Person{Status: people.StatusActive, ShareKeyID: "new"}, &people.Person{Status: people.StatusActive, ShareKeyID: "stolen", BackupShareKeyID: "safe"}).Next.(*people.Person)
	require.Equal(t, []string{"stolen", "safe"}, p.FormerShareKeys)
	require.Empty(t, p.BackupShareKeyID)
	require.Contains(t, apply(t, &custodian.PolicyInForce{Digest: "good"}, &custodian.PolicyInForce{Digest: "bad"}).Note, "good")

	for kind, is := range map[string]any{
		"hold": &oversight.Hold{ID: "x", On: oversight.Ref{Type: oversight.HoldInstance}, Matter: "m", SetAt: at, SetBy: "p"},
		"finding": &oversight.Finding{ID: "x", Title: "t", Source: oversight.FromIncident, About: oversight.Ref{Type: "key", ID: "k"}, Owner: "o", OpenedAt: at,
			OpenedBy: identity.Principal{Kind: identity.Human, ID: "p"}.String(), DueAt: at.Add(time.Hour)},
		"duty":   &people.Duty{ID: "x", Kind: people.DutyShare, Person: "p", Cause: people.CauseDeparture, Task: "t", OpenedAt: at, DueAt: at},
		"backup": &backup.Copy{ID: "x", Status: backup.CopyPresent},
	} {
		f, restricts := backup.FactOf(kind, "x", 1, is)
		require.True(t, restricts, kind)
		again, err := backup.Recreate(f, backup.Act{Ceremony: "r-1", At: at})
		require.NoError(t, err, kind)
		require.NotNil(t, again.Next, kind)
		f.ID = "y"
		_, err = backup.Recreate(f, backup.Act{})
		require.ErrorIs(t, err, backup.ErrJournal, kind)
	}
}

// A version that was suspended or deactivated after the backup does not come into use by its date.
func TestInvariant08_AVersionIsHeldFromBeforeItsActivation(t *testing.T) {
	r := newRig(t)
	for _, to := range []key.State{key.Suspended, key.Deactivated} {
		v := r.NewVersion(t, custodiantest.KeyID, 2)
		v.History, v.State = v.History[:1], key.PreActivation
		r.Clock.Advance(time.Hour)
		out, err := backup.Restrict(&v, backup.Fact{State: string(to), Suspected: true}, backup.Act{Actor: "node:n", Ceremony: "r-1", At: r.Clock.Now()})
		require.NoError(t, err)
		require.NotNil(t, out.Next, out.Note)
		next := out.Next.(*key.Version)
		require.Equal(t, to, next.State)
		require.NoError(t, next.CheckHistory())
		_, due := next.Due(r.Clock.Now().Add(24 * time.Hour))
		require.False(t, due)

		v.OUPEnd = r.Clock.Now().Add(-time.Minute)
		out, err = backup.Restrict(&v, backup.Fact{State: string(to)}, backup.Act{Actor: "node:n", Ceremony: "r-1", At: r.Clock.Now()})
		require.NoError(t, err)
		require.NotEmpty(t, out.Note, "what cannot be applied is said")
	}
}
