package cli_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"conclave/app/api"
	"conclave/ceremony/keyfile"
	"conclave/ceremony/shamir"
	"conclave/ceremony/statement"
	"conclave/custodian/dsse"
	"conclave/custodian/jwk"
	"conclave/custodian/ledger"
	"conclave/hsm/secret"
)

const instance = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"

// office is a service of one ceremony, as far as the commands under test reach, on a real TLS socket.
type office struct {
	t        *testing.T
	dir      string
	url      string
	signer   *keyfile.Signer
	node     *ecdsa.PrivateKey
	log      *ledger.LogKey
	tree     *ledger.Tree
	ceremony api.Ceremony
	st       statement.Statement
	opening  *shamir.OpeningKey
	collects dsse.Signer // who signs the collector key
	shares   []api.Share

	mu    sync.Mutex
	votes []json.RawMessage
	given []api.ShareSubmission
	asked []api.ProposeRequest
}

func newOffice(t *testing.T) *office {
	t.Helper()
	o := &office{t: t, dir: t.TempDir(), tree: ledger.NewTree()}
	var err error
	o.signer, err = keyfile.Generate("alice", jwk.ES256)
	require.NoError(t, err)
	require.NoError(t, o.signer.Save(o.path("alice.key"), secret.New([]byte("correct horse battery")), keyfile.SaveOptions{}))
	require.NoError(t, os.WriteFile(o.path("phrase"), []byte("correct horse battery"), 0o600))
	o.node, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	o.collects, err = dsse.NewSigner(o.node)
	require.NoError(t, err)
	origin, err := ledger.Origin(instance)
	require.NoError(t, err)
	o.log, err = ledger.GenerateLogKey(o.path("log.key"), origin)
	require.NoError(t, err)
	nodeKey, err := ledger.NewNodeKey("node-1", &o.node.PublicKey)
	require.NoError(t, err)
	trust := &ledger.TrustFile{Instance: instance, Origin: origin, Mode: "development", LogKeys: []string{o.log.VerifierKey},
		NodeKeys: []ledger.NodeKey{nodeKey}, CreatedAt: time.Now().UTC()}
	require.NoError(t, trust.Save(o.path("trust.json")))
	for i := range 5 {
		o.tree.Append(ledger.LeafHash([]byte{byte(i)}))
	}
	o.opening, err = shamir.NewOpeningKey()
	require.NoError(t, err)
	o.open("key.create", api.Target{Type: "key", ID: "orders"}, `{"id":"orders","keystore":"soft"}`)

	server := httptest.NewUnstartedServer(http.HandlerFunc(o.serve))
	server.TLS = &tls.Config{MinVersion: tls.VersionTLS13}
	server.StartTLS()
	t.Cleanup(server.Close)
	o.url = server.URL
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	require.NoError(t, os.WriteFile(o.path("ca.pem"), ca, 0o644))
	return o
}

func (o *office) path(name string) string { return filepath.Join(o.dir, name) }

// open starts a ceremony and its honest statement.
func (o *office) open(operation string, target api.Target, params string) {
	now := time.Now().UTC().Truncate(time.Millisecond)
	past := ledger.NewTree() // the proposal was made three entries into the log
	for i := range 3 {
		past.Append(ledger.LeafHash([]byte{byte(i)}))
	}
	root := past.Root()
	o.ceremony = api.Ceremony{
		ID: "c1", Operation: operation, Class: "G", State: "proposed", Title: "Make the key orders", Params: json.RawMessage(params),
		Target: target, Requester: api.Requester{Kind: "human", ID: "bob"}, PolicyDigest: strings.Repeat("ab", 32), Nonce: statement.NewNonce(),
		Checkpoint: "3 " + base64.StdEncoding.EncodeToString(root[:]), Takes: api.Takes{Approvals: 2}, ProposedAt: now, ExpiresAt: now.Add(time.Hour),
		Lines: []api.Line{{Label: "keystore", After: "soft"}},
	}
	o.st = statement.Statement{
		Instance: instance, Ceremony: "c1", Operation: operation, Params: []byte(params), Target: statement.Target{Type: target.Type, ID: target.ID},
		Policy: o.ceremony.PolicyDigest, Checkpoint: statement.Checkpoint{Size: 3, Root: root}, Requester: "bob", Signer: "alice",
		Decision: statement.Approve, Nonce: o.ceremony.Nonce, IssuedAt: now, ExpiresAt: now.Add(time.Hour), Mode: statement.Development,
	}
}

func (o *office) serve(w http.ResponseWriter, r *http.Request) {
	reply := func(v any) { _ = json.NewEncoder(w).Encode(v) }
	body, _ := io.ReadAll(r.Body)
	switch path := r.Method + " " + r.URL.Path; path {
	case "GET /v1/ledger/progress":
		head := ledger.Head{Size: o.tree.Size(), Root: o.tree.Root(), Epoch: 1, ControlCount: 1}
		note, err := ledger.SignHead(o.log.Signer, o.log.Origin, head)
		if err != nil {
			o.t.Error(err)
		}
		proof, err := ledger.ProveConsistency(r.Context(), o.tree, nil, 3, 5)
		if err != nil {
			o.t.Error(err)
		}
		from3 := api.ProgressProof{From: 3}
		for _, h := range proof {
			from3.Hashes = append(from3.Hashes, h[:])
		}
		reply(api.Progress{Checkpoint: string(note), Size: head.Size, Proofs: []api.ProgressProof{from3}})
	case "GET /v1/ceremonies":
		reply(api.Page[api.Ceremony]{Items: []api.Ceremony{o.ceremony}})
	case "GET /v1/ceremonies/c1":
		reply(o.ceremony)
	case "GET /v1/ceremonies/c1/statement":
		payload, err := o.st.Marshal()
		if err != nil {
			o.t.Error(err)
		}
		reply(api.StatementResponse{Payload: payload})
	case "POST /v1/ceremonies/c1/votes":
		var in api.VoteRequest
		_ = json.Unmarshal(body, &in)
		o.mu.Lock()
		o.votes = append(o.votes, in.Envelope)
		o.mu.Unlock()
		reply(o.ceremony)
	case "POST /v1/ceremonies/c1/shares":
		var in api.ShareSubmission
		_ = json.Unmarshal(body, &in)
		o.mu.Lock()
		o.given = append(o.given, in)
		o.mu.Unlock()
		reply(o.ceremony)
	case "GET /v1/people":
		reply(api.Page[api.Person]{Items: []api.Person{{ID: "bob"}, {ID: "alice", Name: "Alice Adams", Roles: []string{"custodian"}}}})
	case "POST /v1/ceremonies":
		var in api.ProposeRequest
		_ = json.Unmarshal(body, &in)
		o.mu.Lock()
		o.asked = append(o.asked, in)
		o.mu.Unlock()
		raw, _ := json.Marshal(o.ceremony)
		reply(api.ProposeResponse{Ceremony: raw})
	case "GET /v1/collector":
		reply(o.collector())
	case "GET /v1/keystores":
		reply(api.Page[api.Keystore]{Items: []api.Keystore{{ID: "soft", ShareSet: "soft", Threshold: 2, Total: 3}}})
	case "GET /v1/status":
		reply(api.Status{Name: "Test office", Instance: instance, Mode: "development"})
	case "GET /v1/sharesets":
		reply(api.Page[api.ShareSet]{Items: []api.ShareSet{{ID: "soft", Keystore: "soft", Epoch: 1, Threshold: 2, Total: 3}}})
	case "GET /v1/custody/forms":
		reply(api.Page[api.ShareForm]{Items: []api.ShareForm{{ID: "alice-1", Set: "soft", Epoch: 1, Index: 1, Site: "lyon", Container: "safe 1", Serial: "A1"},
			{ID: "bob-1", Set: "soft", Epoch: 1, Index: 2}}})
	case "GET /v1/custody/log":
		reply(api.Page[api.CustodyEntry]{Items: []api.CustodyEntry{{ID: "l-1", State: "effective", Facts: api.CustodyFacts{Form: "alice-1", Action: "register", Who: "alice", Witness: "bob"}}}})
	case "GET /v1/shares/mine", "GET /v1/shares":
		reply(api.Page[api.Share]{Items: o.shares})
	default:
		w.Header().Set("Content-Type", "application/problem+json")
		w.WriteHeader(http.StatusNotFound)
		reply(api.Problem{Status: 404, Code: "not_found", Detail: path})
	}
}

func (o *office) collector() api.Collector {
	public, err := o.opening.Public().JSON()
	if err != nil {
		o.t.Error(err)
	}
	payload, err := json.Marshal(api.CollectorKey{Instance: instance, Node: "node-1", Boot: "b1", Key: public, At: time.Now().UTC()})
	if err != nil {
		o.t.Error(err)
	}
	envelope, err := dsse.Sign(o.collects, statement.TypeCollector, payload)
	if err != nil {
		o.t.Error(err)
	}
	return api.Collector{Envelope: envelope}
}

func (o *office) run(args ...string) result {
	return run(o.t, append(args, "--url", o.url, "--ca", o.path("ca.pem"), "--trust", o.path("trust.json"), "--state-dir", o.path("state"),
		"--key-file", o.path("alice.key"), "--passphrase-file", o.path("phrase"))...)
}

// signed returns what alice's signature in an envelope covers.
func (o *office) signed(envelope []byte) []byte {
	credential, err := o.signer.Public().Credential(time.Now())
	require.NoError(o.t, err)
	payload, err := dsse.Verify(envelope, statement.TypeStatement, credential)
	require.NoError(o.t, err)
	return payload
}

// issue gives alice a share of set soft.
func (o *office) issue() *shamir.Share {
	shares, err := shamir.Split(secret.Random(32), 2, 3, shamir.Set{ID: "soft", Epoch: 1})
	require.NoError(o.t, err)
	public := o.signer.Public().ShareKey
	raw, err := public.JSON()
	require.NoError(o.t, err)
	sealed, err := shamir.Seal(shares[0], shamir.Recipient{KeyID: public.Thumbprint(), Key: raw})
	require.NoError(o.t, err)
	commitment, err := shares[0].Commitment()
	require.NoError(o.t, err)
	o.shares = []api.Share{{Set: "soft", Epoch: 1, Index: 1, Custodian: "alice", Status: "confirmed", Commitment: commitment, Sealed: sealed}}
	return shares[0]
}
