package cli_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"conclave/app/api"
	"conclave/ceremony/shamir"
	"conclave/ceremony/statement"
	"conclave/custodian/dsse"
	"conclave/custodian/people"
)

func TestInvariant02_ApproveSignsExactlyWhatWasShown(t *testing.T) {
	o := newOffice(t)
	r := o.run("ceremony", "approve", "c1", "--yes")
	require.Zero(t, r.code, r.err)
	require.Len(t, o.votes, 1)
	want, err := o.st.Marshal()
	require.NoError(t, err)
	require.Equal(t, want, o.signed(o.votes[0]), "the bytes signed are the bytes fetched")
	require.Contains(t, r.err, string(want), "and the bytes shown")
	require.Contains(t, r.err, "Make the key orders")
	require.Contains(t, r.err, "development instance")
	require.Contains(t, r.out, "Missing: 2 approvals")

	// Nobody to ask, and not told to go on: nothing is signed.
	r = o.run("ceremony", "approve", "c1")
	require.Equal(t, 2, r.code)
	require.Contains(t, r.err, "add --yes")
	require.Len(t, o.votes, 1)
}

func TestInvariant02_StatementThatSaysSomethingElseIsNotSigned(t *testing.T) {
	o := newOffice(t)
	honest := o.st
	for name, change := range map[string]func(s *statement.Statement){
		"instance":     func(s *statement.Statement) { s.Instance = strings.Repeat("f", 64) },
		"mode":         func(s *statement.Statement) { s.Mode = statement.Production },
		"ceremony":     func(s *statement.Statement) { s.Ceremony = "c2" },
		"operation":    func(s *statement.Statement) { s.Operation = "key.destroy" },
		"params":       func(s *statement.Statement) { s.Params = []byte(`{"id":"orders","keystore":"other"}`) },
		"target.id":    func(s *statement.Statement) { s.Target.ID = "payroll" },
		"target.type":  func(s *statement.Statement) { s.Target.Type = "person" },
		"gov_revision": func(s *statement.Statement) { s.Target.GovRevision = 9 },
		"policy":       func(s *statement.Statement) { s.Policy = strings.Repeat("cd", 32) },
		"requester":    func(s *statement.Statement) { s.Requester = "mallory" },
		"signer":       func(s *statement.Statement) { s.Signer = "bob" },
		"decision":     func(s *statement.Statement) { s.Decision = statement.Reject },
		"nonce":        func(s *statement.Statement) { s.Nonce = statement.NewNonce() },
		"checkpoint":   func(s *statement.Statement) { s.Checkpoint.Size = 4 },
		"expired": func(s *statement.Statement) {
			s.IssuedAt = s.IssuedAt.Add(-2 * time.Hour)
			s.ExpiresAt = s.IssuedAt.Add(time.Hour)
		},
	} {
		t.Run(name, func(t *testing.T) {
			o.st = honest
			change(&o.st)
			r := o.run("ceremony", "approve", "c1", "--yes")
			require.Equal(t, 1, r.code)
			require.Contains(t, r.err, map[bool]string{true: "expired", false: "statement refused"}[name == "expired"])
			require.Empty(t, o.votes)
		})
	}
	// It was the change alone that each was refused for.
	o.st = honest
	require.Zero(t, o.run("ceremony", "approve", "c1", "--yes").code)
	require.Len(t, o.votes, 1)
}

func TestInvariant09_StatementOnAnotherLedgerIsNotSigned(t *testing.T) {
	o := newOffice(t)
	var root [32]byte
	_, _ = rand.Read(root[:])
	o.st.Checkpoint.Root = root
	o.ceremony.Checkpoint = "3 " + base64.StdEncoding.EncodeToString(root[:])
	r := o.run("ceremony", "approve", "c1", "--yes")
	require.Equal(t, 1, r.code)
	require.Contains(t, r.err, "another ledger")
	require.Empty(t, o.votes)
}

func TestInvariant04_ActivationSealsTheShareToThePinnedNode(t *testing.T) {
	o := newOffice(t)
	share := o.issue()
	o.gather()
	r := o.run("ceremony", "approve", "c1", "--yes")
	require.Contains(t, r.err, "conclave ceremony bring c1", "a bare approval of an activation is pointed to the share")

	r = o.run("keystore", "activate", "soft", "--yes")
	require.Zero(t, r.code, r.err)
	require.Len(t, o.given, 1)
	o.signed(o.given[0].Envelope)
	opened, err := o.opening.Open(o.given[0].Sealed)
	require.NoError(t, err)
	require.NoError(t, shamir.CheckShare(opened, shamir.Register{Set: share.Set(), Commitments: map[int][]byte{1: o.shares[0].Commitment}}))
}

// gather opens an activation that takes shares.
func (o *office) gather() {
	o.open("keystore.activate", api.Target{Type: "keystore", ID: "soft"}, `{"keystore":"soft"}`)
	o.ceremony.Takes, o.ceremony.Threshold, o.ceremony.ShareSet, o.ceremony.ShareEpoch = api.Takes{Shares: true}, 2, "soft", o.shares[0].Epoch
	o.ceremony.Requester, o.st.Requester = api.Requester{Kind: "node", ID: "node-1"}, "node:node-1"
}

// A ceremony says which epoch it takes: no other is brought to it, however good.
func TestInvariant04_TheShareOfTheNamedEpochIsBrought(t *testing.T) {
	o := newOffice(t)
	o.issue()
	o.gather()
	o.ceremony.ShareEpoch = 2
	r := o.run("ceremony", "bring", "c1", "--yes")
	require.Equal(t, 1, r.code)
	require.Contains(t, r.err, "you hold no share of set soft, epoch 2")
	require.Empty(t, o.given)

	o.ceremony.ShareEpoch = 1
	r = o.run("ceremony", "bring", "c1", "--yes")
	require.Zero(t, r.code, r.err)
	require.Len(t, o.given, 1)

	o.ceremony.Takes.Shares = false
	r = o.run("ceremony", "bring", "c1", "--yes")
	require.Equal(t, 2, r.code)
	require.Contains(t, r.err, "takes no shares")
}

func TestInvariant04_SwappedCollectorGetsNoShare(t *testing.T) {
	o := newOffice(t)
	o.issue()
	o.gather()
	stranger, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	o.collects, err = dsse.NewSigner(stranger)
	require.NoError(t, err)
	r := o.run("keystore", "activate", "soft", "--yes")
	require.Equal(t, 1, r.code)
	require.Contains(t, r.err, "collector key refused")
	require.Contains(t, r.err, "not signed by a node key that the trust file pins")
	require.Empty(t, o.given)
}

func TestInvariant04_WrongShareIsNamedBeforeItIsSent(t *testing.T) {
	o := newOffice(t)
	o.issue()
	o.shares[0].Commitment = make([]byte, 32)
	_, _ = rand.Read(o.shares[0].Commitment)
	o.gather()
	r := o.run("keystore", "activate", "soft", "--yes")
	require.Equal(t, 1, r.code)
	require.Contains(t, r.err, "wrong share")
	require.Empty(t, o.given)
}

func TestAcknowledgementSignsTheTermsShown(t *testing.T) {
	o := newOffice(t)
	o.issue()
	r := o.run("ack", "--backup", "Bob", "--yes")
	require.Zero(t, r.code, r.err)
	require.Len(t, o.asked, 1)
	require.Equal(t, "acknowledgement.sign", o.asked[0].Operation)
	var params struct{ Envelope json.RawMessage }
	require.NoError(t, json.Unmarshal(o.asked[0].Params, &params))
	credential, err := o.signer.Public().Credential(time.Now())
	require.NoError(t, err)
	payload, err := dsse.Verify(params.Envelope, statement.TypeAcknowledgement, credential)
	require.NoError(t, err)
	require.Contains(t, r.err, string(payload))
	require.Contains(t, r.err, people.CurrentForm().Text())
	var terms people.Terms
	require.NoError(t, json.Unmarshal(payload, &terms))
	self := &people.Person{ID: "alice", Name: "Alice Adams", Roles: []people.Role{people.RoleCustodian}}
	_, _, err = terms.Validate(instance, self, time.Now())
	require.NoError(t, err)
	require.Equal(t, []string{"soft"}, terms.ShareSets)
	require.Equal(t, "Bob", terms.Backup)
}

func TestShareConfirmationSendsASignatureNoShare(t *testing.T) {
	o := newOffice(t)
	share := o.issue()
	challenge := make([]byte, 32)
	rand.Read(challenge)
	o.shares[0].Status, o.shares[0].Challenge = "issued", base64.StdEncoding.EncodeToString(challenge)
	r := o.run("share", "confirm")
	require.Zero(t, r.code, r.err)
	require.Len(t, o.asked, 1)
	var params struct {
		Set       string
		Epoch     uint32
		Index     int
		Challenge []byte
		Signature []byte
	}
	require.NoError(t, json.Unmarshal(o.asked[0].Params, &params))
	require.NoError(t, shamir.VerifyChallenge(o.shares[0].Commitment, share.Set(), 1, challenge, params.Signature))
	require.Equal(t, challenge, params.Challenge)
	require.Equal(t, 1, o.run("share", "drill").code, "an unconfirmed share is not drilled")
}

func TestFlagsBecomeParameters(t *testing.T) {
	o := newOffice(t)
	for line, want := range map[string]string{
		"key create orders --label Orders --classification cardholder-data --impact high --framework pci-dss --jurisdiction EU --environment test --owner dana --keystore soft --oup-days 365 --reason r": `{"classification":"cardholder-data","environment":"test","frameworks":["pci-dss"],"id":"orders","impact":"high","jurisdiction":"EU","keystore":"soft","label":"Orders","oup_days":365,"owner":"dana"}`,
		"key suspend orders --suspected --reason r": `{"campaign":false,"key":"orders","reason":"r","suspected":true}`,
		"key resume orders --finding f":             `{"finding":"f","key":"orders"}`,
		"key destroy orders --version 2 --reason r": `{"key":"orders","reason":"r","version":2}`,
		"grant create --application a --key k --operation datakey,decrypt --context order=7 --days 30 --reason r":                                              `{"application":"a","context":{"order":"7"},"days":30,"key":"k","operations":["datakey","decrypt"]}`,
		"application enrol a --name N --owner o --environment test --token-days 9 --grant k=datakey+decrypt --grant-days 5 --reason r":                         `{"environment":"test","grants":[{"days":5,"key":"k","operations":["datakey","decrypt"]}],"id":"a","name":"N","owner":"o","token_days":9}`,
		"token issue --auditor frank --days 30 --reason r":                                                                                                     `{"auditor":"frank","days":30}`,
		"person suspend mallory --reason r":                                                                                                                    `{"leaving":false,"person":"mallory","reason":"r"}`,
		"keystore register hsm2 --jurisdiction EU --environment test --location here --controller chen --share-set s2 --threshold 2 --holder a,b,c --reason r": `{"controller":"chen","driver":"software","environment":"test","id":"hsm2","jurisdiction":"EU","location":"here","share_set":{"holders":["a","b","c"],"id":"s2","threshold":2}}`,
	} {
		o.asked = nil
		r := o.run(strings.Fields(line)...)
		require.Zero(t, r.code, "%s: %s", line, r.err)
		require.JSONEq(t, want, string(o.asked[0].Params), line)
	}
}

func TestRefusalsShowReasonAndRemedy(t *testing.T) {
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/problem+json")
		w.WriteHeader(http.StatusForbidden)
		_ = json.NewEncoder(w).Encode(api.Problem{Status: 403, Code: "denied", Detail: "not allowed\x1b[2J", Decision: "d7",
			Reasons: []api.Reason{{Code: "grant_missing", Message: "no grant covers this", Remedy: "ask the key's owner", Controls: []string{"pci-dss-4.0.1:7.2.1"}}}})
	}))
	t.Cleanup(server.Close)
	ca := filepath.Join(t.TempDir(), "ca.pem")
	require.NoError(t, os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}), 0o644))
	r := run(t, "datakey", "orders", "--url", server.URL, "--ca", ca, "--token", "cvt_a.b")
	require.Equal(t, 1, r.code)
	require.Empty(t, r.out)
	require.Equal(t, fmt.Sprintf("%s\n%s\n%s\n%s\n%s\n",
		"conclave: POST /v1/keys/orders/datakeys: not allowed\uFFFD[2J (denied)",
		"  - no grant covers this (grant_missing)", "    remedy: ask the key's owner", "    demanded by: pci-dss-4.0.1:7.2.1",
		"  recorded as decision d7; open it with: conclave why d7"), r.err)
}
