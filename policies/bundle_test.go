package policies_test

import (
	"context"
	"encoding/json"
	"io/fs"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/stretchr/testify/require"

	"conclave/policies"
)

func TestInvariant11_UnusableBundlesAreRefused(t *testing.T) {
	for name, replace := range map[string]map[string]string{
		"does not parse":       {"rules/x/x.rego": "package x\n\ndeny contains"},
		"does not compile":     {"rules/x/x.rego": "package x\n\ndeny if nowhere.to_be(found)"},
		"not strict":           {"rules/x/x.rego": "package x\n\nimport data.y\n\ndeny if true"},
		"reads the network":    {"rules/x/x.rego": "package x\n\ndeny if http.send({\"method\": \"get\", \"url\": \"http://127.0.0.1\"})"},
		"looks up names":       {"rules/x/x.rego": "package x\n\ndeny if net.lookup_ip_addr(\"localhost\")"},
		"reads the clock":      {"rules/x/x.rego": "package x\n\ndeny if time.now_ns() > 0"},
		"reads the process":    {"rules/x/x.rego": "package x\n\ndeny if opa.runtime().env"},
		"draws lots":           {"rules/x/x.rego": "package x\n\ndeny if rand.intn(\"a\", 2) == 1"},
		"no decision point":    {"lib/decide_place.rego": ""},
		"no declaration":       {"data/memo.json": ""},
		"declaration is null":  {"data/memo.json": `{"reads": null, "context_fields": null}`},
		"declaration is wrong": {"data/memo.json": `{"reads": [1], "context_fields": []}`},
		"undeclared read":      {"rules/x/x.rego": "package conclave.rules.authorise.x\n\ndeny contains 1 if input.key.owner == \"ada\""},
		"whole input":          {"rules/x/x.rego": "package conclave.rules.authorise.x\n\ndeny contains 1 if count(input) == 1"},
		"duplicate names":      {"data/x.json": `{"a": 1, "a": 2}`},
		"not JSON":             {"data/x.json": `{`},
		"stray file":           {"data/x.yaml": `a: 1`},
		"empty module":         {"rules/x/x.rego": " "},
		"too large":            {"data/x.json": `"` + strings.Repeat("x", 300<<10) + `"`},
	} {
		_, err := policies.New(context.Background(), policies.Options{Bundle: bundleWith(t, replace)})
		require.ErrorIs(t, err, policies.ErrBundle, name)
	}
	many := fstest.MapFS{}
	for i := range 600 {
		many["data/"+strings.Repeat("x", i+1)+".json"] = &fstest.MapFile{Data: []byte("{}")}
	}
	_, err := policies.New(context.Background(), policies.Options{Bundle: many})
	require.ErrorIs(t, err, policies.ErrBundle)
	_, err = policies.New(context.Background(), policies.Options{Timeout: -1})
	require.Error(t, err)
}

func TestInvariant11_NoAnswerIsADenial(t *testing.T) {
	for name, c := range map[string]struct {
		body string
		want error
	}{
		"undefined":            {`decision := {"allow": true} if input.operation == "nothing"`, policies.ErrUndefined},
		"null":                 {`decision := null`, policies.ErrUndefined},
		"true":                 {`decision := true`, policies.ErrUndefined},
		"a set":                {`decision := {"allow"}`, policies.ErrUndefined},
		"empty":                {`decision := {}`, policies.ErrUndefined},
		"allow is null":        {`decision := {"allow": null, "reasons": []}`, policies.ErrUndefined},
		"allow is one":         {`decision := {"allow": 1, "reasons": []}`, policies.ErrUndefined},
		"allow alone":          {`decision := {"allow": true}`, policies.ErrUndefined},
		"allow without end":    {`decision := {"allow": true, "reasons": [], "max_payload": 64}`, policies.ErrUndefined},
		"allow in the past":    {`decision := {"allow": true, "reasons": [], "max_payload": 64, "valid_until": 1}`, policies.ErrUndefined},
		"allow, end is null":   {`decision := {"allow": true, "reasons": [], "max_payload": 64, "valid_until": null}`, policies.ErrUndefined},
		"denial unexplained":   {`decision := {"allow": false, "reasons": []}`, policies.ErrUndefined},
		"reason without code":  {`decision := {"allow": false, "reasons": [{"rule": "r", "message": "m", "remedy": "x", "controls": []}]}`, policies.ErrUndefined},
		"reason is null":       {`decision := {"allow": false, "reasons": [null]}`, policies.ErrUndefined},
		"builtin error":        {`decision := {"allow": true, "reasons": [], "max_payload": 64, "valid_until": 1 / 0}`, policies.ErrPolicy},
		"two answers":          {"decision := {\"allow\": true}\n\ndecision := {\"allow\": false}", policies.ErrPolicy},
		"practically for ever": {"decision := {\"allow\": count({x | some i in numbers.range(1, 100000); some j in numbers.range(1, 100000); x := i * j}) > 0}", policies.ErrTimeout},
	} {
		limit := time.Minute // a busy machine must not turn another refusal into a timeout
		if c.want == policies.ErrTimeout {
			limit = 100 * time.Millisecond
		}
		e, err := policies.New(context.Background(), policies.Options{
			Timeout: limit,
			Bundle: bundleWith(t, map[string]string{
				"lib/decide_authorise.rego": "package conclave.decide.authorise\n\n" + c.body + "\n",
			}),
		})
		require.NoError(t, err, name)
		d, err := e.Authorise(context.Background(), call("datakey"))
		require.ErrorIs(t, err, c.want, name)
		require.ErrorIs(t, err, policies.ErrPolicy, name)
		require.False(t, d.Allow, name)
	}
}

func TestInvariant11_TablesWithoutNumbersDeny(t *testing.T) {
	for name, replace := range map[string]map[string]string{
		"payload bound null": {"data/authorisation.json": patched(t, "data/authorisation.json", "max_payload_bytes", nil)},
		"operations missing": {"data/authorisation.json": patched(t, "data/authorisation.json", "operations", map[string]any{})},
		"states missing":     {"data/authorisation.json": patched(t, "data/authorisation.json", "protect_states", []any{})},
		"age null":           {"data/memo.json": patched(t, "data/memo.json", "max_age_seconds", nil)},
		"no classes":         {"data/classifications.json": `{}`},
		"classes null":       {"data/classifications.json": `null`},
	} {
		e, err := policies.New(context.Background(), policies.Options{Bundle: bundleWith(t, replace)})
		require.NoError(t, err, name)
		d, err := e.Authorise(context.Background(), call("datakey"))
		if err != nil {
			require.ErrorIs(t, err, policies.ErrPolicy, name)
		}
		require.False(t, d.Allow, name)
		require.False(t, d.Holds(now(), 32), name)
	}
}

// patched is a table of the embedded bundle with one member replaced.
func patched(t *testing.T, file, member string, value any) string {
	t.Helper()
	source, err := fs.ReadFile(policies.Bundle(), file)
	require.NoError(t, err)
	var table map[string]any
	require.NoError(t, json.Unmarshal(source, &table))
	table[member] = value
	out, err := json.Marshal(table)
	require.NoError(t, err)
	return string(out)
}

func TestDigest(t *testing.T) {
	first, again := engine(t), engine(t)
	require.Len(t, first.Digest(), 64)
	require.Equal(t, first.Digest(), again.Digest())
	changed, err := policies.New(context.Background(), policies.Options{
		Bundle: bundleWith(t, map[string]string{"data/quorum.json": patched(t, "data/quorum.json", "x", 1)}),
	})
	require.NoError(t, err)
	require.NotEqual(t, first.Digest(), changed.Digest())
	const test = "rules/caller_kind/caller_kind_test.rego"
	retested, err := policies.New(context.Background(), policies.Options{
		Bundle: bundleWith(t, map[string]string{test: "package conclave.rules.caller_kind_test\n\ntest_nothing if true\n"}),
	})
	require.NoError(t, err)
	require.Equal(t, first.Digest(), retested.Digest(), "tests decide nothing")
	carried, err := policies.CarriedDigest()
	require.NoError(t, err)
	require.Equal(t, first.Digest(), carried)
}

// Tests are read when they are run: what does not parse is refused then, as everywhere that a bundle is judged.
func TestTestsThatDoNotParse(t *testing.T) {
	e, err := policies.New(context.Background(), policies.Options{Bundle: bundleWith(t, map[string]string{"rules/caller_kind/caller_kind_test.rego": "package"})})
	require.NoError(t, err)
	_, err = e.RunTests(t.Context())
	require.ErrorIs(t, err, policies.ErrBundle)
	require.ErrorContains(t, err, "caller_kind_test.rego")
}

func TestCancelledContext(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, err := engine(t).Authorise(ctx, call("datakey"))
	require.ErrorIs(t, err, policies.ErrPolicy)
}

func TestLintNamesWhatIsWrong(t *testing.T) {
	for name, c := range map[string]struct{ file, text, want string }{
		"unformatted": {"lib/x.rego", "package conclave.lib.x\n\n\n\na:=1\n", "is not formatted"},
		"no metadata": {"rules/x/x.rego", "package conclave.rules.place.x\n\ndeny contains 1\n", "has no metadata"},
		"negation":    {"lib/x.rego", "package conclave.lib.x\n\na if not input.now == 1\n", "negates an expression"},
		"untested":    {"rules/x/x.rego", "package conclave.rules.place.x\n\na := 1\n", "has no test"},
	} {
		e, err := policies.New(context.Background(), policies.Options{Bundle: bundleWith(t, map[string]string{c.file: c.text})})
		require.NoError(t, err, name)
		var messages []string
		for _, f := range e.Lint() {
			messages = append(messages, f.String())
		}
		require.Contains(t, strings.Join(messages, "\n"), c.want, name)
	}
}

func TestRunTestsReportsFailures(t *testing.T) {
	e, err := policies.New(context.Background(), policies.Options{Bundle: bundleWith(t, map[string]string{
		"lib/x_test.rego": "package conclave.lib.x_test\n\ntest_wrong if false\n",
	})})
	require.NoError(t, err)
	report, err := e.RunTests(context.Background())
	require.NoError(t, err)
	require.False(t, report.OK())
}
