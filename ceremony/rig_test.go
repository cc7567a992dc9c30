package ceremony_test

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"conclave/ceremony"
	"conclave/ceremony/issue"
	"conclave/ceremony/keyfile"
	"conclave/ceremony/operation"
	"conclave/ceremony/shamir"
	"conclave/ceremony/statement"
	"conclave/custodian"
	"conclave/custodian/custodiantest"
	"conclave/custodian/dsse"
	"conclave/custodian/identity"
	"conclave/custodian/jwk"
	"conclave/custodian/key"
	"conclave/custodian/ledger"
	"conclave/custodian/people"
	"conclave/custodian/store"
	"conclave/hsm"
	"conclave/hsm/secret"
	"conclave/policies"
)

// The engine is tried with small operations that carry the names, and so the quorums, of real ones. What they
// do is count: done says how often they were executed.

const kindMark store.Kind = "mark"

type mark struct {
	Done int `json:"done"`
}

// pureOp changes one row in the transaction that completes its ceremony.
type pureOp struct{ *counter }

func (o *pureOp) Execute(_ context.Context, _ operation.Env, tx *store.Tx, in operation.Input) (operation.Result, error) {
	return o.count(tx, in)
}

// counter is what both kinds of operations share.
type counter struct {
	name     string
	subjects []string
	deny     atomic.Bool
	fail     atomic.Bool
	prepared atomic.Int64 // how often it was judged
	// precedent is the governed decision that it cites.
	precedent string
	class     string // of the key; internal where empty
}

func (o *counter) Name() string { return o.name }

func (o *counter) Prepare(_ context.Context, _ operation.Env, view *store.View, in operation.Input) (operation.Plan, error) {
	o.prepared.Add(1)
	_, row, err := store.Get[mark](view, kindMark, o.name)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return operation.Plan{}, err
	}
	plan := operation.Plan{Target: operation.Target{Type: "key", ID: custodiantest.KeyID, GovRevision: row.Revision}, Title: "count one up",
		Subjects: o.subjects, Quorum: policies.QuorumInput{Target: policies.QuorumTarget{Type: "key", ID: custodiantest.KeyID, Owner: "demo-ada", Classifications: []string{cmp.Or(o.class, "internal")}}}}
	plan.Quorum.Precedent = o.precedent
	if o.deny.Load() {
		plan.Deny = []policies.Reason{{Rule: "test", Code: "placement", Message: "not here", Remedy: "elsewhere"}}
	}
	return plan, nil
}

func (o *counter) count(tx *store.Tx, in operation.Input) (operation.Result, error) {
	if o.fail.Load() {
		return operation.Result{}, errors.New("it can not be done")
	}
	m, _, err := store.Get[mark](tx.View(), kindMark, o.name)
	if errors.Is(err, store.ErrNotFound) {
		m = &mark{}
	} else if err != nil {
		return operation.Result{}, err
	}
	m.Done++
	if err := tx.Put(kindMark, o.name, m); err != nil {
		return operation.Result{}, err
	}
	return operation.Result{Data: []byte(`{}`)}, tx.Append(ledger.Entry{Type: o.name, Actor: in.Requester, Outcome: ledger.Done, Ceremony: in.Ceremony})
}

// effectOp acts outside the database: on a counter that survives what the test calls a crash.
type effectOp struct {
	*counter
	outside  atomic.Int64
	made     map[string]bool
	unclear  atomic.Bool // Recover can not tell
	refuse   atomic.Bool // Complete refuses
	undone   atomic.Int64
	shareSet string
	keystore hsm.Keystore
	during   func() // runs while the effect is under way
}

func (o *effectOp) Prepare(ctx context.Context, env operation.Env, view *store.View, in operation.Input) (operation.Plan, error) {
	plan, err := o.counter.Prepare(ctx, env, view, in)
	if o.shareSet != "" {
		plan.ShareSet = o.shareSet
		plan.Quorum.Target.Threshold, plan.Quorum.Target.Total = 3, 5
	}
	return plan, err
}

func (o *effectOp) Effect(ctx context.Context, _ operation.Env, _ operation.Input, effectID string, shares *secret.Bytes) (operation.Effect, error) {
	if o.fail.Load() {
		return operation.Effect{}, errors.New("the device is on fire")
	}
	if o.during != nil {
		o.during()
	}
	if o.keystore != nil {
		if err := o.keystore.Activate(ctx, shares); err != nil {
			return operation.Effect{}, err
		}
	}
	o.outside.Add(1)
	o.made[effectID] = true
	return operation.Effect{ID: effectID}, nil
}

func (o *effectOp) Recover(_ context.Context, _ operation.Env, _ operation.Input, effectID string) (operation.Effect, bool, error) {
	if o.unclear.Load() {
		return operation.Effect{}, false, errors.New("the device does not answer")
	}
	return operation.Effect{ID: effectID}, o.made[effectID], nil
}

func (o *effectOp) Complete(_ context.Context, _ operation.Env, tx *store.Tx, in operation.Input, _ operation.Effect) (operation.Result, error) {
	if o.refuse.Load() {
		return operation.Result{}, errors.New("the record is refused")
	}
	return o.count(tx, in)
}

func (o *effectOp) Undo(context.Context, operation.Env, operation.Input, operation.Effect) error {
	o.undone.Add(1)
	return nil
}

// rig is an engine over a real custodian, with people who sign with real keys.
type rig struct {
	*custodiantest.Custodian
	engine    *ceremony.Engine
	signers   map[string]*keyfile.Signer
	governed  *pureOp   // key.resume: two approvals, one of a security officer
	alone     *pureOp   // key.suspend: one person, at once
	effect    *effectOp // key.create: two approvals, an effect outside
	attended  *effectOp // keystore.activate: shares
	destroys  *pureOp   // key.destroy: two approvals, a witness, a wait
	scheduled *pureOp   // key.rotate: by the node, citing a decision
	nodeKey   dsse.Signer
	challenge []byte
	allowance ceremony.Allowance
}

func newRig(t *testing.T, mode custodian.Mode) *rig {
	t.Helper()
	schema := ceremony.Schema(store.Schema{kindMark: store.JSON[mark](false)})
	r := &rig{Custodian: custodiantest.New(t, custodiantest.Options{Mode: mode, Schema: schema}), signers: map[string]*keyfile.Signer{},
		challenge: make([]byte, 32)}
	rand.Read(r.challenge)
	r.governed = &pureOp{&counter{name: "key.resume"}}
	r.alone = &pureOp{&counter{name: "key.suspend"}}
	r.destroys = &pureOp{&counter{name: "key.destroy"}}
	r.scheduled = &pureOp{&counter{name: "key.rotate"}}
	r.effect = &effectOp{counter: &counter{name: "key.create"}, made: map[string]bool{}}
	r.attended = &effectOp{counter: &counter{name: "keystore.activate"}, made: map[string]bool{}, shareSet: "demo-shares", keystore: r.Soft}
	node, err := keyfile.Generate("node-1", "ES256")
	require.NoError(t, err)
	r.nodeKey = node
	r.enrol(t)
	r.restart(t)
	return r
}

// restart is a new process on the same ledger.
func (r *rig) restart(t *testing.T) {
	t.Helper()
	r.engine = r.engineOn(t, r.Service)
}

func (r *rig) engineOn(t *testing.T, door *custodian.Service) *ceremony.Engine {
	t.Helper()
	engine, err := ceremony.New(ceremony.Config{Custodian: door, NodeSigner: r.nodeKey, ChallengeKey: r.challenge, Clock: r.Clock, Allowance: r.allowance,
		Operations: []operation.Operation{r.governed, r.alone, r.effect, r.attended, r.destroys, r.scheduled},
		Drivers:    func(*key.Keystore) (hsm.Keystore, error) { return nil, hsm.ErrUnsupported }})
	require.NoError(t, err)
	return engine
}

// replica is another node's engine on the same ledger.
func (r *rig) replica(t *testing.T) *ceremony.Engine {
	t.Helper()
	door, err := custodian.New(t.Context(), custodian.Config{Store: r.Store, Policies: r.Policies, Node: "node-2",
		Keystores: map[string]hsm.Keystore{custodiantest.KeystoreID: r.Soft}, AuditKey: r.AuditKey, Clock: r.Clock})
	require.NoError(t, err)
	return r.engineOn(t, door)
}

// enrol gives the demo people keys, teams and acknowledgements, and shares of the keystore.
func (r *rig) enrol(t *testing.T) {
	t.Helper()
	var holders []*people.Person
	now := r.Clock.Now()
	for i, id := range append(custodiantest.People(), "demo-wim") {
		signer, err := keyfile.Generate(id, []string{"ES256", "EdDSA"}[i%2])
		require.NoError(t, err)
		r.signers[id] = signer
		credential, err := signer.Public().Credential(now)
		require.NoError(t, err)
		shareKey, err := signer.Public().ShareKey.JSON()
		require.NoError(t, err)
		p, _, err := store.Get[people.Person](r.Store.View(), custodian.KindPerson, id)
		if errors.Is(err, store.ErrNotFound) {
			p = &people.Person{ID: id, Name: id, Roles: []people.Role{people.RoleWitness}, Team: "audit", Site: "south", Status: people.StatusActive, AddedBy: "genesis", AddedAt: now}
		} else {
			require.NoError(t, err)
			holders = append(holders, p)
		}
		p.ApprovalKeys = []people.Credential{credential}
		p.ShareKey, p.ShareKeyID = json.RawMessage(shareKey), signer.Public().ShareKey.Thumbprint()
		p.Acknowledgement = &people.Acknowledgement{FormVersion: people.CurrentForm().Version, SignedAt: now, ExpiresAt: now.Add(people.AcknowledgementPeriod), Envelope: json.RawMessage(`{}`)}
		r.Put(t, custodian.KindPerson, id, p)
	}
	issued, err := issue.Shares(r.Activation, issue.Order{Set: "demo-shares", Keystore: custodiantest.KeystoreID, Epoch: 1, Threshold: 3, Holders: holders, At: now})
	require.NoError(t, err)
	r.Put(t, custodian.KindShareSet, issued.Set.ID, issued.Set)
	for _, s := range issued.Shares {
		s.Status = people.ShareConfirmed
		r.Put(t, custodian.KindShare, people.ShareID(s.Set, s.Epoch, s.Index), s)
	}
}

func human(id string) identity.Principal {
	return identity.Principal{Kind: identity.Human, ID: id, Credential: "test", Origin: "127.0.0.1", RequestID: "test"}
}

func (r *rig) propose(t *testing.T, who, operation string) *ceremony.Ceremony {
	t.Helper()
	c, once, err := r.engine.Propose(t.Context(), human(who), ceremony.Proposal{Operation: operation, Reason: "test"})
	require.NoError(t, err)
	require.Nil(t, once)
	return c
}

// sign fetches the statement and signs it.
func (r *rig) sign(t *testing.T, who, id, decision string) []byte {
	t.Helper()
	payload, err := r.engine.Statement(t.Context(), human(who), id, decision)
	require.NoError(t, err)
	envelope, err := r.signers[who].Sign(statement.TypeStatement, payload)
	require.NoError(t, err)
	return envelope
}

func (r *rig) vote(t *testing.T, who, id, decision string) *ceremony.Ceremony {
	t.Helper()
	c, err := r.engine.Vote(t.Context(), human(who), id, r.sign(t, who, id, decision))
	require.NoError(t, err)
	return c
}

func (r *rig) done(t *testing.T, operation string) int {
	t.Helper()
	m, _, err := store.Get[mark](r.Store.View(), kindMark, operation)
	if errors.Is(err, store.ErrNotFound) {
		return 0
	}
	require.NoError(t, err)
	return m.Done
}

func (r *rig) state(t *testing.T, id string) *ceremony.Ceremony {
	t.Helper()
	c, err := r.engine.Get(id)
	require.NoError(t, err)
	return c
}

// person changes a demo person's row, as people operations do.
func (r *rig) person(t *testing.T, id string, change func(p *people.Person)) {
	t.Helper()
	p, _, err := store.Get[people.Person](r.Store.View(), custodian.KindPerson, id)
	require.NoError(t, err)
	change(p)
	r.Put(t, custodian.KindPerson, id, p)
}

// bring hands in who's share.
func (r *rig) bring(t *testing.T, who, id string, change func(*shamir.Share) *shamir.Share) (*ceremony.Ceremony, error) {
	t.Helper()
	var share *shamir.Share
	for _, s := range store.All[people.Share](r.Store.View(), custodian.KindShare) {
		if s.Custodian == who {
			var err error
			share, err = r.signers[who].OpenShare(s.Sealed)
			require.NoError(t, err)
		}
	}
	if change != nil {
		share = change(share)
	}
	envelope, err := r.engine.Collector(t.Context())
	require.NoError(t, err)
	parsed, err := dsse.Parse(envelope)
	require.NoError(t, err)
	var collector ceremony.CollectorKey
	require.NoError(t, json.Unmarshal(parsed.UnverifiedPayload(), &collector))
	recipient := shamir.Recipient{Key: collector.Key, KeyID: kid(t, collector.Key)}
	sealed, err := shamir.Seal(share, recipient)
	require.NoError(t, err)
	var approval []byte
	if c := r.state(t, id); c.State == ceremony.Gathering {
		if payload, err := r.engine.Statement(t.Context(), human(who), id, "approve"); err == nil {
			approval, err = r.signers[who].Sign(statement.TypeStatement, payload)
			require.NoError(t, err)
		}
	}
	return r.engine.SubmitShare(t.Context(), human(who), id, approval, sealed)
}

func kid(t *testing.T, key []byte) string {
	t.Helper()
	k, err := jwk.Parse(key)
	require.NoError(t, err)
	return k.Thumbprint()
}

func tick(t *testing.T, r *rig, d time.Duration) {
	t.Helper()
	r.Clock.Advance(d)
	require.NoError(t, r.engine.Tick(t.Context()))
}

func demoEntry(id string) ledger.Entry {
	return ledger.Entry{Type: "demo.put", Actor: identity.Principal{Kind: identity.Node, ID: custodiantest.NodeID},
		Target: ledger.Target{Type: "ceremony", ID: id}, Outcome: ledger.Done}
}
