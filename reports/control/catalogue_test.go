package control_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"conclave/custodian/ledger"
	"conclave/reports/control"
	"conclave/reports/control/judge"
)

func TestCataloguesAndEvaluatorsAgree(t *testing.T) {
	t.Parallel()
	frameworks, err := control.Frameworks()
	require.NoError(t, err)
	require.Equal(t, []string{"hipaa-security-rule", "nist-800-53r5", "nist-800-57", "pci-dss-4.0.1"}, frameworks)
	used := map[string]bool{}
	for _, name := range frameworks {
		c, err := control.Load(name)
		require.NoError(t, err)
		for _, k := range c.Controls {
			_, err := judge.For(k)
			require.NoError(t, err)
			used[k.Evaluator] = true
			for _, text := range []string{k.PassRule, k.AppliesWhen, k.Evidence.Query} {
				require.False(t, strings.HasSuffix(strings.TrimSpace(text), "."), "%s: %q is a clause, the page ends it", k.ID, text)
			}
			require.True(t, k.Question == "" || strings.HasSuffix(k.Question, "?"), "%s: %q", k.ID, k.Question)
		}
	}
	methods, err := control.Methods()
	require.NoError(t, err)
	var names []string
	for _, m := range methods {
		names = append(names, m.Name)
		require.True(t, used[m.Name], "%s judges no control", m.Name)
	}
	require.ElementsMatch(t, judge.Names(), names)
}

func TestUnknownFramework(t *testing.T) {
	t.Parallel()
	_, err := control.Load("iso-27001")
	var unknown *control.UnknownFrameworkError
	require.ErrorAs(t, err, &unknown)
	require.Contains(t, err.Error(), "pci-dss-4.0.1")
}

const minimal = `framework: f
name: n
version: v
scope: every-key
words: {satisfied: a, violated: b, needs a human: c, no evidence: d, not applicable: e, compensated: f}
controls:
  - {id: "1", title: t, evaluator: question, status: s, applies_when: a, what_it_demands: w, evidence: {events: [], state: [], query: q}, pass_rule: p, judged: j, fail_examples: [x], retention: r, verification: {level: memory, source: s}}
`

func TestCataloguesAreReadStrictly(t *testing.T) {
	t.Parallel()
	_, err := control.ParseCatalogue([]byte(minimal))
	require.NoError(t, err)
	for name, c := range map[string]struct{ data, want string }{
		"unknown member":  {strings.Replace(minimal, "title: t", "title: t, extra: 1", 1), "extra"},
		"no title":        {strings.Replace(minimal, "title: t", `title: ""`, 1), "control 1: title: empty"},
		"unknown level":   {strings.Replace(minimal, "level: memory", "level: sure", 1), "verification.level"},
		"twice":           {minimal + strings.SplitAfter(minimal, "controls:\n")[1], "listed twice"},
		"second document": {minimal + "---\nframework: g\n", "more than one document"},
		"no controls":     {strings.Split(minimal, "controls:")[0], "controls: none"},
		"no scope":        {strings.Replace(minimal, "every-key", "all", 1), "scope"},
		"no words":        {strings.Replace(minimal, "violated: b, ", "", 1), "words: none for violated"},
		"no evaluator":    {strings.Replace(minimal, "evaluator: question", "evaluator: hope", 1), "evaluator"},
		"not YAML":        {"\t{", "parsing catalogue"},
		"empty":           {"", "parsing catalogue"},
		"repeated member": {strings.Replace(minimal, "name: n", "name: n\nname: m", 1), "name"},
		"too large":       {minimal + strings.Repeat("#", 1<<20), "at most"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := control.ParseCatalogue([]byte(c.data))
			require.ErrorContains(t, err, c.want)
		})
	}
}

func FuzzParseCatalogue(f *testing.F) {
	f.Add([]byte(minimal))
	f.Add([]byte("a: &a [*a]"))
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := control.ParseCatalogue(data)
		if err == nil && len(c.Controls) == 0 {
			t.Fatal("accepted a catalogue without controls")
		}
	})
}

func TestConcludeNeverPassesOnNothing(t *testing.T) {
	t.Parallel()
	empty := control.NewTable("t")
	context := control.NewTable("t")
	context.Note(control.Info, "", control.Proof{}, "x")
	good := control.NewTable("t")
	good.Add(control.OK, nil, control.Proof{}, "x")
	doubtful := control.NewTable("t")
	doubtful.Add(control.Attention, nil, control.Proof{}, "x")
	bad := control.NewTable("t")
	bad.Add(control.OK, control.Faults{"broken"}, control.Proof{}, "x")
	for _, c := range []struct {
		want    control.Verdict
		finding control.Finding
	}{
		{control.NoEvidence, control.Finding{}},
		{control.NoEvidence, control.Finding{Tables: []*control.Table{empty}}},
		{control.NoEvidence, control.Finding{Tables: []*control.Table{context}}},
		{control.NoEvidence, control.Finding{Tables: []*control.Table{empty}, Question: "q?"}},
		{control.Satisfied, control.Finding{Tables: []*control.Table{good, empty}}},
		{control.NeedsHuman, control.Finding{Tables: []*control.Table{good}, Question: "q?"}},
		{control.NeedsHuman, control.Finding{Tables: []*control.Table{good}, Unseen: 1}},
		{control.NeedsHuman, control.Finding{Tables: []*control.Table{good, doubtful}, Doubt: "d?"}},
		{control.Violated, control.Finding{Tables: []*control.Table{good, doubtful, bad}, Question: "q?"}},
	} {
		require.Equal(t, c.want, control.Conclude(c.finding).Verdict)
	}
}

// What holds of rows that are all good is not said where some of them are for a person to judge.
func TestSummaryOfOpenRowsClaimsNothing(t *testing.T) {
	t.Parallel()
	doubtful := control.NewTable("t")
	doubtful.Add(control.OK, nil, control.Proof{}, "x")
	doubtful.Add(control.Attention, nil, control.Proof{}, "x")
	f := control.Finding{Tables: []*control.Table{doubtful}, Good: "All was reviewed.", Doubt: "When will it be?"}
	require.Equal(t, "Nothing that was looked at breaks the rule. Of 2 rows, 1 is for a person to judge: marked attention below.", control.Conclude(f).Summary)
	f.Open = "It was not reviewed yet."
	require.Equal(t, f.Open, control.Conclude(f).Summary)
	f.Open, f.Holds = "", true
	require.Equal(t, f.Good, control.Conclude(f).Summary)
}

// Refusals are counted whatever was tried, and time that goes back is seen.
func TestRefusalsAndTheOrderOfTime(t *testing.T) {
	t.Parallel()
	ev := control.NewEvents(nil)
	at := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	for i, outcome := range []ledger.Outcome{ledger.Deny, ledger.Done, ledger.Deny} {
		ev.Observe(&ledger.Entry{Type: "ceremony.approve", Seq: uint64(7 + i), At: at.Add(time.Duration(i%2) * time.Minute), Outcome: outcome})
	}
	require.Equal(t, map[string]*control.Lack{"ceremony.approve": {Count: 2, Seqs: []uint64{7, 9}}}, ev.Refused())
	require.Equal(t, control.Lack{Count: 1, Seqs: []uint64{9}}, ev.Backwards())
}

func TestTablesAreBounded(t *testing.T) {
	t.Parallel()
	table := control.NewTable("t", control.Column{Name: "c", Type: control.Text})
	for range 2000 {
		table.Add(control.OK, nil, control.Proof{}, "x")
	}
	table.Add(control.OK, control.Faults{"broken"}, control.Proof{}, "y")
	r := control.Conclude(control.Finding{Tables: []*control.Table{table}, Bad: "bad"})
	require.Equal(t, control.Violated, r.Verdict)
	require.Equal(t, 2001, r.Tables[0].Total)
	require.Less(t, len(r.Tables[0].Rows), 600)
	require.Equal(t, control.Violating, r.Tables[0].Rows[0].State, "what matters comes first")
	require.Equal(t, 2001-len(r.Tables[0].Rows), r.Tables[0].Omitted())
}
