package policies_test

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"

	"conclave/policies"
)

func carried(t testing.TB) policies.Files {
	t.Helper()
	files, err := policies.FilesOf(policies.Bundle())
	require.NoError(t, err)
	return files
}

func job(files policies.Files) policies.Job {
	out := policies.Job{Files: map[string]string{}, Check: true, Operations: []string{"key.create", "key.rotate", "policy.activate", "keystore.activate"}}
	for name, text := range files {
		out.Files[name] = string(text)
	}
	return out
}

func TestArchiveKeepsABundle(t *testing.T) {
	files := carried(t)
	packed, err := files.Archive()
	require.NoError(t, err)
	require.Less(t, len(packed), policies.MaxArchive/2)
	again, err := policies.FilesFrom(packed)
	require.NoError(t, err)
	require.Equal(t, files, again)
	require.Equal(t, engine(t).Digest(), again.Digest())
	require.Equal(t, files.Digest(), files.Deciding().Digest())
	require.Less(t, len(files.Deciding()), len(files))
}

func TestInvariant11_HostileArchivesAreRefused(t *testing.T) {
	pack := func(write func(w *tar.Writer)) []byte {
		var out bytes.Buffer
		w := tar.NewWriter(&out)
		write(w)
		_ = w.Close()
		return out.Bytes()
	}
	file := func(name, text string) []byte {
		return pack(func(w *tar.Writer) {
			_ = w.WriteHeader(&tar.Header{Name: name, Size: int64(len(text)), Typeflag: tar.TypeReg, Mode: 0o600})
			_, _ = w.Write([]byte(text))
		})
	}
	for name, archive := range map[string][]byte{
		"nothing of the kind": []byte("a bundle"),
		"cut off":             {0x1f, 0x8b, 8},
		"a link": pack(func(w *tar.Writer) {
			_ = w.WriteHeader(&tar.Header{Name: "data/x.json", Linkname: "/etc/passwd", Typeflag: tar.TypeSymlink})
		}),
		"upwards":   file("rules/../../x.rego", "package x"),
		"absolute":  file("/rules/x.rego", "package x"),
		"elsewhere": file("keys/x.rego", "package x"),
		"capitals":  file("rules/X.rego", "package x"),
		"too large": file("data/x.json", `"`+strings.Repeat("x", policies.MaxFileBytes)+`"`),
		"twice": pack(func(w *tar.Writer) {
			for range 2 {
				_ = w.WriteHeader(&tar.Header{Name: "data/x.json", Size: 2, Typeflag: tar.TypeReg})
				_, _ = w.Write([]byte("{}"))
			}
		}),
		"too many": pack(func(w *tar.Writer) {
			for i := range policies.MaxFiles + 1 {
				_ = w.WriteHeader(&tar.Header{Name: fmt.Sprintf("data/x%d.json", i), Size: 2, Typeflag: tar.TypeReg})
				_, _ = w.Write([]byte("{}"))
			}
		}),
		"too much": pack(func(w *tar.Writer) {
			for i := range 6 {
				text := `"` + strings.Repeat("x", 200<<10) + `"`
				_ = w.WriteHeader(&tar.Header{Name: fmt.Sprintf("data/x%d.json", i), Size: int64(len(text)), Typeflag: tar.TypeReg})
				_, _ = w.Write([]byte(text))
			}
		}),
		"nested":    file("data/x.json", strings.Repeat("[", 65)+strings.Repeat("]", 65)),
		"invisible": file("rules/x.rego", "package x\n# \u202e nothing to see"),
		"control":   file("rules/x.rego", "package x\x00"),
		"not text":  file("rules/x.rego", "package \xff"),
	} {
		_, err := policies.FilesFrom(archive)
		require.ErrorIs(t, err, policies.ErrBundle, name)
	}
	bomb, err := policies.Files{"data/x.json": bytes.Repeat([]byte(" "), 64<<20)}.Archive()
	require.NoError(t, err)
	_, err = policies.FilesFrom(bomb)
	require.ErrorIs(t, err, policies.ErrBundle, "what is small packed")
}

func TestJobAcceptsTheCarriedBundle(t *testing.T) {
	in := job(carried(t))
	input, err := json.Marshal(call("datakey"))
	require.NoError(t, err)
	in.Questions = []policies.Question{{Point: policies.PointAuthorise, Input: input}, {Point: "nowhere", Input: input}}
	raw, err := json.Marshal(in)
	require.NoError(t, err)
	var out bytes.Buffer
	require.NoError(t, policies.ServeJob(context.Background(), bytes.NewReader(raw), &out))
	var v policies.Verdict
	require.NoError(t, json.Unmarshal(out.Bytes(), &v))
	require.Empty(t, v.Refused)
	require.NotZero(t, v.Check.Tests)
	require.Equal(t, 100, v.Check.Coverage)
	require.NotZero(t, v.Check.Probes)
	require.Empty(t, v.Check.Findings)
	require.Contains(t, string(v.Answers[0].Decision), `"allow":true`)
	require.NotEmpty(t, v.Answers[1].Problem)
}

// A proposal that is broken, slow, unending or below the floor is refused with the reason, in bounded time.
func TestInvariant11_JobRefusesHostileBundles(t *testing.T) {
	endless := "count({x | some i in numbers.range(1, 100000); some j in numbers.range(1, 100000); x := i * j}) > 0"
	for name, c := range map[string]struct {
		replace map[string]string
		want    string
	}{
		"does not parse": {map[string]string{"rules/x/x.rego": "package x\n\ndeny contains"}, "parsing"},
		"recursion":      {map[string]string{"lib/x.rego": "package conclave.lib.x\n\na if b\n\nb if a\n"}, "recursive"},
		"no metadata":    {map[string]string{"rules/x/x.rego": "package conclave.rules.place.x\n\ndeny contains 1 if input.key.id == \"\"\n"}, "metadata"},
		"endless":        {map[string]string{"lib/decide_authorise.rego": "package conclave.decide.authorise\n\ndecision := {\"allow\": " + endless + "}\n"}, "too slow"},
		"endless quorum": {map[string]string{"lib/decide_quorum.rego": "package conclave.decide.quorum\n\ndecision := {\"allow\": " + endless + "}\n"}, "too slow"},
		"no answer":      {map[string]string{"lib/decide_place.rego": "package conclave.decide.place\n\ndecision := null\n"}, "no answer"},
		"below the floor": {map[string]string{"data/operation_classes.json": strings.Replace(string(carried(t)["data/operation_classes.json"]),
			`"approvals": 2`, `"approvals": 1`, 1)}, "no answer"},
		"knows less": {map[string]string{"data/operations.json": "{}"}, "no answer"},
		"own test":   {map[string]string{"lib/x_test.rego": "package conclave.lib.x_test\n\ntest_wrong if false\n"}, "does not pass"},
	} {
		t.Run(name, func(t *testing.T) {
			files := carried(t)
			if c.replace["lib/x_test.rego"] == "" {
				files = files.Deciding()
			}
			for path, text := range c.replace {
				files[path] = []byte(text)
			}
			v, err := policies.RunJob(context.Background(), job(files))
			require.NoError(t, err)
			require.Contains(t, v.Refused, c.want)
			require.Nil(t, v.Answers)
		})
	}
}

func TestDiffAndSet(t *testing.T) {
	files := carried(t)
	changed, err := files.Set("classifications.ephi.max_oup_days", json.RawMessage("365"))
	require.NoError(t, err)
	require.Equal(t, []policies.Change{{File: "data/classifications.json", At: "ephi.max_oup_days", Before: "730", After: "365"}}, policies.Diff(files, changed))
	changed, err = files.Set("operations.policy.activate.0.approvals", json.RawMessage("4"))
	require.NoError(t, err)
	require.Len(t, policies.Diff(files, changed), 1)
	changed, err = files.Set("+operations.key.destroy.0.approvals", json.RawMessage("3"))
	require.NoError(t, err)
	diff := policies.Diff(files, changed)
	require.Len(t, diff, 1)
	require.Equal(t, "key.destroy", diff[0].At)
	require.Empty(t, policies.Diff(files, files.Deciding()), "tests decide nothing")

	changed = files.Deciding()
	delete(changed, "lib/reason.rego")
	changed["lib/call.rego"] = append([]byte("# a word\n"), changed["lib/call.rego"]...)
	diff = policies.Diff(files, changed)
	require.Equal(t, "lib/call.rego", diff[0].File)
	require.Equal(t, "# a word\n", diff[0].After)
	require.Empty(t, diff[0].Before)
	require.Empty(t, diff[1].After)
	for _, bad := range []string{"", "classifications", "nothing.x", "classifications.gold", "classifications.ephi.max_oup_dayz", "operations.key.create.9.class",
		"+classifications.ephi.max_oup_days", "classifications.ephi.max_oup_days.x"} {
		_, err := files.Set(bad, json.RawMessage("1"))
		require.ErrorIs(t, err, policies.ErrInput, bad)
	}
	_, err = files.Set("classifications.ephi.max_oup_days", json.RawMessage("{"))
	require.ErrorIs(t, err, policies.ErrInput)
}

// What restoring an earlier bundle takes is compiled in: no bundle is asked.
func TestInvariant12_RecoveryAsksNoBundle(t *testing.T) {
	broken := policies.Unusable("ab", fmt.Errorf("edited"))
	_, err := broken.Quorum(context.Background(), ask("key.rotate"))
	require.ErrorIs(t, err, policies.ErrPolicy)
	_, err = broken.RunTests(context.Background())
	require.ErrorIs(t, err, policies.ErrPolicy)
	require.Empty(t, broken.Rules())
	require.Zero(t, broken.CacheFor("internal"))
	silent, err := policies.New(context.Background(), policies.Options{Bundle: fstest.MapFS{}})
	require.ErrorIs(t, err, policies.ErrBundle)
	require.Nil(t, silent)

	for _, e := range []*policies.Engine{broken, engine(t)} {
		in := ask(policies.Recover)
		in.Requester, in.Target.Threshold, in.Target.Total = policies.Requester{Kind: "human", ID: "ada", Roles: []string{"custodian"}}, 3, 5
		d, err := e.Quorum(context.Background(), in)
		require.NoError(t, err)
		require.True(t, d.Allow && d.Shares)
		require.Equal(t, policies.Attended, d.Class)
		require.Equal(t, 3, d.Approvals)
		in.Requester.Roles = []string{"auditor"}
		d, err = e.Quorum(context.Background(), in)
		require.NoError(t, err)
		require.False(t, d.Allow)
		in.Target.Threshold = 1
		_, err = e.Quorum(context.Background(), in)
		require.ErrorIs(t, err, policies.ErrBelowFloor)
	}
}
