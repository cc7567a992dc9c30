package policies_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"conclave/policies"
)

// What was answered once is answered again without an evaluation; an evaluation that was cut short is no answer.
func TestQuorumAnswersAreKept(t *testing.T) {
	e, err := policies.New(t.Context(), policies.Options{})
	require.NoError(t, err)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	in := ask("key.destroy", "ephi")
	_, err = e.Quorum(ended, in)
	require.ErrorIs(t, err, policies.ErrTimeout)
	first, err := e.Quorum(t.Context(), in)
	require.NoError(t, err)
	in.Now, in.Target.ID = in.Now.Add(time.Hour), "another"
	again, err := e.Quorum(ended, in)
	require.NoError(t, err)
	require.Equal(t, first, again)
	require.Equal(t, len(again.ApproverRoles), cap(again.ApproverRoles), "what somebody appends is theirs alone")

	unknown := ask("key.unheard-of")
	for _, ctx := range []context.Context{t.Context(), ended} {
		_, err = e.Quorum(ctx, unknown)
		require.ErrorIs(t, err, policies.ErrUndefined)
		require.NotErrorIs(t, err, policies.ErrTimeout)
	}
	in.Operation = "key.suspend"
	_, err = e.Quorum(ended, in)
	require.ErrorIs(t, err, policies.ErrTimeout, "another question")
}

// A bundle whose rules read the time, or whom it is about, is asked about each.
func TestQuorumAnswersFollowWhatTheRulesRead(t *testing.T) {
	const rule = "# METADATA\n# title: No\npackage conclave.rules.quorum.no\n\nimport data.conclave.lib.reason\n\n" +
		"# METADATA\n# scope: rule\n# title: No\n# description: Some is refused.\n# custom:\n#   id: quorum.no\n#   code: no\n#   controls:\n#     - pci-dss-4.0.1:3.7.6\n" +
		"deny contains reason.new(rego.metadata.rule(), \"no\", \"no\") if CONDITION\n"
	for condition, change := range map[string]func(*policies.QuorumInput){
		"input.now > " + fmt.Sprint(now().UnixMicro()):       func(in *policies.QuorumInput) { in.Now = in.Now.Add(time.Hour) },
		`input.target.id == "other"`:                         func(in *policies.QuorumInput) { in.Target.ID = "other" },
		`some name in ["id"]; input.target[name] == "other"`: func(in *policies.QuorumInput) { in.Target.ID = "other" },
	} {
		e, err := policies.New(t.Context(), policies.Options{Bundle: bundleWith(t, map[string]string{
			"rules/quorum_no/quorum_no.rego": strings.ReplaceAll(rule, "if CONDITION", "if {\n\t"+strings.ReplaceAll(condition, "; ", "\n\t")+"\n}")})})
		require.NoError(t, err)
		in := ask("key.destroy", "ephi")
		in.Now = now()
		for range 2 {
			d, err := e.Quorum(t.Context(), in)
			require.NoError(t, err)
			require.NotContains(t, codes(d.Denials), "no", condition)
		}
		change(&in)
		d, err := e.Quorum(t.Context(), in)
		require.NoError(t, err)
		require.Contains(t, codes(d.Denials), "no", condition)
	}
}

// Many may ask one engine at once, the same and otherwise.
func TestQuorumsAreAskedAtOnce(t *testing.T) {
	e, err := policies.New(t.Context(), policies.Options{Timeout: time.Minute})
	require.NoError(t, err)
	operations := []string{"key.destroy", "key.create", "custodian.add", "keystore.activate"}
	var all sync.WaitGroup
	answers := make([]policies.QuorumDecision, 8*len(operations))
	for i := range answers {
		all.Go(func() {
			d, err := e.Quorum(t.Context(), ask(operations[i%len(operations)], "ephi"))
			if err != nil {
				t.Error(err)
			}
			answers[i] = d
		})
	}
	all.Wait()
	for i, d := range answers {
		require.Equal(t, answers[i%len(operations)], d)
		require.Equal(t, operations[i%len(operations)], d.Operation)
	}
}
