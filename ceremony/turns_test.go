package ceremony_test

import (
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"conclave/ceremony"
	"conclave/custodian"
)

// Of many who ask at once each is judged once on trial, once in turn, and once more for each trial that came between: the
// work grows with how many they are, not with its square, and nobody is turned away.
func TestManyAtOnceTakeTurns(t *testing.T) {
	r := newRig(t, custodian.Production)
	people := []string{"demo-ada", "demo-ben", "demo-cleo", "demo-dan", "demo-eve"}
	const each = 24
	var wg sync.WaitGroup
	before := r.governed.prepared.Load()
	for _, who := range people {
		for range each {
			wg.Go(func() {
				_, _, err := r.engine.Propose(t.Context(), human(who), ceremony.Proposal{Operation: "key.resume", Reason: "all at once"})
				if err != nil {
					t.Errorf("proposing: %v", err)
				}
			})
		}
	}
	wg.Wait()
	require.LessOrEqual(t, r.governed.prepared.Load()-before, int64(10*each*len(people)), "three times each where no step takes long")
	open, _, err := r.engine.List(t.Context(), ceremony.Filter{Open: true, Limit: 200})
	require.NoError(t, err)
	require.Len(t, open, each*len(people))
}
