package boot_test

import (
	"context"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"conclave/app/boot"
	"conclave/custodian/custodiantest"
	"conclave/policies"
)

// A proposed bundle that takes all memory, never ends, or makes the evaluator fail ends the process that judges it,
// and no other.
func TestInvariant11_HostileBundlesEndTheirOwnProcess(t *testing.T) {
	program, err := os.Executable()
	require.NoError(t, err)
	judge := boot.Sandbox(program)
	job := func(replace map[string]string) policies.Job {
		out := policies.Job{Files: map[string]string{}, Check: true, Operations: []string{"key.create"}}
		for name, text := range custodiantest.Bundle(t, replace) {
			out.Files[name] = string(text)
		}
		return out
	}
	v, err := judge(t.Context(), job(nil))
	require.NoError(t, err)
	require.Empty(t, v.Refused)
	require.NotZero(t, v.Check.Probes)

	// In one builtin, so that no timeout of an evaluation comes between.
	memory := "package conclave.decide.place\n\ndecision := {\"x\": sprintf(\"%2000000000d\", [1])}\n"
	v, err = judge(t.Context(), job(map[string]string{"lib/decide_place.rego": memory}))
	var exceeded *policies.Exceeded
	if err != nil {
		require.ErrorAs(t, err, &exceeded)
		require.Contains(t, exceeded.Error(), "memory")
	} else {
		require.NotEmpty(t, v.Refused, "or it is refused as an answer")
	}

	deep := job(nil)
	deep.Files["lib/x.rego"] = "package conclave.lib.x\n\na := " + strings.Repeat("-", 200_000) + "1\n"
	v, err = judge(t.Context(), deep)
	if err != nil {
		require.ErrorAs(t, err, &exceeded)
	} else {
		require.NotEmpty(t, v.Refused)
	}

	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	_, err = judge(ctx, job(nil))
	require.ErrorAs(t, err, &exceeded)
	v, err = judge(t.Context(), job(nil))
	require.NoError(t, err)
	require.Empty(t, v.Refused, "the next one is judged as if nothing had been")
}
