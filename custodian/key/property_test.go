package key_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"conclave/custodian/key"
)

// drawFacts lets guards pass more often than not, so that sequences get somewhere.
func drawFacts(t *rapid.T, at time.Time) key.Facts {
	likely := func(name string) bool { return rapid.IntRange(0, 4).Draw(t, name) > 0 }
	f := key.Facts{PlacementFits: likely("placement"), CustodiansAcknowledged: likely("ack"), NeverUsed: likely("unused"),
		NoDependents: likely("dependents"), ReplacementActive: likely("replacement"), FindingClosed: likely("finding"),
		NoLegalHold: likely("hold"), Reprotected: likely("reprotected"), PairMoves: likely("pair")}
	if likely("waited") {
		f.ApprovedAt = at.Add(-key.MinDestroyWait)
	}
	return f
}

func drawType(t *rapid.T) key.Type {
	return rapid.SampledFrom([]key.Type{key.KeyWrapping, key.DataEncryption, key.SymmetricAuthorisation, key.Master,
		key.PrivateTransport}).Draw(t, "type")
}

func drawLine(t *rapid.T, at time.Time) key.Transition {
	l := line(rapid.SampledFrom(key.Transitions()).Draw(t, "rule").ID, at)
	l.Suspected = l.ID == "T7" && rapid.Bool().Draw(t, "suspected")
	return l
}

// TestInvariantState01_StateIsReplayOfHistory walks random sequences: input never changes, history only grows,
// the state is what the history says, terminal states stay terminal, JSON round trips.
func TestInvariantState01_StateIsReplayOfHistory(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		v := fresh(t, drawType(t))
		at := start
		for range rapid.IntRange(1, 30).Draw(t, "steps") {
			at = at.Add(time.Duration(rapid.Int64Range(0, int64(60*key.Day)).Draw(t, "gap")))
			before := v.Clone()
			next, err := v.Apply(drawLine(t, at), drawFacts(t, at))
			require.Equal(t, before, v, "the receiver never changes")
			if err != nil {
				require.Nil(t, next)
				continue
			}
			require.NoError(t, next.CheckHistory())
			require.Equal(t, v.History, next.History[:len(v.History)])
			require.Len(t, next.History, len(v.History)+1)
			_, err = key.Between(v.State, next.State)
			require.NoError(t, err)
			require.Equal(t, next.State == key.Destroyed, len(next.Material.Blob) == 0)
			require.Equal(t, next.State == key.Suspended, next.SuspendedAt != nil)
			require.Equal(t, next.State == key.Destroyed, next.DestroyedAt != nil)

			body, err := json.Marshal(next)
			require.NoError(t, err)
			var read key.Version
			require.NoError(t, json.Unmarshal(body, &read))
			require.Equal(t, next, &read)
			v = next
		}
	})
}

// TestInvariantState05_HalvesStayTogether moves both halves of a pair in one step or neither.
func TestInvariantState05_HalvesStayTogether(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		private, public := fresh(t, key.PrivateTransport), fresh(t, key.PublicTransport)
		at := start
		for range rapid.IntRange(1, 20).Draw(t, "steps") {
			at = at.Add(time.Hour)
			l, f := drawLine(t, at), drawFacts(t, at)
			a, errA := private.Apply(l, f)
			b, errB := public.Apply(l, f)
			if errA == nil && errB == nil {
				private, public = a, b
			}
			f.PairMoves = false
			for _, half := range []*key.Version{private, public} {
				if next, err := half.Apply(line(l.ID, at), f); err == nil {
					require.NotContains(t, []key.State{key.Suspended, key.Compromised}, next.State)
					require.NotContains(t, []string{"T3", "T6", "T7", "T10", "T11", "T14"}, l.ID)
				}
			}
			require.Equal(t, private.State, public.State)
		}
	})
}

// TestCheckHistoryFindsEdits: any edit of state or history that changes their meaning is found, and refused by Apply.
func TestCheckHistoryFindsEdits(t *testing.T) {
	later := start.Add(99 * time.Hour)
	edits := map[string]func(v *key.Version){
		"state":         func(v *key.Version) { v.State = key.Active },
		"dropped line":  func(v *key.Version) { v.History = v.History[:2] },
		"dropped start": func(v *key.Version) { v.History = v.History[1:] },
		"no history":    func(v *key.Version) { v.History = nil },
		"other id":      func(v *key.Version) { v.History[2].ID = "T8" },
		"unknown id":    func(v *key.Version) { v.History[2].ID = "T77" },
		"other target":  func(v *key.Version) { v.History[2].To = key.Deactivated },
		"order":         func(v *key.Version) { v.History[1], v.History[2] = v.History[2], v.History[1] },
		"date":          func(v *key.Version) { v.History[1].At = later },
		"no date":       func(v *key.Version) { v.History[0].At = time.Time{} },
		"suspension":    func(v *key.Version) { v.SuspendedAt = &later },
		"suspicion":     func(v *key.Version) { v.Suspected = true },
		"review":        func(v *key.Version) { v.ReviewBy = nil },
		"destruction":   func(v *key.Version) { v.DestroyedAt = &later },
		"annotation":    func(v *key.Version) { v.CompromisedBeforeDestroy = true },
		"stray review":  func(v *key.Version) { v.History[1].ReviewBy = &later },
	}
	for name, edit := range edits {
		t.Run(name, func(t *testing.T) {
			v := inState(t, key.Suspended)
			require.NoError(t, v.CheckHistory())
			edit(v)
			require.Equal(t, key.CodeHistory, transitionCode(t, v.CheckHistory()))
			_, err := v.Apply(line("T10", later), allFacts(later))
			require.Equal(t, key.CodeHistory, transitionCode(t, err))
		})
	}
	v := inState(t, key.Destroyed)
	v.Material.Blob = []byte{1}
	require.Equal(t, key.CodeHistory, transitionCode(t, v.CheckHistory()))
}
