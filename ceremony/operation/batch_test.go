package operation_test

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"conclave/ceremony"
	"conclave/ceremony/keyfile"
	"conclave/ceremony/operation"
	"conclave/custodian"
	"conclave/custodian/custodiantest"
	"conclave/custodian/key"
	"conclave/custodian/people"
	"conclave/custodian/store"
	"conclave/hsm"
	"conclave/policies"
)

// dying is a keystore that keeps what it makes, as a token does, and ends the process at one of its calls.
type dying struct {
	hsm.Keystore
	mu     sync.Mutex
	made   map[string]hsm.Material
	calls  int // of Create that made something new
	dieAt  int // call of Create at which it ends, 1…; 0 for never
	before bool
	broken error
}

type killed struct{}

func (d *dying) Create(ctx context.Context, k string, version uint32, spec hsm.Spec, effectID string) (hsm.Material, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if m, ok := d.made[effectID]; ok {
		return m, nil
	}
	if d.broken != nil {
		return hsm.Material{}, d.broken
	}
	d.calls++
	if d.calls == d.dieAt && d.before {
		panic(killed{})
	}
	m, err := d.Keystore.Create(ctx, k, version, spec, effectID)
	if err != nil {
		return m, err
	}
	d.made[effectID] = m
	if d.calls == d.dieAt {
		panic(killed{})
	}
	return m, nil
}

func (d *dying) Find(_ context.Context, effectID string) (hsm.Material, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if m, ok := d.made[effectID]; ok {
		return m, nil
	}
	return hsm.Material{}, hsm.ErrNotFound
}

// batchRig is an engine over a keystore that may die, with keys to act on.
type batchRig struct {
	*engineRig
	keystore *dying
	keys     []string
}

func newBatchRig(t *testing.T, keys int) *batchRig {
	t.Helper()
	r := &batchRig{engineRig: newEngineRig(t)}
	r.certify(t)
	r.keystore = &dying{Keystore: r.Device, made: map[string]hsm.Material{}}
	for i := range keys {
		id := fmt.Sprintf("cards-%02d", i+1)
		r.AddKey(t, id, key.CardholderData)
		r.keys = append(r.keys, id)
	}
	r.restart(t)
	return r
}

// certify lets the keystore hold keys of protected classes.
func (r *engineRig) certify(t *testing.T) {
	t.Helper()
	ks := row[key.Keystore](t, r.rig, custodian.KindKeystore, custodiantest.KeystoreID)
	r.Device.Declare()
	ks.FIPSStandard, ks.FIPSLevel, ks.Certificate, ks.CertificateStatus = "140-3", 1, "5247", "active"
	r.Put(t, custodian.KindKeystore, ks.ID, ks)
}

// restart is a new process of the same node.
func (r *batchRig) restart(t *testing.T) {
	t.Helper()
	door, err := custodian.New(t.Context(), custodian.Config{Store: r.Store, Policies: r.Policies, Node: custodiantest.NodeID,
		Keystores: map[string]hsm.Keystore{custodiantest.KeystoreID: r.keystore}, AuditKey: r.AuditKey, Clock: r.Clock})
	require.NoError(t, err)
	nodeKey, err := keyfile.Generate(custodiantest.NodeID, "ES256")
	require.NoError(t, err)
	challengeKey := make([]byte, 32)
	rand.Read(challengeKey)
	r.engine, err = ceremony.New(ceremony.Config{Custodian: door, Operations: operation.All(), Drivers: softDriver,
		NodeSigner: nodeKey, ChallengeKey: challengeKey, Clock: r.Clock})
	require.NoError(t, err)
}

func (r *batchRig) rotation() map[string]any {
	var items []any
	for _, id := range r.keys {
		items = append(items, map[string]any{"key": id, "reason": "yearly"})
	}
	return map[string]any{"operation": "key.rotate", "items": items}
}

// versions are how many versions each key has.
func (r *batchRig) versions(t *testing.T) map[string]uint32 {
	t.Helper()
	out := map[string]uint32{}
	for _, id := range r.keys {
		out[id] = row[key.Key](t, r.rig, custodian.KindKey, id).Versions
	}
	return out
}

// survive runs what may end the process and says whether it did.
func survive(run func()) (died bool) {
	defer func() {
		if p := recover(); p != nil {
			if _, ours := p.(killed); !ours {
				panic(p)
			}
			died = true
		}
	}()
	run()
	return false
}

func (r *batchRig) voteOn(t *testing.T, who, id string) (*ceremony.Ceremony, error) {
	t.Helper()
	payload, err := r.engine.Statement(t.Context(), human(who), id, "approve")
	require.NoError(t, err)
	envelope, err := r.signers[who].Sign("application/vnd.conclave.statement+json", payload)
	require.NoError(t, err)
	return r.engine.Vote(t.Context(), human(who), id, envelope)
}

// Forty keys are rotated under one statement; what it covers is in the bytes that are signed.
func TestInvariant02_BatchOfFortyUnderOneStatement(t *testing.T) {
	r := newBatchRig(t, 40)
	c := r.propose(t, "demo-cleo", "batch", r.rotation())
	require.Equal(t, ceremony.Proposed, c.State)
	require.Equal(t, string(policies.Governed), c.Class, "cardholder keys are governed")
	require.Equal(t, 2, c.Takes.Diversity.Teams)
	require.Len(t, c.Items, 40)
	payload, err := r.engine.Statement(t.Context(), human("demo-ada"), c.ID, "approve")
	require.NoError(t, err)
	var signed struct {
		Params struct {
			Targets []operation.Target `json:"targets"`
		} `json:"params"`
	}
	require.NoError(t, json.Unmarshal(payload, &signed))
	require.Len(t, signed.Params.Targets, 40)
	for i, id := range r.keys {
		require.Equal(t, operation.Target{Type: "key", ID: id, GovRevision: row[key.Key](t, r.rig, custodian.KindKey, id).GovRevision}, signed.Params.Targets[i])
	}
	r.approve(t, "demo-ada", c.ID)
	c = r.approve(t, "demo-ben", c.ID)
	require.Equal(t, ceremony.Completed, c.State)
	require.Equal(t, "completed", c.Outcome)
	require.Empty(t, c.Deviations)
	for _, n := range r.versions(t) {
		require.EqualValues(t, 2, n)
	}
	require.Equal(t, 40, r.keystore.calls)
	require.Len(t, r.events(t, "key.rotate"), 40)
}

// What has changed since the approval is left out, with its reason, and the others are done.
func TestBatchLeavesOutWhatHasMoved(t *testing.T) {
	r := newBatchRig(t, 40)
	c := r.propose(t, "demo-cleo", "batch", r.rotation())
	r.approve(t, "demo-ada", c.ID)
	r.propose(t, "demo-dan", "key.suspend", map[string]any{"key": "cards-17"})
	c = r.approve(t, "demo-ben", c.ID)
	require.Equal(t, ceremony.Completed, c.State)
	require.Len(t, c.Deviations, 1)
	require.Contains(t, c.Deviations[0], "item 17 (key cards-17)")
	require.Contains(t, c.Outcome, "but for 1 of 40")
	require.Equal(t, ceremony.ItemRefused, c.Items[16].State)
	for id, n := range r.versions(t) {
		if id == "cards-17" {
			require.EqualValues(t, 1, n)
			continue
		}
		require.EqualValues(t, 2, n, id)
	}
	require.Equal(t, 39, r.keystore.calls)
}

// A batch in which one item could not be done when it is proposed is refused whole, and the item is named.
func TestBatchIsRefusedWholeWhenProposed(t *testing.T) {
	r := newBatchRig(t, 5)
	r.propose(t, "demo-dan", "key.suspend", map[string]any{"key": "cards-03"})
	_, _, err := r.engine.Propose(t.Context(), human("demo-cleo"), ceremony.Proposal{Operation: "batch", Params: canonical(t, r.rotation())})
	var denied *custodian.Denied
	require.ErrorAs(t, err, &denied)
	require.Equal(t, "not_rotatable", denied.Code)
	require.Len(t, denied.Reasons, 1)
	require.Contains(t, denied.Reasons[0].Message, "item 3 (key cards-03)")
}

func TestBatchBounds(t *testing.T) {
	r := newBatchRig(t, 1)
	items := func(n int) []any {
		var out []any
		for i := range n {
			out = append(out, map[string]any{"application": custodiantest.ApplicationID, "key": "cards-01", "operations": []string{"decrypt"}, "days": 30, "id": fmt.Sprintf("g-%03d", i)})
		}
		return out
	}
	in := r.input(t, human("demo-cleo"), map[string]any{"operation": "grant.create", "items": items(operation.MaxItems)})
	r.plan(t, "batch", in)
	_, err := r.prepare(t, "batch", r.input(t, human("demo-cleo"), map[string]any{"operation": "grant.create", "items": items(operation.MaxItems + 1)}))
	var field *key.FieldError
	require.ErrorAs(t, err, &field)
	require.Equal(t, "items", field.Field)
}

// Grants without an id of their own get one an item.
func TestBatchNamesGrants(t *testing.T) {
	r := newBatchRig(t, 3)
	var items []any
	for _, id := range r.keys {
		items = append(items, map[string]any{"application": custodiantest.ApplicationID, "key": id, "operations": []string{"decrypt"}, "days": 30})
	}
	c := r.propose(t, "demo-cleo", "batch", map[string]any{"operation": "grant.create", "items": items})
	r.approve(t, "demo-ada", c.ID)
	c = r.approve(t, "demo-ben", c.ID)
	require.Equal(t, ceremony.Completed, c.State)
	for _, item := range c.Items {
		_, err := r.View().Get(custodian.KindGrant, item.Target.ID)
		require.NoError(t, err)
	}
}

// Restricting is one person's, at once, for several keys as for one.
func TestBatchSuspendsAtOnce(t *testing.T) {
	r := newBatchRig(t, 4)
	var items []any
	for _, id := range r.keys {
		items = append(items, map[string]any{"key": id, "suspected": true, "reason": "found in a log"})
	}
	c := r.propose(t, "demo-dan", "batch", map[string]any{"operation": "key.suspend", "items": items})
	require.Equal(t, ceremony.Completed, c.State)
	require.Equal(t, string(policies.Protective), c.Class)
	require.NotNil(t, c.ReviewBy)
	for _, id := range r.keys {
		require.Equal(t, key.Suspended, r.version(t, id, 1).State)
	}
}

// The same proposal again, by its key or by its signed request, is the same batch.
func TestBatchProposedAgain(t *testing.T) {
	r := newBatchRig(t, 2)
	p := ceremony.Proposal{Operation: "batch", Params: canonical(t, r.rotation()), Key: "once"}
	first, _, err := r.engine.Propose(t.Context(), human("demo-cleo"), p)
	require.NoError(t, err)
	again, _, err := r.engine.Propose(t.Context(), human("demo-cleo"), p)
	require.NoError(t, err)
	require.Equal(t, first.ID, again.ID)
	other := r.rotation()
	other["items"] = other["items"].([]any)[:1]
	p.Params = canonical(t, other)
	_, _, err = r.engine.Propose(t.Context(), human("demo-cleo"), p)
	require.ErrorIs(t, err, store.ErrIdempotencyConflict)
	r.approve(t, "demo-ada", first.ID)
	done := r.approve(t, "demo-ben", first.ID)
	require.Equal(t, ceremony.Completed, done.State)
	_, _, err = r.engine.Execute(t.Context(), human("demo-cleo"), first.ID)
	require.ErrorIs(t, err, ceremony.ErrEnded)
	p.Params = canonical(t, r.rotation())
	again, _, err = r.engine.Propose(t.Context(), human("demo-cleo"), p)
	require.NoError(t, err)
	require.Equal(t, ceremony.Completed, again.State)
	require.Equal(t, map[string]uint32{"cards-01": 2, "cards-02": 2}, r.versions(t))
}

// Killed at each item, before and after its key was made: every key is rotated once, and no key is made twice.
func TestInvariant10_BatchKilledAtEachItem(t *testing.T) {
	const n = 5
	for at := 1; at <= n; at++ {
		for _, before := range []bool{true, false} {
			t.Run(fmt.Sprintf("item %d, before %t", at, before), func(t *testing.T) {
				r := newBatchRig(t, n)
				c := r.propose(t, "demo-cleo", "batch", r.rotation())
				r.approve(t, "demo-ada", c.ID)
				r.keystore.dieAt, r.keystore.before = at, before
				require.True(t, survive(func() { _, _ = r.voteOn(t, "demo-ben", c.ID) }))
				r.keystore.dieAt = 0
				r.restart(t)
				stopped, err := r.engine.Get(c.ID)
				require.NoError(t, err)
				require.Equal(t, ceremony.Executing, stopped.State)
				require.NoError(t, r.engine.Tick(t.Context()))
				c, err = r.engine.Get(c.ID)
				require.NoError(t, err)
				require.Equal(t, ceremony.Completed, c.State)
				require.Empty(t, c.Deviations)
				for id, versions := range r.versions(t) {
					require.EqualValues(t, 2, versions, id)
				}
				require.Len(t, r.keystore.made, n, "no key was made twice")
				require.Len(t, r.events(t, "key.rotate"), n)
			})
		}
	}
}

// A batch that a process left open goes on only while people still stand behind it: what was made is recorded,
// what had not begun is left out.
func TestBatchGoesOnOnlyUnderItsQuorum(t *testing.T) {
	r := newBatchRig(t, 4)
	c := r.propose(t, "demo-cleo", "batch", r.rotation())
	r.approve(t, "demo-ada", c.ID)
	r.keystore.dieAt = 2
	require.True(t, survive(func() { _, _ = r.voteOn(t, "demo-ben", c.ID) }))
	r.keystore.dieAt = 0
	r.restart(t)
	gone := row[people.Person](t, r.rig, custodian.KindPerson, "demo-cleo")
	gone.Status = people.StatusSuspended
	r.Put(t, custodian.KindPerson, gone.ID, gone)
	require.NoError(t, r.engine.Tick(t.Context()))
	c, err := r.engine.Get(c.ID)
	require.NoError(t, err)
	require.Equal(t, ceremony.Completed, c.State)
	require.Len(t, c.Deviations, 2)
	require.Contains(t, c.Deviations[0], "before it began")
	require.Equal(t, map[string]uint32{"cards-01": 2, "cards-02": 2, "cards-03": 1, "cards-04": 1}, r.versions(t))
}

// A batch none of whose items can be done has failed, and says why.
func TestBatchOfNothing(t *testing.T) {
	r := newBatchRig(t, 2)
	c := r.propose(t, "demo-cleo", "batch", r.rotation())
	r.approve(t, "demo-ada", c.ID)
	r.keystore.broken = errors.New("the token is full")
	_, err := r.voteOn(t, "demo-ben", c.ID)
	var failed *ceremony.FailedError
	require.ErrorAs(t, err, &failed)
	c, err = r.engine.Get(c.ID)
	require.NoError(t, err)
	require.Equal(t, ceremony.Failed, c.State)
	require.Contains(t, c.Outcome, "the token is full")
	require.Equal(t, map[string]uint32{"cards-01": 1, "cards-02": 1}, r.versions(t))
}

// Targets that the requester names are held to what they are; a batch is as strict as its strictest item.
func TestBatchTargetsAndQuorum(t *testing.T) {
	r := newBatchRig(t, 1)
	r.AddKey(t, "plain", key.Internal)
	params := r.rotation()
	params["items"] = append(params["items"].([]any), map[string]any{"key": "plain", "reason": "yearly"})
	c := r.propose(t, "demo-cleo", "batch", params)
	require.Equal(t, string(policies.Governed), c.Class)
	stale := maps.Clone(params)
	stale["targets"] = []any{map[string]any{"type": "key", "id": "cards-01", "gov_revision": 7}, map[string]any{"type": "key", "id": "plain", "gov_revision": 1}}
	_, _, err := r.engine.Propose(t.Context(), human("demo-cleo"), ceremony.Proposal{Operation: "batch", Params: canonical(t, stale)})
	var input *custodian.InputError
	require.ErrorAs(t, err, &input)
	require.Equal(t, "targets[0]", input.Field)

	alone := r.propose(t, "demo-cleo", "batch", map[string]any{"operation": "key.rotate", "items": []any{map[string]any{"key": "plain"}}})
	require.Equal(t, ceremony.Completed, alone.State, "what one person may do alone they may do for a list")
	require.Equal(t, string(policies.Direct), alone.Class)
	require.True(t, strings.HasPrefix(alone.Outcome, "completed"))
}

// While a batch is done, somebody rotates one of its keys: each key is rotated once or twice by whole steps, and
// what the batch left out it says.
func TestBatchBesideASingleOperation(t *testing.T) {
	r := newBatchRig(t, 6)
	var single *ceremony.Ceremony
	one := r.propose(t, "demo-dan", "key.rotate", map[string]any{"key": "cards-04", "reason": "alone"})
	r.approve(t, "demo-ada", one.ID)
	c := r.propose(t, "demo-cleo", "batch", r.rotation())
	r.approve(t, "demo-ada", c.ID)
	var wg sync.WaitGroup
	var errSingle error
	wg.Go(func() { single, errSingle = r.voteOn(t, "demo-ben", one.ID) })
	c, err := r.voteOn(t, "demo-ben", c.ID)
	wg.Wait()
	require.NoError(t, err)
	require.Equal(t, ceremony.Completed, c.State)
	got := r.versions(t)
	require.EqualValues(t, 2, got["cards-04"], "whoever came second found the key at another revision")
	if errSingle == nil {
		require.Equal(t, ceremony.Completed, single.State)
		require.Len(t, c.Deviations, 1)
	} else {
		require.Empty(t, c.Deviations)
	}
}
