package main_test

import (
	"archive/zip"
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"html"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"conclave/app/api"
	"conclave/app/client/filecrypt"
)

// terminal is where people, an application and an auditor type commands against one server.
type terminal struct {
	t   *testing.T
	n   *node
	dir string
	who []string // flags of whoever types
}

// typed is what one command did.
type typed struct {
	out, err string
	code     int
}

func (x *terminal) path(name string) string { return filepath.Join(x.dir, name) }

// run types a command.
func (x *terminal) run(stdin string, args ...string) typed {
	x.t.Helper()
	args = append(args, "--url", x.n.url, "--ca", x.n.ca(), "--trust", filepath.Join(x.n.dir, "trust.json"), "--state-dir", x.path("state"))
	out, errOut, code, err := shared.conclave(stdin, append(args, x.who...)...)
	require.NoError(x.t, err)
	return typed{out, errOut, code}
}

// done types a command that must succeed, and returns its standard output.
func (x *terminal) done(args ...string) string {
	x.t.Helper()
	r := x.run("", args...)
	require.Zero(x.t, r.code, "conclave %s\n%s", strings.Join(args, " "), r.err)
	return r.out
}

// fails types a command that must fail with a code and say why.
func (x *terminal) fails(code int, why string, args ...string) typed {
	x.t.Helper()
	r := x.run("", args...)
	require.Equal(x.t, code, r.code, "conclave %s\n%s%s", strings.Join(args, " "), r.out, r.err)
	require.Contains(x.t, r.err, why, "conclave %s", strings.Join(args, " "))
	return r
}

// as is the terminal of a person.
func (x *terminal) as(id string) *terminal {
	p := shared.person(id)
	other := *x
	other.who = []string{"--key-file", p.keyFile, "--passphrase-file", p.passFile}
	return &other
}

// with is the terminal of whoever has a token.
func (x *terminal) with(token string) *terminal {
	x.t.Helper()
	f, err := os.CreateTemp(x.dir, "token-*")
	require.NoError(x.t, err)
	_, err = f.WriteString(token + "\n")
	require.NoError(x.t, err)
	require.NoError(x.t, f.Close())
	other := *x
	other.who = []string{"--token-file", f.Name()}
	return &other
}

// asked is what proposing answers as JSON.
type asked struct {
	Ceremony api.Ceremony
	Once     string
}

func (x *terminal) propose(args ...string) asked {
	x.t.Helper()
	var a asked
	require.NoError(x.t, json.Unmarshal([]byte(x.done(append(args, "--output", "json")...)), &a))
	return a
}

// govern types a proposal as cleo, which ada and ben approve. They type nothing: what the command to approve does, key
// and decided show.
func (x *terminal) govern(args ...string) api.Ceremony {
	x.t.Helper()
	c := x.as("cleo").propose(args...).Ceremony
	for _, id := range []string{"ada", "ben"} {
		a, err := x.n.as(id)
		require.NoError(x.t, err)
		c, err = a.approve(x.t.Context(), c.ID)
		require.NoError(x.t, err)
	}
	require.Equal(x.t, "completed", c.State, c.Outcome)
	return c
}

// TestCommandLineFromGenesisToEvidence walks through the product as its README does.
func TestCommandLineFromGenesisToEvidence(t *testing.T) {
	t.Parallel()
	x := &terminal{t: t, n: serve(t, copied(t, shared.fresh)), dir: t.TempDir()}
	x.duties()
	x.activation()
	x.key()
	app, auditor := x.tokens()
	x.file(x.with(app))
	x.decision(x.with(app), x.with(auditor))
	x.policy()
	x.evidence(x.with(auditor))
}

func (x *terminal) duties() {
	require.Contains(x.t, x.as("ada").done("custodian", "show", shared.person("ada").keyFile), "Read aloud")
	x.as("ada").fails(2, "add --yes", "ack")
	for _, id := range []string{"ada", "eve"} {
		x.as(id).done("ack", "--yes")
		x.as(id).done("share", "confirm")
	}
	for _, id := range []string{"ben", "cleo", "dan"} { // as these two did
		a, err := x.n.as(id)
		require.NoError(x.t, err)
		require.NoError(x.t, errors.Join(a.acknowledge(x.t.Context()), a.confirm(x.t.Context(), 1)))
	}
	x.as("ada").fails(1, "no share to confirm", "share", "confirm")
	x.as("ada").done("share", "drill")
	require.Contains(x.t, x.as("ada").done("share", "list", "--all"), "confirmed")
	require.Contains(x.t, x.as("ada").done("person", "list"), "audrey")
}

func (x *terminal) activation() {
	require.Contains(x.t, x.as("ada").done("keystore", "list"), vault)
	x.as("audrey").fails(1, "no share", "keystore", "activate", vault, "--yes")
	x.as("ada").fails(2, "add --yes", "keystore", "activate", vault)
	for _, id := range []string{"ada", "ben", "eve"} {
		x.as(id).done("keystore", "activate", vault, "--yes")
	}
	x.as("dan").fails(1, "is active already", "keystore", "activate", vault, "--yes")
	require.Contains(x.t, x.as("ada").done("status"), "ready")
}

func (x *terminal) key() {
	create := []string{"key", "create", cards, "--label", "Card numbers", "--type", "symmetric-data-encryption", "--classification", "cardholder-data",
		"--impact", "moderate", "--framework", "pci-dss", "--environment", "production", "--owner", "cleo", "--keystore", vault, "--reason", "the shop goes live"}
	r := x.as("cleo").fails(1, "jurisdiction", append(create, "--jurisdiction", "US")...)
	require.Contains(x.t, r.err, "recorded as decision")
	create = append(create, "--jurisdiction", "EU")
	lonely := x.as("cleo").propose(create...).Ceremony
	x.as("cleo").fails(1, "requester", "ceremony", "approve", lonely.ID, "--yes")
	x.as("ada").fails(2, "add --yes", "ceremony", "approve", lonely.ID)
	require.Contains(x.t, x.as("ada").done("ceremony", "list"), lonely.ID)
	x.as("cleo").done("ceremony", "cancel", lonely.ID, "--reason", "asked for again")
	c := x.as("cleo").propose(create...).Ceremony
	for _, id := range []string{"ada", "ben"} {
		require.NoError(x.t, json.Unmarshal([]byte(x.as(id).done("ceremony", "approve", c.ID, "--yes", "--output", "json")), &c))
	}
	require.Equal(x.t, "completed", c.State, c.Outcome)
	require.Contains(x.t, x.as("ada").done("ceremony", "show", c.ID), "ben approve")
	require.Contains(x.t, x.as("ada").done("ceremony", "transcript", c.ID), c.ID)
	x.as("ada").fails(1, "conclave", "ceremony", "approve", c.ID, "--yes")
	require.Contains(x.t, x.as("cleo").done("key", "list"), cards)
	require.Contains(x.t, x.as("cleo").done("key", "versions", cards), "active")
}

func (x *terminal) tokens() (app, auditor string) {
	x.govern("application", "enrol", shop, "--name", "Shop", "--owner", "cleo", "--environment", "production", "--token-days", "90",
		"--grant", cards+"=datakey+encrypt+decrypt+rewrap", "--grant-days", "365", "--reason", "the shop goes live")
	app = x.as("cleo").propose("token", "issue", "--application", shop, "--days", "30", "--reason", "first").Once
	auditor = x.as("ada").propose("token", "issue", "--auditor", "audrey", "--days", "30", "--reason", "the audit").Once
	require.NotEmpty(x.t, app)
	require.NotEmpty(x.t, auditor)
	return app, auditor
}

func (x *terminal) file(app *terminal) {
	content := bytes.Repeat([]byte("4000000000000002;"), 50_000)
	plain, locked, opened := x.path("orders.csv"), x.path("orders.csv"+filecrypt.Suffix), x.path("opened.csv")
	require.NoError(x.t, os.WriteFile(plain, content, 0o600))
	app.done("encrypt", plain, "--key", cards, "--context", "file=orders")
	app.fails(1, "exists", "encrypt", plain, "--key", cards)
	x.govern("key", "rotate", cards, "--reason", "early")
	app.done("decrypt", locked, "--out", opened)
	got, err := os.ReadFile(opened)
	require.NoError(x.t, err)
	require.True(x.t, bytes.Equal(content, got))
	app.done("rewrap", locked, "--key", cards)
	require.Equal(x.t, string(content), app.done("decrypt", locked, "--out", "-"))

	spoilt, err := os.ReadFile(locked)
	require.NoError(x.t, err)
	spoilt[len(spoilt)/2] ^= 1
	require.NoError(x.t, os.WriteFile(x.path("spoilt"+filecrypt.Suffix), spoilt, 0o600))
	require.NotZero(x.t, app.run("", "decrypt", x.path("spoilt"+filecrypt.Suffix)).code)
	require.NoFileExists(x.t, x.path("spoilt"))
	require.Contains(x.t, app.done("datakey", cards, "--plaintext"), "plaintext")
}

func (x *terminal) decision(app, auditor *terminal) {
	r := app.fails(1, "conclave why", "datakey", "nobodys-key")
	id := regexp.MustCompile(`decision (d[0-9a-z]+-[0-9a-f]{8})`).FindStringSubmatch(r.err)
	require.Len(x.t, id, 2, r.err)
	for _, reader := range []*terminal{auditor, x.as("ada")} {
		said := reader.done("why", id[1])
		require.Contains(x.t, said, "proven to be in the ledger")
		require.Contains(x.t, said, "nobodys-key")
	}
	app.fails(1, "conclave", "why", "d0-00000000")
	x.as("ben").done("key", "suspend", cards, "--reason", "a drill")
	app.fails(1, "suspended", "datakey", cards)
	x.govern("key", "resume", cards, "--finding", "drill over")
	app.done("datakey", cards)
}

func (x *terminal) policy() {
	placed := x.as("cleo").done("policy", "place", "--classification", "cardholder-data", "--impact", "moderate", "--framework", "pci-dss",
		"--jurisdiction", "EU", "--environment", "production")
	require.Contains(x.t, placed, "may live in "+vault)
	input := x.path("input.json")
	require.NoError(x.t, os.WriteFile(input, []byte(`{"now":"2026-01-01T00:00:00Z","mode":"production","type":"symmetric-data-encryption","classification":"cardholder-data"}`), 0o600))
	require.Contains(x.t, x.as("ada").done("policy", "explain", "lifecycle", "--input", input), `"allow":true`)
	x.as("ada").fails(1, "point", "policy", "explain", "fortune", "--input", input)
	require.Contains(x.t, x.as("ada").done("policy", "show"), "digest")
	require.Contains(x.t, x.done("policy", "test"), " 0 failed, coverage 100.0 %")
}

func (x *terminal) evidence(auditor *terminal) {
	require.Contains(x.t, auditor.done("ledger", "verify"), "verified against the trust file")
	auditor.done("ledger", "export", x.path("copy"))
	require.Contains(x.t, x.done("ledger", "verify", "--dir", x.path("copy")), "verified against the trust file")
	alter(x.t, x.path("copy"), "tile/entries")
	require.NotZero(x.t, x.run("", "ledger", "verify", "--dir", x.path("copy")).code)

	today := time.Now().UTC().Format(time.DateOnly)
	bundle := x.path("evidence.zip")
	for _, format := range []string{"json", "html", "bundle"} {
		out := bundle
		if format != "bundle" {
			out = x.path("report." + format)
		}
		auditor.done("report", "--framework", "pci-dss-4.0.1", "--from", today, "--format", format, "-o", out)
	}
	auditor.fails(2, "exists", "report", "--framework", "pci-dss-4.0.1", "--from", today, "--format", "bundle", "-o", bundle)
	require.Contains(x.t, x.done("verify", bundle), "checked:")
	alterZipped(x.t, bundle)
	require.NotZero(x.t, x.run("", "verify", bundle).code)
	auditor.done("report", "--register", "access", "--from", today, "--format", "html", "-o", x.path("access.html"))
	for _, page := range []string{"report.html", "access.html"} {
		x.as("ada").printed(x.path(page))
	}
	x.workspace(auditor)
}

// printed runs the first command that a page says puts something on record, just as it stands there.
func (x *terminal) printed(page string) {
	x.t.Helper()
	text, err := os.ReadFile(page)
	require.NoError(x.t, err)
	found := regexp.MustCompile(`<(?:code|pre)>conclave (audit attest [^<]*)</`).FindSubmatch(text)
	require.Len(x.t, found, 2, page)
	words, err := exec.Command("sh", "-c", "printf '%s\\n' "+html.UnescapeString(string(found[1]))).Output()
	require.NoError(x.t, err)
	x.done(strings.Split(strings.TrimSpace(string(words)), "\n")...)
}

// workspace counts, draws, follows one key through its life and opens what a number cites.
func (x *terminal) workspace(auditor *terminal) {
	require.Contains(x.t, auditor.done("audit", "population"), "key_version")
	ids := strings.Fields(auditor.done("audit", "members", "person"))
	sample := auditor.done("audit", "sample", "person", "--seed", "4711", "-n", "3")
	require.Contains(x.t, sample, fmt.Sprintf("3 of %d (existing), seed 4711", len(ids)))
	sum := sha256.Sum256([]byte(strings.Join(ids, "\n") + "\n"))
	require.Contains(x.t, sample, hex.EncodeToString(sum[:]))
	keys := strings.Fields(auditor.done("audit", "members", "key"))
	dossier := auditor.done("audit", "dossier", "key", keys[0])
	require.Contains(x.t, dossier, "proven to be in the ledger of the trust file")
	require.Contains(x.t, dossier, "key.create")
	number := regexp.MustCompile(`EV-[0-9a-f]{8}-\d+-entry-\d+`).FindString(dossier)
	opened := auditor.done("audit", "open", number)
	require.Contains(x.t, opened, "1 of 1 entries proven")
	require.Contains(x.t, opened, number)
	auditor.done("audit", "dossier", "key", keys[0], "--format", "html", "-o", x.path("dossier.html"))
	page, err := os.ReadFile(x.path("dossier.html"))
	require.NoError(x.t, err)
	require.Contains(x.t, string(page), number[:11])
	x.as("eve").fails(1, "role_missing", "audit", "population")
}

// alter changes one bit in the middle of the largest file below a folder whose path contains name.
func alter(t *testing.T, dir, name string) {
	t.Helper()
	var target string
	var size int64
	require.NoError(t, filepath.WalkDir(dir, func(path string, entry os.DirEntry, err error) error {
		if err != nil || entry.IsDir() || !strings.Contains(path, name) {
			return err
		}
		info, err := entry.Info()
		if err == nil && info.Size() > size {
			target, size = path, info.Size()
		}
		return err
	}))
	require.NotEmpty(t, target)
	flip(t, target, size/2)
}

func flip(t *testing.T, path string, at int64) {
	t.Helper()
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	data[at] ^= 1
	require.NoError(t, os.WriteFile(path, data, 0o600))
}

// alterZipped changes one bit of the largest file in an archive: of its content, not of the archive's own frame,
// which says nothing.
func alterZipped(t *testing.T, path string) {
	t.Helper()
	z, err := zip.OpenReader(path)
	require.NoError(t, err)
	defer z.Close()
	largest := slices.MaxFunc(z.File, func(a, b *zip.File) int { return cmp.Compare(a.CompressedSize64, b.CompressedSize64) })
	start, err := largest.DataOffset()
	require.NoError(t, err)
	flip(t, path, start+int64(largest.CompressedSize64)/2)
}

func TestWrongUsageExitsWithAReason(t *testing.T) {
	t.Parallel()
	key := shared.person("ada").keyFile
	for _, c := range []struct {
		args []string
		code int
		says string
	}{
		{[]string{"frobnicate"}, 2, "frobnicate"},
		{[]string{"key"}, 2, "give one of the commands"},
		{[]string{"key", "frobnicate"}, 2, "frobnicate"},
		{[]string{"key", "create"}, 2, "arguments"},
		{[]string{"key", "create", "x"}, 2, "required flag"},
		{[]string{"ceremony", "approve"}, 2, "CEREMONY"},
		{[]string{"ceremony", "approve", "c-1"}, 2, "key-file"},
		{[]string{"ceremony", "approve", "c-1", "--key-file", key}, 2, "trust"},
		{[]string{"encrypt", "file"}, 2, "required flag"},
		{[]string{"encrypt", "file", "--key", "k"}, 2, "token"},
		{[]string{"decrypt", "file"}, 2, "out"},
		{[]string{"status", "--output", "xml"}, 2, "xml"},
		{[]string{"status", "--frobnicate"}, 2, "frobnicate"},
		{[]string{"report", "--framework", "pci-dss-4.0.1"}, 2, "required flag"},
		{[]string{"report", "--framework", "pci-dss-4.0.1", "--from", "yesterday", "-o", "x"}, 2, "from"},
		{[]string{"verify"}, 2, "BUNDLE"},
		{[]string{"verify", "no-such-file"}, 1, "no-such-file"},
		{[]string{"genesis", "sign", "no-such-file", "--key-file", key}, 1, "no-such-file"},
		{[]string{"custodian", "keygen", "--id", "x"}, 2, "required flag"},
		{[]string{"custodian", "keygen", "--id", "ada", "--out", key, "--passphrase-file", shared.person("ada").passFile}, 1, "ada.key"},
		{[]string{"init"}, 2, "required flag"},
		{[]string{"init", "--genesis", filepath.Join(shared.root, "genesis", "genesis.yaml"), "--signatures", filepath.Join(shared.root, "genesis"),
			"--data-dir", shared.fresh}, 78, "not empty"},
		{[]string{"status", "--url", "https://127.0.0.1:1"}, 1, "refused"},
	} {
		stdout, stderr, code, err := shared.conclave("", c.args...)
		require.NoError(t, err)
		require.Equal(t, c.code, code, "conclave %v\n%s", c.args, stderr)
		require.Contains(t, stderr, c.says, "conclave %v", c.args)
		if c.args[0] != "key" {
			require.Empty(t, stdout, "conclave %v", c.args)
		}
	}
}
