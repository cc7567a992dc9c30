package main_test

import (
	"encoding/json"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// device makes a person's key file and returns its terminal and the file with its public part.
func (x *terminal) device(person, name string) (own *terminal, public string) {
	x.t.Helper()
	phrase, file := x.path(name+".pass"), x.path(name+".key")
	require.NoError(x.t, os.WriteFile(phrase, []byte("test passphrase of "+name+"\n"), 0o600))
	out := x.done("custodian", "keygen", "--id", person, "--out", file, "--passphrase-file", phrase, "--development", "--output", "json")
	public = x.path(name + ".json")
	require.NoError(x.t, os.WriteFile(public, []byte(out), 0o600))
	other := *x
	other.who = []string{"--key-file", file, "--passphrase-file", phrase}
	return &other, public
}

// decided has a proposal of cleo's signed, each by who is named, until it is carried out.
func (x *terminal) decided(proposal []string, votes ...func(ceremony string) string) {
	x.t.Helper()
	c := x.as("cleo").propose(append(proposal, "--compared", "not-compared", "--reason", "the test of provenance")...).Ceremony
	for _, vote := range votes {
		require.NoError(x.t, json.Unmarshal([]byte(vote(c.ID)), &c))
	}
	require.Equal(x.t, "completed", c.State, c.Outcome)
}

// TestInvariant01_EvidenceTracesKeysThatCameByRealCeremonies takes a person in, who approves the second key of another, and
// gives a third a new device before a witness: the bundle of it all verifies, and says by how many ceremonies keys came.
func TestInvariant01_EvidenceTracesKeysThatCameByRealCeremonies(t *testing.T) {
	t.Parallel()
	x := &terminal{t: t, n: atWork(t), dir: t.TempDir()}
	as := func(who *terminal, how string) func(string) string {
		return func(ceremony string) string { return who.done("ceremony", how, ceremony, "--yes", "--output", "json") }
	}
	ada, ben := as(x.as("ada"), "approve"), as(x.as("ben"), "approve")
	fay, public := x.device("fay", "fay")
	x.decided([]string{"custodian", "add", "fay", "--public", public, "--name", "Fay", "--role", "key-manager", "--team", "platform", "--site", "west"}, ada, ben)
	fay.done("ack", "--yes")
	second, public := x.device("eve", "eve-2")
	x.decided([]string{"credential", "add", "eve", "--public", public}, ada, as(fay, "approve"))
	_, public = x.device("dan", "dan-2")
	x.decided([]string{"credential", "recover", "dan", "--public", public, "--identity-proof", "passport", "--keep-share-key", "it is in the safe"},
		as(x.as("wendy"), "attend"), ada, as(second, "approve"))

	evidence := x.path("evidence.zip")
	x.as("audrey").done("report", "--framework", "pci-dss-4.0.1", "--from", time.Now().UTC().AddDate(0, 0, -1).Format(time.DateOnly), "--format", "bundle", "-o", evidence)
	said := x.done("verify", evidence)
	require.Contains(t, said, "Each of 10 approval keys of 8 people is traced to the genesis file: 7 stand in it, 3 came by 3 ceremonies")
	require.Contains(t, said, "Each of 7 people whom the genesis file names has signed it")
	require.False(t, strings.Contains(said, "is NOT shown by"), said)
}
