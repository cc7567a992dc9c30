package ceremony_test

import (
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"conclave/ceremony"
	"conclave/custodian"
	"conclave/custodian/people"
)

func TestInvariant10_NothingEndsWhatIsBeingExecuted(t *testing.T) {
	r := newRig(t, custodian.Production)
	replica := r.replica(t)
	c := r.propose(t, "demo-cleo", "key.create")
	r.vote(t, "demo-ada", c.ID, "approve")
	bens := r.sign(t, "demo-ben", c.ID, "approve")
	var errs []error
	r.effect.during = func() {
		r.effect.deny.Store(true) // what it would be judged by now refuses
		r.Clock.Advance(c.ExpiresAt.Sub(r.Clock.Now()) + time.Minute)
		_, cancelled := r.engine.Cancel(t.Context(), human("demo-cleo"), c.ID, "too late")
		_, _, executed := r.engine.Execute(t.Context(), human("demo-cleo"), c.ID)
		errs = append(errs, cancelled, executed, r.engine.Tick(t.Context()))
	}
	c, err := r.engine.Vote(t.Context(), human("demo-ben"), c.ID, bens)
	require.NoError(t, err)
	require.ErrorIs(t, errs[0], ceremony.ErrNotNow)
	require.ErrorIs(t, errs[1], ceremony.ErrNotNow)
	require.NoError(t, errs[2])
	require.Equal(t, ceremony.Completed, c.State)
	require.EqualValues(t, 1, r.effect.outside.Load())

	r.effect.deny.Store(false)
	r.effect.during = func() { errs = append(errs, replica.Recover(t.Context())) }
	waited := r.approved(t, "key.create")
	r.Clock.Advance(time.Hour) // the quorum is old, the execution is not
	_, _, err = r.engine.Execute(t.Context(), human("demo-cleo"), waited.ID)
	require.NoError(t, errors.Join(err, errs[3]))
	require.EqualValues(t, 2, r.effect.outside.Load(), "another replica leaves it to the one that is at it")
	require.Equal(t, ceremony.Completed, r.state(t, waited.ID).State)
}

func TestInvariant10_WhatDidNotHappenIsJudgedAnew(t *testing.T) {
	for name, change := range map[string]func(r *rig){
		"approver suspended":  func(r *rig) { r.person(t, "demo-ada", suspended) },
		"requester suspended": func(r *rig) { r.person(t, "demo-cleo", suspended) },
		"target moved":        func(r *rig) { r.Put(t, kindMark, "key.create", mark{Done: 7}) },
		"too late":            func(r *rig) { r.Clock.Advance(30 * 24 * time.Hour) },
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, custodian.Production)
			c := r.stranded(t, false)
			change(r)
			require.Error(t, r.engine.Recover(t.Context()))
			require.Equal(t, ceremony.Failed, r.state(t, c.ID).State)
			require.Zero(t, r.effect.outside.Load())
		})
	}
	r := newRig(t, custodian.Production)
	c := r.stranded(t, false)
	r.Clock.MoveWall(time.Hour)
	require.ErrorIs(t, r.engine.Recover(t.Context()), ceremony.ErrClockDisagrees)
	require.Equal(t, ceremony.Executing, r.state(t, c.ID).State)
}

func TestInvariant11_ReplicasCountTheSameTimeOnce(t *testing.T) {
	r := newRig(t, custodian.Production)
	replica := r.replica(t)
	c := r.propose(t, "demo-cleo", "key.destroy")
	for who, decision := range map[string]string{"demo-ada": "approve", "demo-ben": "approve", "demo-wim": "attend"} {
		r.vote(t, who, c.ID, decision)
	}
	whole := r.state(t, c.ID).WaitLeft.Duration()
	require.GreaterOrEqual(t, whole, 7*24*time.Hour)
	for range 5 {
		r.Clock.Advance(time.Minute)
		require.NoError(t, r.engine.Tick(t.Context()))
		require.NoError(t, replica.Tick(t.Context()))
	}
	require.Equal(t, whole-5*time.Minute, r.state(t, c.ID).WaitLeft.Duration())

	r.Clock.MoveWall(time.Minute)
	r.Clock.Advance(time.Minute)
	require.NoError(t, r.engine.Tick(t.Context()))
	require.Equal(t, whole-5*time.Minute, r.state(t, c.ID).WaitLeft.Duration(), "under a clock that is distrusted nothing counts")
	r.Clock.MoveWall(-time.Minute)

	c = r.state(t, c.ID)
	c.WaitLeft = ceremony.Nanoseconds(time.Minute) // the service was down for longer than the ceremony would have lived
	r.Put(t, ceremony.Kind, c.ID, c)
	r.Clock.Advance(60 * 24 * time.Hour)
	r.person(t, "demo-ada", suspended)
	require.ErrorIs(t, r.engine.Tick(t.Context()), ceremony.ErrQuorum)
	require.Equal(t, ceremony.Approved, r.state(t, c.ID).State, "the wait was longer, and does not count against it")
	r.person(t, "demo-ada", func(p *people.Person) { p.Status = people.StatusActive })
	require.NoError(t, r.engine.Tick(t.Context()))
	require.Equal(t, ceremony.Completed, r.state(t, c.ID).State)
}

// An effect may take longer than another replica waits for a sign of life: it gets one, and runs once.
func TestInvariant10_ALongEffectIsLeftToWhoIsAtIt(t *testing.T) {
	r := newRig(t, custodian.Production)
	replica := r.replica(t)
	c := r.approved(t, "key.create")
	var errs []error
	r.effect.during = func() {
		for range 5 {
			r.Clock.Advance(4 * time.Minute)
			errs = append(errs, r.engine.Renew(t.Context()), replica.Renew(t.Context()), replica.Recover(t.Context()))
		}
	}
	_, _, err := r.engine.Execute(t.Context(), human("demo-cleo"), c.ID)
	require.NoError(t, errors.Join(append(errs, err)...))
	require.EqualValues(t, 1, r.effect.outside.Load())

	// Without one it is taken over; what the first then has is not adopted and, where nothing was, undone.
	for _, state := range []ceremony.State{ceremony.Failed, ceremony.Completed} {
		c = r.approved(t, "key.create")
		r.effect.during = func() {
			r.effect.during = nil
			r.Clock.Advance(11 * time.Minute)
			if state == ceremony.Failed {
				r.effect.fail.Store(true)
			}
			_ = replica.Recover(t.Context())
			r.effect.fail.Store(false)
			require.Equal(t, state, r.state(t, c.ID).State)
		}
		_, _, err = r.engine.Execute(t.Context(), human("demo-cleo"), c.ID)
		require.ErrorIs(t, err, ceremony.ErrEnded)
		require.Equal(t, state == ceremony.Failed, r.effect.undone.Swap(0) == 1, "what was completed is on record, and stays")
	}
}

// A clock that jumps ahead brings no date: it is put right, and what people were at goes on.
func TestInvariant11_AClockThatJumpsEndsNothing(t *testing.T) {
	r := newRig(t, custodian.Production)
	open := r.propose(t, "demo-cleo", "key.resume")
	r.Clock.MoveWall(60 * 24 * time.Hour)
	require.NoError(t, r.engine.Tick(t.Context()))
	require.NotEmpty(t, r.engine.ClockProblem())
	require.Equal(t, ceremony.Proposed, r.state(t, open.ID).State)
	r.Clock.MoveWall(-60 * 24 * time.Hour)
	require.NoError(t, r.engine.Tick(t.Context()))
	require.Equal(t, ceremony.Proposed, r.state(t, open.ID).State)
	r.Clock.Advance(60 * 24 * time.Hour)
	require.NoError(t, r.engine.Tick(t.Context()))
	require.Equal(t, ceremony.Expired, r.state(t, open.ID).State)
}
