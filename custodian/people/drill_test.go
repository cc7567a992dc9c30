package people_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"conclave/custodian/key"
	"conclave/custodian/people"
)

// dueOf finds what is due of one kind and person.
func dueOf(t *testing.T, f people.DrillFacts, kind people.DrillKind, person string) people.DrillDue {
	t.Helper()
	for _, d := range people.DrillRegister(f) {
		if d.Kind == kind && d.Person == person {
			return d
		}
	}
	t.Fatalf("no %s of %s", kind, person)
	return people.DrillDue{}
}

// Every drill of ceremony practice, section 8, is due by its period; what proves it moves its date, and nothing else.
func TestDrillRegister(t *testing.T) {
	issued := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	set := &people.ShareSet{ID: "root", Keystore: "main", Threshold: 2, Total: 3, Epoch: 2, IssuedAt: issued, Past: []people.PastEpoch{{Epoch: 1, IssuedAt: issued.AddDate(-1, 0, 0)}}}
	var register []*people.Person
	f := people.DrillFacts{Set: set, Owner: "ann", Activity: map[string]time.Time{}, Now: issued}
	for i, id := range []string{"ann", "bob", "cat"} {
		register = append(register, &people.Person{ID: id, Status: people.StatusActive, AddedAt: issued})
		confirmed := issued
		f.Shares = append(f.Shares, &people.Share{Set: "root", Epoch: 2, Index: i + 1, Custodian: id, Status: people.ShareConfirmed, ConfirmedAt: &confirmed})
	}
	f.Find = people.Among(register)
	require.Len(t, people.DrillRegister(f), 3+3+4)
	for kind, days := range map[people.DrillKind]int{people.DrillSignIn: 90, people.DrillVerification: 180, people.DrillReconstruction: 365} {
		require.Equal(t, issued.AddDate(0, 0, days), dueOf(t, f, kind, "ann").Due, kind)
	}
	for kind, days := range map[people.DrillKind]int{people.DrillRehearsal: 365, people.DrillTableTop: 365, people.DrillSite: 730} {
		require.Equal(t, issued.AddDate(-1, 0, days), dueOf(t, f, kind, "ann").Due, "%s: a new epoch is no drill", kind)
	}

	later := issued.AddDate(0, 6, 0)
	f.Drills = []*people.Drill{
		{Set: "root", Epoch: 2, Kinds: []people.DrillKind{people.DrillRehearsal}, Result: people.DrillFailed, FinishedAt: later},
		{Set: "root", Epoch: 1, Kinds: []people.DrillKind{people.DrillReconstruction}, Result: people.DrillPassed, FinishedAt: later},
		{Set: "other", Epoch: 2, Kinds: people.DrillKinds(), Result: people.DrillPassed, FinishedAt: later},
		{Set: "root", Epoch: 2, Kinds: []people.DrillKind{people.DrillTableTop}, Result: people.DrillPassed, FinishedAt: later}}
	f.Now = later
	require.Nil(t, dueOf(t, f, people.DrillRehearsal, "ann").Last, "it failed")
	require.True(t, dueOf(t, f, people.DrillRehearsal, "ann").Late)
	require.Nil(t, dueOf(t, f, people.DrillReconstruction, "ann").Last, "of another epoch")
	require.Equal(t, later.AddDate(0, 0, 365), dueOf(t, f, people.DrillTableTop, "ann").Due)

	// Signing in is not enough where a bag has not been looked at.
	f.Activity["bob"] = later
	require.False(t, dueOf(t, f, people.DrillSignIn, "bob").Late)
	form := &people.ShareForm{ID: "card-2", Set: "root", Epoch: 2, Index: 2, State: people.FormSealed, Serial: "A1", ChangedAt: issued}
	f.Forms = []*people.ShareForm{form}
	require.True(t, dueOf(t, f, people.DrillSignIn, "bob").Late)
	require.Contains(t, dueOf(t, f, people.DrillSignIn, "bob").What, "look at bag A1")
	form.CheckedAt = &later
	require.False(t, dueOf(t, f, people.DrillSignIn, "bob").Late)

	// A share sealed to other keys since is not proved with these.
	f.Shares[2].MovedAt = &later
	moved := dueOf(t, f, people.DrillVerification, "cat")
	require.True(t, moved.Late)
	require.Nil(t, moved.Last)

	f.Plan = &people.DrillPlan{Set: "root", Owner: "bob", Days: map[people.DrillKind]int{people.DrillTableTop: 30, people.DrillReconstruction: 0}}
	require.NoError(t, f.Plan.Validate())
	require.Equal(t, later.Add(30*key.Day), dueOf(t, f, people.DrillTableTop, "bob").Due)
	for _, d := range people.DrillRegister(f) {
		require.NotEqual(t, people.DrillReconstruction, d.Kind)
	}
	set.Purpose, f.Plan, f.Opened = people.PurposeBackup, nil, []time.Time{later}
	require.Equal(t, later, *dueOf(t, f, people.DrillReconstruction, "ann").Last, "a backup was opened in a drill")
}

func TestDrillPlanBounds(t *testing.T) {
	for days, good := range map[int]bool{6: false, 7: true, 730: true, 731: false, 0: false} {
		p := people.DrillPlan{Set: "root", Owner: "ann", Days: map[people.DrillKind]int{people.DrillRehearsal: days}}
		require.Equal(t, good, p.Validate() == nil, days)
	}
	p := people.DrillPlan{Set: "root", Owner: "ann", Days: map[people.DrillKind]int{"picnic": 30}}
	require.ErrorContains(t, p.Validate(), "no kind of drill")
}
