// The tests of this package run the real binary: they make an instance with its command line, drive it over
// its API, kill it, edit what it left behind, and start it again.
package main_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"conclave/ceremony/genesis"
	"conclave/ceremony/keyfile"
	"conclave/custodian"
	"conclave/custodian/jwk"
	"conclave/custodian/people"
	"conclave/hsm/secret"
	"conclave/policies"
)

// workshop is what all tests share: the binary and two instances that they copy.
type workshop struct {
	root   string
	binary string
	people []*person
	fresh  string // made by `conclave init`, never started
	// working is the instance at work: duties accepted, shares confirmed, a key, an application, an auditor.
	working       func() error
	appToken      string
	auditorToken  string
	workingFolder string
}

// shared is set once, by TestMain.
var shared *workshop

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	root, err := os.MkdirTemp("", "conclave-e2e-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(root)
	shared, err = newWorkshop(root)
	if err != nil {
		fmt.Fprintln(os.Stderr, "preparing the end-to-end tests:", err)
		return 1
	}
	return m.Run()
}

// newWorkshop builds the binary, without the race detector, in the environment's cryptographic mode, and makes
// people and an instance with it.
func newWorkshop(root string) (*workshop, error) {
	w := &workshop{root: root, binary: filepath.Join(root, "conclave"), fresh: filepath.Join(root, "fresh"), workingFolder: filepath.Join(root, "working")}
	w.working = sync.OnceValue(w.makeWorking)
	if out, err := exec.Command("go", "build", "-o", w.binary, ".").CombinedOutput(); err != nil {
		return nil, fmt.Errorf("building: %w\n%s", err, out)
	}
	if err := os.MkdirAll(filepath.Join(root, "people"), 0o700); err != nil {
		return nil, err
	}
	w.people = cast(filepath.Join(root, "people"))
	for _, p := range w.people {
		if err := w.makePerson(p); err != nil {
			return nil, fmt.Errorf("%s: %w", p.id, err)
		}
	}
	return w, w.makeInstance()
}

// person is somebody with a key file of their own.
type person struct {
	id, team, site    string
	roles             []people.Role
	keyFile, passFile string
	signer            *keyfile.Signer
}

func cast(dir string) []*person {
	custodian := people.RoleCustodian
	all := []*person{
		{id: "ada", roles: []people.Role{custodian, people.RoleSecurityOfficer, people.RoleKeyOwner}, team: "security", site: "north"},
		{id: "ben", roles: []people.Role{custodian, people.RoleSecurityOfficer}, team: "payments", site: "south"},
		{id: "cleo", roles: []people.Role{custodian, people.RoleKeyManager, people.RoleKeyOwner}, team: "platform", site: "north"},
		{id: "dan", roles: []people.Role{custodian, people.RoleKeyManager}, team: "security", site: "west"},
		{id: "eve", roles: []people.Role{custodian}, team: "payments", site: "west"},
		{id: "audrey", roles: []people.Role{people.RoleAuditor, people.RoleWitness}, team: "audit", site: "south"},
		{id: "wendy", roles: []people.Role{people.RoleWitness}, team: "legal", site: "north"},
	}
	for _, p := range all {
		p.keyFile, p.passFile = filepath.Join(dir, p.id+".key"), filepath.Join(dir, p.id+".pass")
	}
	return all
}

// holders of the vault's shares; three of five open it.
const (
	holders   = 5
	threshold = 3
	vault     = "vault"
)

func (w *workshop) person(id string) *person {
	for _, p := range w.people {
		if p.id == id {
			return p
		}
	}
	panic("nobody is called " + id)
}

// conclave runs the binary to its end.
func (w *workshop) conclave(stdin string, args ...string) (stdout, stderr string, code int, err error) {
	cmd := exec.Command(w.binary, args...)
	cmd.Env = cleanEnviron()
	cmd.Stdin = strings.NewReader(stdin)
	var out, errOut strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &errOut
	err = cmd.Run()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return out.String(), errOut.String(), exit.ExitCode(), nil
	}
	return out.String(), errOut.String(), 0, err
}

// must runs the binary and expects success.
func (w *workshop) must(args ...string) error {
	_, stderr, code, err := w.conclave("", args...)
	if err == nil && code != 0 {
		err = fmt.Errorf("conclave %s: exit code %d: %s", strings.Join(args, " "), code, stderr)
	}
	return err
}

// cleanEnviron is the environment without settings of whoever runs the tests.
func cleanEnviron() []string {
	var out []string
	for _, pair := range os.Environ() {
		if !strings.HasPrefix(pair, "CONCLAVE_") {
			out = append(out, pair)
		}
	}
	return out
}

func (w *workshop) makePerson(p *person) error {
	passphrase := "test passphrase of " + p.id
	if err := os.WriteFile(p.passFile, []byte(passphrase+"\n"), 0o600); err != nil {
		return err
	}
	phrase := secret.New([]byte(passphrase))
	defer phrase.Wipe()
	if p.id == w.people[0].id { // one file by the command, which does as follows
		if err := w.must("custodian", "keygen", "--id", p.id, "--out", p.keyFile, "--passphrase-file", p.passFile, "--development"); err != nil {
			return err
		}
		var err error
		p.signer, err = keyfile.Open(p.keyFile, phrase)
		return err
	}
	var err error
	if p.signer, err = keyfile.Generate(p.id, jwk.ES256); err != nil {
		return err
	}
	return p.signer.Save(p.keyFile, phrase, keyfile.SaveOptions{Development: true})
}

// makeInstance writes the genesis file, has everybody sign it, and makes the instance.
func (w *workshop) makeInstance() error {
	policy, err := policies.CarriedDigest()
	if err != nil {
		return err
	}
	f := &genesis.File{Version: 1, Name: "end to end", Mode: custodian.Development, PolicyDigest: policy,
		Attestation: genesis.Attestation{FingerprintsCompared: "not-compared", By: "ada", At: time.Now().UTC().Truncate(time.Second)}}
	var ids []string
	for i, p := range w.people {
		public := p.signer.Public()
		line := genesis.Person{ID: p.id, Name: "Test " + p.id, Roles: p.roles, Team: p.team, Site: p.site, ApprovalKey: public.ApprovalKey}
		if i < holders {
			line.ShareKey = &public.ShareKey
			ids = append(ids, p.id)
		}
		f.People = append(f.People, line)
	}
	f.Keystores = []genesis.Keystore{{ID: vault, Driver: "software", Jurisdiction: "EU", Environment: "production", Location: "test rack",
		Controller: "ada", ShareSet: genesis.ShareSet{ID: vaultShares, Threshold: threshold, Holders: ids}}}
	text, err := f.Encode()
	if err != nil {
		return err
	}
	signatures := filepath.Join(w.root, "genesis")
	if err := os.MkdirAll(signatures, 0o700); err != nil {
		return err
	}
	file := filepath.Join(signatures, "genesis.yaml")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		return err
	}
	one := w.people[0]
	if err := w.must("genesis", "sign", file, "--key-file", one.keyFile, "--passphrase-file", one.passFile, "--yes"); err != nil {
		return err
	}
	for _, p := range w.people[1:] { // as that one
		envelope, err := genesis.Sign(p.signer, text)
		if err != nil {
			return err
		}
		if err := os.WriteFile(file+"."+p.id+".sig", envelope, 0o600); err != nil {
			return err
		}
	}
	if err := w.must("genesis", "check", file, "--signatures", signatures); err != nil {
		return err
	}
	return w.must("init", "--genesis", file, "--signatures", signatures, "--data-dir", w.fresh)
}
