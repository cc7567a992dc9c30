package policies_test

import (
	"context"
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"

	"conclave/policies"
)

func TestExplain(t *testing.T) {
	e := engine(t)
	refused := call("datakey")
	refused.Keystore.Active = false
	for _, c := range []struct {
		point policies.Point
		input any
		want  []string
	}{
		{policies.PointAuthorise, refused, []string{"keystore_inactive", "Decision:", "authorisation.operations.datakey", "pci-dss-4.0.1:3.7.6"}},
		{policies.PointAuthorise, call("datakey"), []string{"Rules that spoke\n  none", "authorise.grant.grant_missing"}},
		{policies.PointPlace, place("ephi", "high", keystore("main", 1)), []string{"main: FIPS level 3 is needed", "classifications.ephi"}},
		{policies.PointQuorum, ask("key.destroy", "ephi"), []string{"quorum.wait", "operations.key.destroy"}},
		{policies.PointQuorum, ask("key.steal"), []string{"No decision, so it is refused", "undefined"}},
		{policies.PointLifecycle, policies.LifecycleInput{Now: now(), Mode: policies.Production, Type: "symmetric-data-encryption", Classification: "ephi", OUPDays: 800}, []string{"oup_too_long", "730"}},
	} {
		input, err := json.Marshal(c.input)
		require.NoError(t, err)
		x, err := e.Explain(context.Background(), c.point, input)
		require.NoError(t, err)
		for _, want := range c.want {
			require.Contains(t, x.String(), want)
		}
	}
}

func TestExplainRefusesBadInput(t *testing.T) {
	e := engine(t)
	for _, c := range []struct {
		point policies.Point
		input string
	}{
		{"nowhere", `{}`},
		{policies.PointQuorum, `{`},
		{policies.PointQuorum, `{"surprise": 1}`},
		{policies.PointQuorum, `{"operation": "a", "operation": "b"}`},
		{policies.PointAuthorise, `[]`},
		{policies.PointPlace, string(make([]byte, 2<<20))},
	} {
		_, err := e.Explain(context.Background(), c.point, []byte(c.input))
		require.ErrorIs(t, err, policies.ErrInput)
	}
}

// No input makes a decision point panic, and none gets an allow out of Explain without a decision.
func FuzzExplain(f *testing.F) {
	e := engine(f)
	for point, input := range map[policies.Point]any{
		policies.PointAuthorise: call("rewrap"), policies.PointPlace: place("ephi", "high", keystore("main", 1)),
		policies.PointQuorum: ask("key.destroy", "ephi"), policies.PointLifecycle: policies.LifecycleInput{Now: now(), Mode: policies.Production},
	} {
		seed, err := json.Marshal(input)
		require.NoError(f, err)
		f.Add(string(point), seed)
	}
	f.Fuzz(func(t *testing.T, point string, input []byte) {
		x, err := e.Explain(context.Background(), policies.Point(point), input)
		if err == nil && x.Problem != "" && string(x.Decision) != "null" {
			t.Fatalf("a decision %s despite %s", x.Decision, x.Problem)
		}
	})
}
