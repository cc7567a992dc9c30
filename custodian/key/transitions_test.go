package key_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"conclave/custodian/key"
)

// transitionTable is table 2 of the life cycle, independently of the code: id, from, to, set, pair, governed.
const transitionTable = `
T2  pre-activation destroyed   -  pair governed
T3  pre-activation compromised -  pair governed
T4  pre-activation active      -  -    -
T5  active         destroyed   D  -    governed
T6  active         compromised -  pair governed
T7  active         suspended   -  pair -
T8  active         deactivated K  -    -
T9  suspended      destroyed   D  -    governed
T10 suspended      active      -  pair governed
T11 suspended      compromised -  pair governed
T12 suspended      deactivated K  -    -
T13 deactivated    destroyed   -  -    governed
T14 deactivated    compromised -  pair governed
T15 compromised    destroyed   -  -    governed
A1  destroyed      destroyed   -  -    -`

func TestTransitionTable(t *testing.T) {
	rows := strings.Split(strings.TrimSpace(transitionTable), "\n")
	rules := key.Transitions()
	require.Len(t, rules, len(rows)+1)
	require.Equal(t, key.TransitionRule{ID: "T1", To: key.PreActivation}, rules[0])
	sets := map[string]key.Disposition{"-": "", "D": key.SetD, "K": key.SetK}
	for i, row := range rows {
		c := strings.Fields(row)
		want := key.TransitionRule{ID: c[0], From: key.State(c[1]), To: key.State(c[2]), AtEnd: sets[c[3]],
			Pair: c[4] == "pair", Governed: c[5] == "governed"}
		require.Equal(t, want, rules[i+1])
	}
}

// forbiddenTable: rows from, columns to, in the order of the states; "." where the transition is allowed.
const forbiddenTable = `
pre-activation returns-to-pre-activation .                   pre-activation-not-in-use pre-activation-not-in-use .               .
active         returns-to-pre-activation state-unchanged     .                         .                         .               .
suspended      returns-to-pre-activation .                   state-unchanged           .                         .               .
deactivated    returns-to-pre-activation deactivated-returns deactivated-returns       state-unchanged           .               .
compromised    returns-to-pre-activation compromised-returns compromised-returns       compromised-returns       state-unchanged .
destroyed      returns-to-pre-activation destroyed-is-final  destroyed-is-final        destroyed-is-final        destroyed-is-final .`

// TestInvariantState04_EveryPairOfStates judges all 36 ordered pairs, by table and by applying them.
func TestInvariantState04_EveryPairOfStates(t *testing.T) {
	for i, row := range strings.Split(strings.TrimSpace(forbiddenTable), "\n") {
		from := key.States()[i]
		for j, want := range strings.Fields(row)[1:] {
			to := key.States()[j]
			rule, err := key.Between(from, to)
			if want == "." {
				require.NoError(t, err, "%s → %s", from, to)
				require.Equal(t, []key.State{from, to}, []key.State{rule.From, rule.To})
				continue
			}
			require.Equal(t, want, transitionCode(t, err), "%s → %s", from, to)
		}
		// Every transition of the table, applied where it does not start.
		v := inState(t, from)
		at := start.Add(20 * time.Hour)
		for _, r := range key.Transitions() {
			if r.From == from {
				continue
			}
			next, err := v.Apply(line(r.ID, at), allFacts(at))
			require.Nil(t, next)
			if _, reachable := key.Between(from, r.To); reachable == nil {
				require.Equal(t, key.CodeWrongFrom, transitionCode(t, err), "%s in %s", r.ID, from)
			} else {
				require.Equal(t, transitionCode(t, reachable), transitionCode(t, err), "%s in %s", r.ID, from)
			}
		}
	}
	_, err := key.Between("", key.PreActivation)
	require.Equal(t, key.CodeUnknownState, transitionCode(t, err))
	_, err = key.Between(key.Active, "unheard-of")
	require.Equal(t, key.CodeUnknownState, transitionCode(t, err))
	_, err = inState(t, key.Active).Apply(line("T99", start.Add(9*time.Hour)), key.Facts{})
	require.Equal(t, key.CodeUnknownTransition, transitionCode(t, err))
}

func TestGuards(t *testing.T) {
	at := start.Add(30 * time.Hour)
	after := start.Add(366 * key.Day)
	with := func(change func(f *key.Facts)) func(*key.Version, *key.Transition, *key.Facts) {
		return func(_ *key.Version, _ *key.Transition, f *key.Facts) { change(f) }
	}
	early := func(_ *key.Version, l *key.Transition, f *key.Facts) { l.Ceremony, f.ReplacementActive = "", false }
	cases := []struct {
		name, id string
		from     key.State
		typ      key.Type
		at       time.Time
		spoil    func(*key.Version, *key.Transition, *key.Facts)
		code     string
	}{
		{"used", "T2", key.PreActivation, key.KeyWrapping, at, with(func(f *key.Facts) { f.NeverUsed = false }), key.CodeUsed},
		{"half", "T3", key.PreActivation, key.PrivateTransport, at, with(func(f *key.Facts) { f.PairMoves = false }), key.CodeHalfPair},
		{"placement", "T4", key.PreActivation, key.KeyWrapping, at, with(func(f *key.Facts) { f.PlacementFits = false }), key.CodePlacement},
		{"acknowledged", "T4", key.PreActivation, key.KeyWrapping, at, with(func(f *key.Facts) { f.CustodiansAcknowledged = false }), key.CodeAcknowledgement},
		{"too late", "T4", key.PreActivation, key.KeyWrapping, after, nil, key.CodePeriodOver},
		{"too early", "T4", key.PreActivation, key.KeyWrapping, at, func(v *key.Version, _ *key.Transition, _ *key.Facts) { v.ActivationAt = after }, key.CodeNotDue},
		{"set K", "T5", key.Active, key.KeyWrapping, at, nil, key.CodeType},
		{"unreplaced", "T5", key.Active, key.SymmetricAuthorisation, at, with(func(f *key.Facts) { f.ReplacementActive = false }), key.CodeNoReplacement},
		{"dependents", "T5", key.Active, key.SymmetricAuthorisation, at, with(func(f *key.Facts) { f.NoDependents = false }), key.CodeDependents},
		{"half", "T6", key.Active, key.PublicTransport, at, with(func(f *key.Facts) { f.PairMoves = false }), key.CodeHalfPair},
		{"review", "T7", key.Active, key.KeyWrapping, at, func(_ *key.Version, l *key.Transition, _ *key.Facts) { by := at.Add(31 * key.Day); l.ReviewBy = &by }, key.CodeReview},
		{"review past", "T7", key.Active, key.KeyWrapping, at, func(_ *key.Version, l *key.Transition, _ *key.Facts) { by := at; l.ReviewBy = &by }, key.CodeReview},
		{"early", "T8", key.Active, key.KeyWrapping, at, early, key.CodeNotDue},
		{"set D", "T8", key.Active, key.PrivateSignature, after, nil, key.CodeType},
		{"suspected", "T9", key.Suspended, key.SymmetricAuthorisation, at, func(v *key.Version, _ *key.Transition, f *key.Facts) {
			v.Suspected, v.History[2].Suspected, f.FindingClosed = true, true, false
		}, key.CodeFindingOpen},
		{"finding", "T10", key.Suspended, key.KeyWrapping, at, with(func(f *key.Facts) { f.FindingClosed = false }), key.CodeFindingOpen},
		{"over", "T10", key.Suspended, key.KeyWrapping, after, nil, key.CodePeriodOver},
		{"half", "T11", key.Suspended, key.PrivateStaticAgreement, at, with(func(f *key.Facts) { f.PairMoves = false }), key.CodeHalfPair},
		{"early", "T12", key.Suspended, key.KeyWrapping, at, early, key.CodeNotDue},
		{"suspected", "T12", key.Suspended, key.KeyWrapping, after, func(v *key.Version, _ *key.Transition, f *key.Facts) {
			v.Suspected, v.History[2].Suspected, f.FindingClosed = true, true, false
		}, key.CodeFindingOpen},
		{"data", "T13", key.Deactivated, key.KeyWrapping, at, with(func(f *key.Facts) { f.NoDependents = false }), key.CodeDependents},
		{"hold", "T13", key.Deactivated, key.KeyWrapping, at, with(func(f *key.Facts) { f.NoLegalHold = false }), key.CodeLegalHold},
		{"wait", "T13", key.Deactivated, key.KeyWrapping, at, with(func(f *key.Facts) { f.ApprovedAt = at.Add(time.Second - key.MinDestroyWait) }), key.CodeWait},
		{"wait unknown", "T13", key.Deactivated, key.KeyWrapping, at, with(func(f *key.Facts) { f.ApprovedAt = time.Time{} }), key.CodeWait},
		{"half", "T14", key.Deactivated, key.PublicVerification, at, with(func(f *key.Facts) { f.PairMoves = false }), key.CodeHalfPair},
		{"data", "T15", key.Compromised, key.KeyWrapping, at, with(func(f *key.Facts) { f.Reprotected = false }), key.CodeReprotection},
		{"hold", "T15", key.Compromised, key.KeyWrapping, at, with(func(f *key.Facts) { f.NoLegalHold = false }), key.CodeLegalHold},
		{"reason", "T6", key.Active, key.KeyWrapping, at, func(_ *key.Version, l *key.Transition, _ *key.Facts) { l.Reason = " " }, key.CodeReasonMissing},
		{"actor", "T6", key.Active, key.KeyWrapping, at, func(_ *key.Version, l *key.Transition, _ *key.Facts) { l.Actor = "" }, key.CodeActorMissing},
		{"ceremony", "T6", key.Active, key.KeyWrapping, at, func(_ *key.Version, l *key.Transition, _ *key.Facts) { l.Ceremony = "" }, key.CodeCeremonyMissing},
		{"clock", "T6", key.Active, key.KeyWrapping, start, nil, key.CodeTime},
		{"no time", "T6", key.Active, key.KeyWrapping, time.Time{}, nil, key.CodeTime},
		{"suspicion", "T6", key.Active, key.KeyWrapping, at, func(_ *key.Version, l *key.Transition, _ *key.Facts) { l.Suspected = true }, key.CodeReview},
	}
	for _, c := range cases {
		t.Run(c.id+" "+c.name, func(t *testing.T) {
			v := inState(t, c.from)
			v.Type = c.typ
			l, f := line(c.id, c.at), allFacts(c.at)
			if c.spoil != nil {
				c.spoil(v, &l, &f)
			}
			_, err := v.Apply(l, f)
			require.Equal(t, c.code, transitionCode(t, err))
		})
	}
}

// TestZeroFactsRefuse: facts that nobody established open no transition that needs any.
func TestZeroFactsRefuse(t *testing.T) {
	at := start.Add(400 * key.Day)
	for _, r := range key.Transitions() {
		if r.From == "" || r.ID == "A1" {
			continue
		}
		for _, typ := range []key.Type{key.KeyWrapping, key.SymmetricAuthorisation} {
			v := inState(t, r.From)
			v.Type = typ
			_, err := v.Apply(line(r.ID, at), key.Facts{})
			needsNothing := r.ID == "T3" || r.ID == "T6" || r.ID == "T7" || r.ID == "T11" || r.ID == "T14" ||
				typ == key.KeyWrapping && (r.ID == "T8" || r.ID == "T12")
			if needsNothing {
				require.NoError(t, err, "%s %s", r.ID, typ)
			} else {
				require.Error(t, err, "%s %s", r.ID, typ)
			}
		}
	}
}

// TestSetDEnds: types of set D are destroyed out of use, a master key is held deactivated first.
func TestSetDEnds(t *testing.T) {
	at := start.Add(366 * key.Day)
	for id, from := range map[string]key.State{"T5": key.Active, "T9": key.Suspended} {
		v := inState(t, from)
		v.Type = key.SymmetricAuthorisation
		next, err := v.Apply(line(id, at), allFacts(at))
		require.NoError(t, err)
		require.Equal(t, key.Destroyed, next.State)
		require.Empty(t, next.Material.Blob)
	}
	v := inState(t, key.Active)
	v.Type = key.Master
	id, due := v.Due(at)
	require.Equal(t, "T8", id)
	require.True(t, due)
	next, err := v.Apply(line("T8", at), key.Facts{})
	require.NoError(t, err)
	require.Equal(t, key.Deactivated, next.State)
}

func TestInvariantState12_LaterKnowledgeOfCompromise(t *testing.T) {
	v := inState(t, key.Destroyed)
	require.False(t, v.CompromisedBeforeDestroy)
	at := start.Add(50 * time.Hour)
	next, err := v.Apply(key.Transition{ID: "A1", At: at, Actor: "human:ada", Reason: "found in a dump"}, key.Facts{})
	require.NoError(t, err)
	require.True(t, next.CompromisedBeforeDestroy)
	require.Equal(t, key.Destroyed, next.State)
	require.Equal(t, v.Material, next.Material)
	require.Equal(t, v.DestroyedAt, next.DestroyedAt)
	require.Len(t, next.History, len(v.History)+1)
	require.NoError(t, next.CheckHistory())

	compromised := inState(t, key.Compromised)
	gone, err := compromised.Apply(line("T15", at), allFacts(at))
	require.NoError(t, err)
	require.True(t, gone.CompromisedBeforeDestroy)
}
