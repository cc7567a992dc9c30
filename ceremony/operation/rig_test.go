package operation_test

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"conclave/ceremony/keyfile"
	"conclave/ceremony/operation"
	"conclave/custodian"
	"conclave/custodian/custodiantest"
	"conclave/custodian/identity"
	"conclave/custodian/key"
	"conclave/custodian/ledger"
	"conclave/custodian/people"
	"conclave/custodian/store"
	"conclave/hsm"
	"conclave/hsm/secret"
	"conclave/hsm/soft"
)

// kindCeremony are the rows that the engine keeps; token.issue reads the one that enrolled an application.
const kindCeremony store.Kind = "ceremony"

// rig runs operations as the engine does, without votes: prepare, then execute, on a real store and keystore.
type rig struct {
	*custodiantest.Custodian
	env        operation.Env
	challenges *operation.Challenger
	signers    map[string]*keyfile.Signer
}

func newRig(t testing.TB) *rig {
	t.Helper()
	return newRigOn(t, store.Schema{kindCeremony: store.JSON[map[string]any](false)})
}

func newRigOn(t testing.TB, schema store.Schema) *rig {
	t.Helper()
	r := &rig{Custodian: custodiantest.New(t, custodiantest.Options{Schema: schema}), signers: map[string]*keyfile.Signer{}}
	challengeKey := make([]byte, 32)
	rand.Read(challengeKey)
	var err error
	r.challenges, err = operation.NewChallenger(challengeKey)
	require.NoError(t, err)
	r.env = operation.Env{Custodian: r.Service, Policies: r.Policies, Challenges: r.challenges, Drivers: softDriver}
	r.enrol(t)
	return r
}

func softDriver(record *key.Keystore) (hsm.Keystore, error) {
	return soft.New(soft.Config{ID: record.ID, Verifier: record.Verifier})
}

// enrol gives the demo people keys, and the register an auditor.
func (r *rig) enrol(t testing.TB) {
	t.Helper()
	now := r.Clock.Now()
	r.Put(t, custodian.KindPerson, "demo-aud", people.Person{ID: "demo-aud", Name: "Demo auditor", Roles: []people.Role{people.RoleAuditor},
		Team: "audit", Site: "south", Status: people.StatusActive, AddedAt: now, AddedBy: "genesis"})
	for _, id := range append(custodiantest.People(), "demo-aud") {
		signer, err := keyfile.Generate(id, "ES256")
		require.NoError(t, err)
		r.signers[id] = signer
		credential, err := signer.Public().Credential(now)
		require.NoError(t, err)
		shareKey, err := signer.Public().ShareKey.JSON()
		require.NoError(t, err)
		p := row[people.Person](t, r, custodian.KindPerson, id)
		p.ApprovalKeys = []people.Credential{credential}
		p.ShareKey, p.ShareKeyID = json.RawMessage(shareKey), signer.Public().ShareKey.Thumbprint()
		p.Acknowledgement = &people.Acknowledgement{FormVersion: people.CurrentForm().Version, SignedAt: now,
			ExpiresAt: now.Add(people.AcknowledgementPeriod), Envelope: json.RawMessage(`{}`)}
		r.Put(t, custodian.KindPerson, id, p)
	}
}

func row[T any](t testing.TB, r *rig, kind store.Kind, id string) *T {
	t.Helper()
	v, _, err := store.Get[T](r.View(), kind, id)
	require.NoError(t, err)
	return v
}

func (r *rig) version(t testing.TB, id string, n uint32) *key.Version {
	t.Helper()
	return row[key.Version](t, r, custodian.KindKeyVersion, key.VersionID(id, n))
}

func human(id string) identity.Principal {
	return identity.Principal{Kind: identity.Human, ID: id, Credential: "test", Origin: "127.0.0.1", RequestID: "test"}
}

func node() identity.Principal {
	return identity.Principal{Kind: identity.Node, ID: custodiantest.NodeID}
}

// op finds an operation by name.
func op(t testing.TB, name string) operation.Operation {
	t.Helper()
	for _, o := range operation.All() {
		if o.Name() == name {
			return o
		}
	}
	t.Fatalf("no operation %q", name)
	return nil
}

func canonical(t testing.TB, params map[string]any) []byte {
	t.Helper()
	b := custodian.Detail(params)
	require.NotNil(t, b)
	return b
}

// input is what somebody asks for.
func (r *rig) input(t testing.TB, who identity.Principal, params map[string]any) operation.Input {
	t.Helper()
	return operation.Input{Ceremony: "c-" + lower(rand.Text()[:16]), Params: canonical(t, params), Requester: who, Now: r.Clock.Now(),
		Instance: r.Instance, Reason: "the test asks for it"}
}

func lower(s string) string {
	b := []byte(s)
	for i, c := range b {
		if 'A' <= c && c <= 'Z' {
			b[i] = c + 'a' - 'A'
		}
	}
	return string(b)
}

func (r *rig) prepare(t testing.TB, name string, in operation.Input) (operation.Plan, error) {
	t.Helper()
	return op(t, name).Prepare(t.Context(), r.env, r.View(), in)
}

// plan prepares what must not be refused.
func (r *rig) plan(t testing.TB, name string, in operation.Input) operation.Plan {
	t.Helper()
	plan, err := r.prepare(t, name, in)
	require.NoError(t, err, name)
	require.Empty(t, plan.Deny, name)
	require.NotEmpty(t, plan.Title)
	require.NotEmpty(t, plan.Lines)
	require.NotEmpty(t, plan.Target.Type)
	require.NotEmpty(t, plan.Target.ID)
	return plan
}

// denied prepares what must be refused and returns the codes; every refusal says what would help.
func (r *rig) denied(t testing.TB, name string, who identity.Principal, params map[string]any) []string {
	t.Helper()
	plan, err := r.prepare(t, name, r.input(t, who, params))
	require.NoError(t, err, name)
	var codes []string
	for _, reason := range plan.Deny {
		require.NotEmpty(t, reason.Message)
		require.NotEmpty(t, reason.Remedy)
		codes = append(codes, reason.Code)
	}
	require.NotEmpty(t, codes, "%s was not refused", name)
	return codes
}

// run prepares and executes.
func (r *rig) run(t testing.TB, name string, who identity.Principal, params map[string]any) operation.Result {
	t.Helper()
	in := r.input(t, who, params)
	r.plan(t, name, in)
	result, err := r.execute(t, name, in, nil)
	require.NoError(t, err, name)
	return result
}

// execute does what the engine does once a quorum is there.
func (r *rig) execute(t testing.TB, name string, in operation.Input, shares *secret.Bytes) (operation.Result, error) {
	t.Helper()
	var effect operation.Effect
	effectful, outside := op(t, name).(operation.Effectful)
	if outside {
		var err error
		if effect, err = effectful.Effect(t.Context(), r.env, in, "e-"+in.Ceremony, shares); err != nil {
			return operation.Result{}, err
		}
	}
	return r.record(t, name, in, effect)
}

// record is the commit that completes a ceremony.
func (r *rig) record(t testing.TB, name string, in operation.Input, effect operation.Effect) (operation.Result, error) {
	t.Helper()
	var result operation.Result
	_, err := r.Store.Control(t.Context(), func(tx *store.Tx) error {
		var err error
		switch o := op(t, name).(type) {
		case operation.Pure:
			result, err = o.Execute(t.Context(), r.env, tx, in)
		case operation.Effectful:
			result, err = o.Complete(t.Context(), r.env, tx, in, effect)
		default:
			err = errors.New("neither pure nor effectful")
		}
		return err
	})
	return result, err
}

// events are the control-plane entries of one type since genesis.
func (r *rig) events(t testing.TB, kind string) []*ledger.Entry {
	t.Helper()
	var out []*ledger.Entry
	for seq := range r.View().Head().Size {
		_, e, err := r.Store.EntryAt(context.Background(), seq)
		require.NoError(t, err)
		if e.Type == kind {
			out = append(out, e)
		}
	}
	return out
}

func (r *rig) lastEvent(t testing.TB, kind string) (*ledger.Entry, map[string]any) {
	t.Helper()
	all := r.events(t, kind)
	require.NotEmpty(t, all, kind)
	last := all[len(all)-1]
	detail := map[string]any{}
	if len(last.Detail) > 0 {
		require.NoError(t, json.Unmarshal(last.Detail, &detail))
	}
	return last, detail
}

func decoded(t testing.TB, result operation.Result) map[string]any {
	t.Helper()
	out := map[string]any{}
	require.NoError(t, json.Unmarshal(result.Data, &out))
	return out
}

const days = 24 * time.Hour
