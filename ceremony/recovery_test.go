package ceremony_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"conclave/ceremony"
	"conclave/custodian"
	"conclave/custodian/custodiantest"
	"conclave/custodian/people"
	"conclave/custodian/store"
)

const custodiantestKeystore = custodiantest.KeystoreID

func (r *rig) share(t *testing.T, index int) *people.Share {
	t.Helper()
	s, _, err := store.Get[people.Share](r.Store.View(), custodian.KindShare, people.ShareID("demo-shares", 1, index))
	require.NoError(t, err)
	return s
}

// stranded is a ceremony whose process ended between intent and outcome.
func (r *rig) stranded(t *testing.T, happened bool) *ceremony.Ceremony {
	t.Helper()
	c := r.propose(t, "demo-cleo", "key.create")
	r.vote(t, "demo-ada", c.ID, "approve")
	r.effect.fail.Store(true)
	_, err := r.engine.Vote(t.Context(), human("demo-ben"), c.ID, r.sign(t, "demo-ben", c.ID, "approve"))
	require.Error(t, err)
	r.effect.fail.Store(false)
	c = r.state(t, c.ID)
	c.State, c.EndedAt, c.Outcome = ceremony.Executing, nil, ""
	if happened {
		r.effect.made[c.EffectID] = true
		r.effect.outside.Add(1)
	}
	r.Put(t, ceremony.Kind, c.ID, c)
	r.restart(t)
	return c
}

func TestInvariant10_RecoveryAdoptsAnEffectThatHappened(t *testing.T) {
	r := newRig(t, custodian.Production)
	c := r.stranded(t, true)
	require.NoError(t, r.engine.Recover(t.Context()))
	require.Equal(t, ceremony.Completed, r.state(t, c.ID).State)
	require.EqualValues(t, 1, r.effect.outside.Load(), "the effect is not repeated")
	require.Equal(t, 1, r.done(t, "key.create"))
}

func TestInvariant10_RecoveryBeginsAgainWhatDidNotHappen(t *testing.T) {
	r := newRig(t, custodian.Production)
	c := r.stranded(t, false)
	require.NoError(t, r.engine.Recover(t.Context()))
	require.Equal(t, ceremony.Completed, r.state(t, c.ID).State)
	require.EqualValues(t, 1, r.effect.outside.Load())
	require.True(t, r.effect.made[c.EffectID], "under the id that the intent recorded")
}

func TestInvariant10_WhatCannotBeToldIsShown(t *testing.T) {
	r := newRig(t, custodian.Production)
	c := r.stranded(t, true)
	r.effect.unclear.Store(true)
	require.ErrorIs(t, r.engine.Recover(t.Context()), ceremony.ErrIndeterminate)
	require.Equal(t, ceremony.Indeterminate, r.state(t, c.ID).State)
	_, _, err := r.engine.Execute(t.Context(), human("demo-ben"), c.ID)
	require.ErrorIs(t, err, ceremony.ErrIndeterminate)
	r.effect.unclear.Store(false)
	require.NoError(t, r.engine.Tick(t.Context()))
	require.Equal(t, ceremony.Completed, r.state(t, c.ID).State)
}

// What one person asked for just now is the call's to run, which delivers what is delivered once; only what a process that
// died left behind is taken up.
func TestTickLeavesWhatACallRuns(t *testing.T) {
	r := newRig(t, custodian.Production)
	c := r.propose(t, "demo-cleo", "key.resume")
	now := r.Clock.Now()
	c.Class, c.State, c.ApprovedAt = "D", ceremony.Approved, &now // as between the commit of a proposal and its run
	r.Put(t, ceremony.Kind, c.ID, c)
	require.NoError(t, r.engine.Tick(t.Context()))
	require.Equal(t, ceremony.Approved, r.state(t, c.ID).State)
	r.Clock.Advance(time.Minute)
	_ = r.engine.Tick(t.Context()) // it is judged now, and is not what policy says of it
	require.NotEqual(t, ceremony.Approved, r.state(t, c.ID).State)
}

func TestInvariant11_WaitsAreCountedByHeartbeats(t *testing.T) {
	r := newRig(t, custodian.Production)
	c := r.propose(t, "demo-cleo", "key.resume")
	r.vote(t, "demo-ada", c.ID, "approve")
	c = r.state(t, c.ID)
	c.Takes.WaitSeconds = 600
	r.Put(t, ceremony.Kind, c.ID, c)
	c = r.vote(t, "demo-ben", c.ID, "approve")
	require.Equal(t, ceremony.Approved, c.State)
	require.Equal(t, 10*time.Minute, c.WaitLeft.Duration())
	_, _, err := r.engine.Execute(t.Context(), human("demo-ben"), c.ID)
	require.ErrorIs(t, err, ceremony.ErrWaiting)

	r.Clock.MoveWall(24 * time.Hour) // a hand on the clock shortens nothing, and stops executions
	require.NoError(t, r.engine.Tick(t.Context()))
	require.Equal(t, 10*time.Minute, r.state(t, c.ID).WaitLeft.Duration())
	require.NotEmpty(t, r.engine.ClockProblem())
	r.Clock.MoveWall(-24 * time.Hour)
	require.Empty(t, r.engine.ClockProblem())

	tick(t, r, time.Hour) // one beat is worth two minutes at most, however long nobody looked
	require.Equal(t, 8*time.Minute, r.state(t, c.ID).WaitLeft.Duration())
	for range 4 {
		tick(t, r, 2*time.Minute)
	}
	require.Equal(t, ceremony.Completed, r.state(t, c.ID).State)
}

func TestInvariant11_AMovedClockStopsExecutions(t *testing.T) {
	r := newRig(t, custodian.Production)
	r.Clock.Advance(2 * time.Hour) // past the acknowledgements, which count only once they were signed
	c := r.propose(t, "demo-cleo", "key.resume")
	r.vote(t, "demo-ada", c.ID, "approve")
	bens := r.sign(t, "demo-ben", c.ID, "approve")
	r.Clock.MoveWall(-time.Minute)
	_, err := r.engine.Vote(t.Context(), human("demo-ben"), c.ID, bens)
	require.Error(t, err)
	require.Zero(t, r.done(t, "key.resume"))
	r.Clock.MoveWall(time.Minute)
	require.Empty(t, r.engine.ClockProblem())
	if r.state(t, c.ID).State == ceremony.Proposed {
		r.vote(t, "demo-ben", c.ID, "approve")
	} else {
		require.NoError(t, r.engine.Tick(t.Context()))
	}
	require.Equal(t, 1, r.done(t, "key.resume"))

	r.Clock.MoveWall(-time.Hour)
	r.restart(t)
	require.NotEmpty(t, r.engine.ClockProblem(), "at start the ledger's last entry is the measure")
	suspended := r.propose(t, "demo-ben", "key.suspend")
	require.Equal(t, ceremony.Completed, suspended.State, "restricting is never held up")
	c, err = r.engine.ActivationFor(t.Context(), custodiantestKeystore)
	require.NoError(t, err)
	for _, id := range []string{"demo-ada", "demo-ben"} {
		_, err = r.bring(t, id, c.ID, nil)
		require.NoError(t, err)
	}
	_, err = r.bring(t, "demo-cleo", c.ID, nil)
	require.ErrorIs(t, err, ceremony.ErrClockDisagrees)
}
