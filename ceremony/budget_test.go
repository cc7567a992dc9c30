package ceremony_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"conclave/ceremony"
	"conclave/custodian"
	"conclave/custodian/store"
)

func TestOneCredentialFillsNoMemory(t *testing.T) {
	r := newRig(t, custodian.Production)
	r.allowance = ceremony.Allowance{Burst: 3, Every: time.Minute, Daily: 5}
	r.restart(t)
	ask := func(who, operation string) error {
		_, _, err := r.engine.Propose(t.Context(), human(who), ceremony.Proposal{Operation: operation, Reason: "test"})
		return err
	}
	for range 3 { // what is cancelled gives nothing back
		c := r.propose(t, "demo-cleo", "key.resume")
		_, err := r.engine.Cancel(t.Context(), human("demo-cleo"), c.ID, "")
		require.NoError(t, err)
	}
	size := r.View().Head().Size
	var spent *ceremony.BudgetError
	require.ErrorAs(t, ask("demo-cleo", "key.resume"), &spent)
	require.Equal(t, time.Minute, spent.Wait)
	require.Equal(t, size+1, r.View().Head().Size, "that somebody is out of tokens is on record")
	require.ErrorAs(t, ask("demo-cleo", "key.create"), &spent)
	require.Equal(t, size+1, r.View().Head().Size, "once, not with every try")
	require.NoError(t, ask("demo-cleo", "key.suspend"), "what restricts has its own allowance")
	require.NoError(t, ask("demo-ada", "key.resume"), "and everybody else theirs")

	for range 2 {
		r.Clock.Advance(time.Minute)
		require.NoError(t, ask("demo-cleo", "key.resume"))
	}
	r.Clock.Advance(time.Minute)
	require.ErrorAs(t, ask("demo-cleo", "key.resume"), &spent, "the day's are used")
	require.Greater(t, spent.Wait, time.Hour)

	open := 0
	for _, c := range store.Active[ceremony.Ceremony](r.View(), ceremony.Kind) {
		require.False(t, c.State.Ended())
		open++
	}
	require.Equal(t, 3, open, "what time changes is looked for among the open ones")
}
