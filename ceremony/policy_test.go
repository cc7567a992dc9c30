package ceremony_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"conclave/ceremony"
	"conclave/ceremony/bundles"
	"conclave/ceremony/operation"
	"conclave/custodian"
	"conclave/custodian/access"
	"conclave/custodian/custodiantest"
	"conclave/custodian/key"
	"conclave/custodian/ledger"
	"conclave/custodian/store"
	"conclave/hsm"
	"conclave/policies"
)

// governed is a rig whose engine runs the real operations, with a keeper of bundles.
type governed struct {
	*rig
	keeper *bundles.Keeper
}

func newGoverned(t *testing.T) *governed {
	t.Helper()
	g := &governed{rig: newRig(t, custodian.Production)}
	g.withShares(t)
	g.start(t)
	return g
}

// withShares has the keystore opened by the rig's share set.
func (g *governed) withShares(t *testing.T) {
	t.Helper()
	ks, _, err := store.Get[key.Keystore](g.View(), custodian.KindKeystore, custodiantest.KeystoreID)
	require.NoError(t, err)
	ks.ShareSet = "demo-shares"
	g.Put(t, custodian.KindKeystore, ks.ID, ks)
}

// start is a new process on the same ledger.
func (g *governed) start(t *testing.T) {
	t.Helper()
	var err error
	g.engine, err = ceremony.New(ceremony.Config{Custodian: g.Service, NodeSigner: g.nodeKey, ChallengeKey: g.challenge, Clock: g.Clock,
		Operations: operation.All(), Drivers: func(*key.Keystore) (hsm.Keystore, error) { return nil, hsm.ErrUnsupported }})
	require.NoError(t, err)
	g.keeper, err = bundles.New(bundles.Config{Custodian: g.Service, Sandbox: policies.PatientJob(time.Minute), CheckTimeout: 5 * time.Minute, Clock: g.Clock})
	require.NoError(t, err)
	t.Cleanup(g.keeper.Close)
}

// handIn signs a bundle as a person and hands it in.
func (g *governed) handIn(t *testing.T, who string, files policies.Files) (*custodian.PolicyBundle, error) {
	t.Helper()
	envelope, err := bundles.Sign(g.signers[who], g.Instance.ID, who, "demo", files.Digest(), g.Clock.Now())
	require.NoError(t, err)
	archive, err := files.Archive()
	require.NoError(t, err)
	return g.keeper.HandIn(t.Context(), human(who), envelope, archive)
}

// tried back-tests a bundle and returns what a proposal of it must say.
func (g *governed) tried(t *testing.T, digest string) *custodian.PolicyBacktest {
	t.Helper()
	_, err := g.keeper.Backtest(human("demo-ada"), digest)
	require.NoError(t, err)
	require.Eventually(t, func() bool { p, _ := g.keeper.Progress(digest); return p.State != bundles.Running }, 5*time.Minute, time.Millisecond)
	row, err := g.keeper.Report(g.View(), digest)
	require.NoError(t, err)
	return row
}

func (g *governed) activate(t *testing.T, digest string) (*ceremony.Ceremony, error) {
	t.Helper()
	params, err := json.Marshal(map[string]any{"bundle": digest, "backtest": g.tried(t, digest).BacktestSummary})
	require.NoError(t, err)
	c, _, err := g.engine.Propose(t.Context(), human("demo-ada"), ceremony.Proposal{Operation: "policy.activate", Params: params, Reason: "test"})
	return c, err
}

func (g *governed) use() error {
	_, err := g.Use(context.Background(), g.App, custodian.Use{Operation: access.DataKey, Key: custodiantest.KeyID, Bytes: 32})
	return err
}

// closed denies every call, yet lets ceremonies find their quorum: what a quorum may put in force by mistake.
func closed(t *testing.T) policies.Files {
	t.Helper()
	files := custodiantest.DenyAll(t)
	delete(files, "rules/quorum_no/no.rego")
	return files
}

// A bundle that denies everything gets through a quorum, and is undone by shares, after a restart too.
func TestInvariant12_DenyAllIsUndoneByShares(t *testing.T) {
	g := newGoverned(t)
	first := g.Service.Policies().Digest()
	for range 5 {
		require.NoError(t, g.use())
	}
	record, err := g.handIn(t, "demo-ada", closed(t))
	require.NoError(t, err)
	require.Equal(t, "demo-ada", record.Signer)
	report := g.tried(t, record.Digest)
	require.Equal(t, 5, report.NewlyDenied)
	require.Contains(t, string(report.Report), "nothing is allowed")

	c, err := g.activate(t, record.Digest)
	require.NoError(t, err)
	require.Equal(t, ceremony.Proposed, c.State)
	for _, who := range []string{"demo-ben", "demo-cleo", "demo-dan"} {
		c = g.vote(t, who, c.ID, "approve")
	}
	require.Equal(t, ceremony.Approved, c.State)
	require.NoError(t, g.use(), "it is thought over first")
	for c.State == ceremony.Approved {
		tick(t, g.rig, time.Minute)
		c = g.state(t, c.ID)
	}
	require.Equal(t, ceremony.Completed, c.State, c.Outcome)
	var denied *custodian.Denied
	require.ErrorAs(t, g.use(), &denied)

	g.Restart(t)
	g.Activate(t)
	g.start(t)
	require.ErrorAs(t, g.use(), &denied)
	require.NoError(t, g.Read(t.Context(), human("demo-cleo"), "ceremony.read", ledger.Target{Type: "ceremony", ID: "x"}))
	g.recover(t, first)
	require.NoError(t, g.use())
	history := custodian.PolicyHistory(g.View())
	require.Len(t, history, 3)
	require.Equal(t, policies.Recover, history[2].Operation)
}

// recover restores a bundle by shares of three custodians.
func (g *governed) recover(t *testing.T, digest string) {
	t.Helper()
	params, err := json.Marshal(map[string]string{"bundle": digest})
	require.NoError(t, err)
	c, _, err := g.engine.Propose(t.Context(), human("demo-cleo"), ceremony.Proposal{Operation: policies.Recover, Params: params, Reason: "undo"})
	require.NoError(t, err)
	require.Equal(t, ceremony.Gathering, c.State)
	for _, who := range []string{"demo-ada", "demo-dan", "demo-eve"} {
		c, err = g.bring(t, who, c.ID, nil)
		require.NoError(t, err)
	}
	require.Equal(t, ceremony.Completed, c.State, c.Outcome)
	require.Zero(t, g.engine.Gathered(), "nothing is kept of the shares")
	require.Equal(t, digest, g.Service.Policies().Digest())
}

// A record of what is in force that was edited by hand refuses everything, and recovery mends it.
func TestInvariant12_EditedPolicyIsRecovered(t *testing.T) {
	g := newGoverned(t)
	first := g.Service.Policies()
	g.PutBundle(t, first.Files())
	g.PutInForce(t, first.Digest())
	require.NoError(t, g.use())
	for _, kind := range []store.Kind{custodian.KindPolicy, custodian.KindPolicyFiles, custodian.KindPolicyBundle} {
		rows := 0
		for row := range g.View().List(kind) {
			g.edit(t, kind, row.ID, "{", `{"x":1,`)
			rows++
		}
		require.NotZero(t, rows)
		require.Error(t, g.use(), kind)
		g.recover(t, first.Digest())
		require.NoError(t, g.use(), kind)
	}
}

// Only what was in force is restored; what was not tried, or locks people out, is not proposed.
func TestInvariant12_WhatIsNotProposed(t *testing.T) {
	g := newGoverned(t)
	record, err := g.handIn(t, "demo-ben", closed(t))
	require.NoError(t, err)
	propose := func(operation string, params map[string]any) error {
		raw, err := json.Marshal(params)
		require.NoError(t, err)
		_, _, err = g.engine.Propose(t.Context(), human("demo-ada"), ceremony.Proposal{Operation: operation, Params: raw, Reason: "test"})
		return err
	}
	code := func(err error) string {
		var denied *custodian.Denied
		require.ErrorAs(t, err, &denied)
		return denied.Code
	}
	var input *custodian.InputError
	require.ErrorAs(t, propose(policies.Recover, map[string]any{"bundle": record.Digest}), &input, "never in force")
	require.Equal(t, "no_change", code(propose(policies.Recover, map[string]any{"bundle": g.Service.Policies().Digest()})))
	require.Equal(t, "backtest_missing", code(propose("policy.activate", map[string]any{"bundle": record.Digest, "backtest": map[string]any{}})))
	g.tried(t, record.Digest)
	require.Equal(t, "backtest_differs", code(propose("policy.activate", map[string]any{"bundle": record.Digest, "backtest": map[string]any{"decisions": 7}})))
	require.ErrorAs(t, propose("policy.activate", map[string]any{"bundle": "ab"}), &input)

	no, err := g.handIn(t, "demo-ben", custodiantest.DenyAll(t))
	require.NoError(t, err)
	_, err = g.activate(t, no.Digest)
	require.Equal(t, "lock_out", code(err))

	_, err = g.handIn(t, "demo-ben", custodiantest.Bundle(t, map[string]string{"data/operations.json": "{}"}))
	require.ErrorAs(t, err, &input)
	require.Contains(t, input.Problem, "no answer")
	other := custodiantest.Bundle(t, map[string]string{"data/quorum.json": "{}"})
	envelope, err := bundles.Sign(g.signers["demo-ada"], g.Instance.ID, "demo-ben", "demo", other.Digest(), g.Clock.Now())
	require.NoError(t, err)
	archive, err := other.Archive()
	require.NoError(t, err)
	_, err = g.keeper.HandIn(t.Context(), human("demo-ben"), envelope, archive)
	require.ErrorAs(t, err, &input, "signed by somebody else")
}

// A back-test that is cancelled keeps nothing, another one waits its turn, and candidates stay few.
func TestBacktestsAndCandidatesAreBounded(t *testing.T) {
	g := newGoverned(t)
	hold, began := make(chan struct{}), make(chan struct{}, 1)
	keeper, err := bundles.New(bundles.Config{Custodian: g.Service, Clock: g.Clock, Sandbox: func(ctx context.Context, job policies.Job) (policies.Verdict, error) {
		if job.Check {
			return policies.Verdict{Check: &policies.Check{}}, nil
		}
		began <- struct{}{}
		select {
		case <-ctx.Done():
			return policies.Verdict{}, ctx.Err()
		case <-hold:
			return policies.PatientJob(time.Minute)(ctx, job)
		}
	}})
	require.NoError(t, err)
	t.Cleanup(keeper.Close)
	g.keeper = keeper
	require.NoError(t, g.use())
	record, err := g.handIn(t, "demo-ada", closed(t))
	require.NoError(t, err)
	again, err := g.handIn(t, "demo-ada", closed(t))
	require.NoError(t, err)
	require.Equal(t, record.AddedAt, again.AddedAt, "the same is kept once")
	_, err = keeper.Backtest(human("demo-ada"), record.Digest)
	require.NoError(t, err)
	<-began
	other, err := g.handIn(t, "demo-ben", custodiantest.DenyAll(t))
	require.NoError(t, err)
	_, err = keeper.Backtest(human("demo-ben"), other.Digest)
	require.ErrorIs(t, err, bundles.ErrBusy)
	require.ErrorIs(t, keeper.Cancel(other.Digest), store.ErrNotFound)
	require.NoError(t, keeper.Cancel(record.Digest))
	keeper.Close()
	p, known := keeper.Progress(record.Digest)
	require.True(t, known)
	require.Equal(t, bundles.Cancelled, p.State)
	_, err = keeper.Report(g.View(), record.Digest)
	require.ErrorIs(t, err, store.ErrNotFound)

	for i := range bundles.MaxCandidates + 2 {
		_, err := g.handIn(t, "demo-ada", custodiantest.Bundle(t, map[string]string{"data/quorum.json": fmt.Sprintf(`{"n": %d}`, i)}))
		require.NoError(t, err)
		g.Clock.Advance(time.Second)
	}
	require.Len(t, bundles.Candidates(g.View()), bundles.MaxCandidates)
	_, _, err = custodian.StoredPolicy(g.View(), record.Digest)
	require.ErrorIs(t, err, store.ErrNotFound, "the oldest made room")
}

// The bundle in force is written out whole, by what it answers.
func TestProceduresSayWhatIsEnforced(t *testing.T) {
	g := newGoverned(t)
	d, err := g.keeper.Document(t.Context(), g.View())
	require.NoError(t, err)
	var text, page strings.Builder
	require.NoError(t, d.Markdown(&text))
	require.NoError(t, d.HTML(&page))
	for _, want := range []string{g.Service.Policies().Digest(), "policy.recover", "shares of 3 custodians", "pci-dss-4.0.1:3.7.6", "key.destroy", "a witness", "cardholder-data"} {
		require.Contains(t, text.String(), want)
		require.Contains(t, page.String(), want)
	}
	require.NotContains(t, page.String(), "<script")
}
