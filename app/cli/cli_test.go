package cli_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/stretchr/testify/require"

	"conclave/app/api"
	"conclave/app/cli"
	"conclave/ceremony"
	"conclave/ceremony/nodes"
	"conclave/ceremony/quorum"
	"conclave/custodian/people"
	"conclave/policies"
)

// result of one run.
type result struct {
	code     int
	out, err string
}

// run executes a command line away from the settings of whoever runs the tests.
func run(t *testing.T, args ...string) result {
	t.Helper()
	return runWith(t, "", args...)
}

func runWith(t *testing.T, stdin string, args ...string) result {
	t.Helper()
	for _, kv := range os.Environ() {
		if name, _, _ := strings.Cut(kv, "="); strings.HasPrefix(name, "CONCLAVE_") {
			t.Setenv(name, "")
		}
	}
	t.Setenv("XDG_CONFIG_HOME", t.TempDir())
	t.Setenv("XDG_STATE_HOME", t.TempDir())
	return runHere(t, stdin, args...)
}

// runHere keeps the environment that the test has set.
func runHere(t *testing.T, stdin string, args ...string) result {
	t.Helper()
	var out, errOut bytes.Buffer
	code := cli.Run(t.Context(), root(), args, strings.NewReader(stdin), &out, &errOut)
	return result{code, out.String(), errOut.String()}
}

// root has the commands of this package that need a part of the server's.
func root() *cobra.Command { return cli.Root(cli.NodeCommand(nodes.Files{})) }

func update() bool { return flag.Lookup("test.run") != nil && os.Getenv("UPDATE_GOLDEN") != "" }

// golden compares with a file in testdata; UPDATE_GOLDEN=1 writes it.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if update() {
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		require.NoError(t, os.WriteFile(path, []byte(got), 0o644))
		return
	}
	want, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, string(want), got)
}

// TestHelp holds the help of every command: names of commands and flags are a contract with scripts.
func TestHelp(t *testing.T) {
	help := func(c *cobra.Command) string {
		r := run(t, append(strings.Fields(c.CommandPath())[1:], "--help")...)
		require.Zero(t, r.code, c.CommandPath())
		require.NotEmpty(t, c.Short, c.CommandPath())
		text, _, _ := strings.Cut(r.out, "\nGlobal Flags:")
		return "# " + c.CommandPath() + "\n" + text + "\n"
	}
	var whole func(c *cobra.Command) string
	whole = func(c *cobra.Command) string {
		text := help(c)
		for _, child := range c.Commands() {
			text += whole(child)
		}
		return text
	}
	root := root()
	golden(t, "help/conclave.txt", help(root))
	for _, c := range root.Commands() {
		if c.Name() != "help" && c.Name() != "completion" {
			golden(t, "help/"+c.Name()+".txt", whole(c))
		}
	}
}

func TestErrorsOfTheCommandLine(t *testing.T) {
	var all strings.Builder
	for _, args := range [][]string{
		{"frobnicate"},
		{"key"},
		{"key", "creat"},
		{"key", "show"},
		{"key", "show", "a", "b"},
		{"key", "create", "orders"},
		{"key", "list", "--output", "xml"},
		{"key", "list"},
		{"key", "suspend", "orders", "--reason", "x"},
		{"status", "--no-such-flag"},
		{"status", "--url", "http://127.0.0.1:1"},
		{"token", "issue", "--days", "3", "--reason", "x"},
		{"token", "issue", "--days", "3", "--reason", "x", "--application", "a", "--auditor", "b"},
		{"key", "create", "k", "--label", "l", "--classification", "c", "--impact", "i", "--jurisdiction", "j", "--environment", "e", "--owner", "o", "--keystore", "s", "--reason", "r", "--activation-at", "tomorrow"},
		{"application", "enrol", "a", "--name", "n", "--owner", "o", "--environment", "e", "--token-days", "3", "--reason", "r", "--grant", "orders"},
		{"decrypt", "no-suffix", "--token", "cvt_a.b"},
		{"encrypt", "no-such-file", "--key", "orders", "--token", "cvt_a.b"},
		{"report", "--framework", "pci-dss-4.0.1", "--from", "2026-13-01", "--to", "2026-12-01", "-o", "x"},
		{"policy", "explain", "place", "--input", "-"},
		{"verify", "no-such-bundle"},
	} {
		r := run(t, args...)
		require.NotZero(t, r.code, args)
		require.NotEmpty(t, r.err, args)
		all.WriteString("$ conclave " + strings.Join(args, " ") + "\n" + r.err + "exit " + string(rune('0'+r.code)) + "\n\n")
	}
	golden(t, "errors.txt", all.String())
}

func TestVersion(t *testing.T) {
	r := run(t, "version", "--output", "json")
	require.Zero(t, r.code)
	var v map[string]string
	require.NoError(t, json.Unmarshal([]byte(r.out), &v))
	require.NotEmpty(t, v["version"])
	r = run(t, "version", "--output", "yaml")
	require.Contains(t, r.out, "version: ")
}

func TestClientConfiguration(t *testing.T) {
	file := filepath.Join(t.TempDir(), "client.yaml")
	write := func(text string) { require.NoError(t, os.WriteFile(file, []byte(text), 0o600)) }

	write("output: json\n")
	require.True(t, strings.HasPrefix(run(t, "version", "--client-config", file).out, "{"), "the file is read")
	require.False(t, strings.HasPrefix(run(t, "version", "--client-config", file, "--output", "table").out, "{"), "a flag wins")

	t.Setenv("CONCLAVE_OUTPUT", "yaml")
	t.Setenv("CONCLAVE_CLIENT_CONFIG", file)
	require.True(t, strings.HasPrefix(runHere(t, "", "version").out, "version:"), "the environment wins over the file")
	t.Setenv("CONCLAVE_OUTPUT", "")
	t.Setenv("CONCLAVE_CLIENT_CONFIG", "")

	for text, want := range map[string]string{
		"urll: https://x\n":         "urll: unknown key; allowed: url, ca, client_cert",
		"output: json\noutput: x\n": "already defined",
		"token-file: x\n":           "token-file: unknown key",
		"url: [a]\n":                "url: not text",
		"- a\n":                     "cannot unmarshal",
	} {
		write(text)
		r := run(t, "version", "--client-config", file)
		require.NotZero(t, r.code, text)
		require.Contains(t, r.err, want, text)
	}
	write("")
	require.Zero(t, run(t, "version", "--client-config", file).code, "an empty file is fine")
	require.NotZero(t, run(t, "version", "--client-config", file+".none").code, "a named file must be there")
}

func TestCustodianKeyFile(t *testing.T) {
	dir := t.TempDir()
	file, phrase := filepath.Join(dir, "alice.key"), filepath.Join(dir, "phrase")
	require.NoError(t, os.WriteFile(phrase, []byte("correct horse battery\n"), 0o600))
	r := run(t, "custodian", "keygen", "--id", "alice", "--out", file, "--passphrase-file", phrase)
	require.Zero(t, r.code, r.err)
	require.Contains(t, r.err, "Making a key file for alice")
	require.Contains(t, r.out, "Read aloud")
	again := run(t, "custodian", "show", file, "--passphrase-file", phrase)
	require.Zero(t, again.code, again.err)
	require.Equal(t, r.out, again.out)

	require.NotZero(t, run(t, "custodian", "keygen", "--id", "alice", "--out", file, "--passphrase-file", phrase).code, "never overwritten")
	require.NoError(t, os.WriteFile(phrase, []byte("wrong horse battery"), 0o600))
	r = run(t, "custodian", "show", file, "--passphrase-file", phrase)
	require.Contains(t, r.err, "wrong passphrase")
	require.NotContains(t, r.err, "horse")
	r = run(t, "custodian", "show", file)
	require.Equal(t, cli.ExitUsage, r.code)
	require.Contains(t, r.err, "no terminal to ask on")
}

// TestWireCeremony holds api.Ceremony to package ceremony's own JSON: a member of the former that the
// latter lacks would always be empty.
func TestWireCeremony(t *testing.T) {
	members(t, reflect.TypeFor[api.Ceremony](), reflect.TypeFor[ceremony.Ceremony](), "standing", "review", "waits_for")
	members(t, reflect.TypeFor[api.Standing](), reflect.TypeFor[ceremony.Standing]())
	members(t, reflect.TypeFor[api.Vote](), reflect.TypeFor[ceremony.Vote]())
	members(t, reflect.TypeFor[api.Requester](), reflect.TypeFor[ceremony.Requester]())
	members(t, reflect.TypeFor[api.Contribution](), reflect.TypeFor[ceremony.Contribution]())
	members(t, reflect.TypeFor[api.Takes](), reflect.TypeFor[policies.QuorumDecision]())
	members(t, reflect.TypeFor[api.RoleCount](), reflect.TypeFor[policies.RoleCount]())
	members(t, reflect.TypeFor[api.Call](), reflect.TypeFor[ceremony.Call]())
	members(t, reflect.TypeFor[api.Invitation](), reflect.TypeFor[ceremony.Invitation]())
}

// TestWireQuorum does the same for quorum health.
func TestWireQuorum(t *testing.T) {
	members(t, reflect.TypeFor[api.QuorumHealth](), reflect.TypeFor[quorum.Health]())
	members(t, reflect.TypeFor[api.ShareSetHealth](), reflect.TypeFor[people.Health](), "opens", "sizing")
	members(t, reflect.TypeFor[api.Sizing](), reflect.TypeFor[quorum.Sizing]())
	members(t, reflect.TypeFor[api.SizingRule](), reflect.TypeFor[quorum.Rule]())
	members(t, reflect.TypeFor[api.Outlook](), reflect.TypeFor[quorum.Outlook]())
	members(t, reflect.TypeFor[api.Losses](), reflect.TypeFor[quorum.Losses]())
	members(t, reflect.TypeFor[api.Asking](), reflect.TypeFor[quorum.Asking]())
	members(t, reflect.TypeFor[api.Overdue](), reflect.TypeFor[quorum.Overdue]())
	members(t, reflect.TypeFor[api.Supposition](), reflect.TypeFor[quorum.Supposition]())
	members(t, reflect.TypeFor[api.Newcomer](), reflect.TypeFor[quorum.Newcomer]())
	members(t, reflect.TypeFor[api.NewSet](), reflect.TypeFor[quorum.NewSet]())
	members(t, reflect.TypeFor[api.Simulation](), reflect.TypeFor[quorum.Simulation]())
	members(t, reflect.TypeFor[api.SetChange](), reflect.TypeFor[quorum.SetChange]())
	members(t, reflect.TypeFor[api.SetStand](), reflect.TypeFor[quorum.SetStand]())
	members(t, reflect.TypeFor[api.QuorumChange](), reflect.TypeFor[quorum.Change]())
	members(t, reflect.TypeFor[api.Stand](), reflect.TypeFor[quorum.Stand]())
}

// members checks that own has what wire has; beside names what the edge adds.
func members(t *testing.T, wire, own reflect.Type, beside ...string) {
	t.Helper()
	have := map[string]bool{}
	for _, name := range beside {
		have[name] = true
	}
	for i := range own.NumField() {
		name, _, _ := strings.Cut(own.Field(i).Tag.Get("json"), ",")
		have[name] = true
	}
	for i := range wire.NumField() {
		name, _, _ := strings.Cut(wire.Field(i).Tag.Get("json"), ",")
		require.True(t, have[name], "%s.%s is not in %s", wire, name, own)
	}
}

func TestPolicyTestsRunOffline(t *testing.T) {
	r := run(t, "policy", "test", "--output", "json")
	require.Zero(t, r.code, r.err)
	var report policies.TestReport
	require.NoError(t, json.Unmarshal([]byte(r.out), &report))
	require.NotEmpty(t, report.Tests)
}

func TestCompletion(t *testing.T) {
	r := run(t, "__complete", "key", "list", "--output", "")
	require.Zero(t, r.code)
	require.Contains(t, r.out, "yaml")
	require.Zero(t, run(t, "completion", "bash").code)
}
