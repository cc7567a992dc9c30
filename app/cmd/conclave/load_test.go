package main_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"conclave/app/api"
	"conclave/app/client"
	"conclave/custodian/ledger"
	"conclave/hsm/secret"
)

// Clients of the load: applications, one that is refused, and people at ceremonies.
const (
	applications = 24
	refusedOnes  = 4
	ceremonies   = 4
	clients      = applications + refusedOnes + ceremonies
)

// sealed is a ciphertext that was acknowledged.
type sealed struct {
	plaintext, ciphertext []byte
	context               map[string]string
}

// acked is what the service has acknowledged of one ceremony.
type acked struct {
	grant     string
	votes     []string
	completed bool
}

// load is what clients were told, over all processes of an instance.
type load struct {
	done atomic.Int64 // acknowledged calls

	mu         sync.Mutex
	sealed     []sealed
	decisions  []string
	ceremonies map[string]*acked
	wrong      []error // what no crash explains
}

func newLoad() *load { return &load{ceremonies: map[string]*acked{}} }

// run has all clients call n until its process is gone. They are at it when begun returns.
func (l *load) run(ctx context.Context, n *node) (wait func(), err error) {
	app, err := n.bearer(shared.appToken)
	if err != nil {
		return nil, err
	}
	people := map[string]*actor{}
	for _, id := range []string{"cleo", "ada", "ben"} {
		if people[id], err = n.as(id); err != nil {
			return nil, err
		}
	}
	var group sync.WaitGroup
	for i := range clients {
		work := func() error { return l.seal(ctx, app) }
		switch {
		case i < refusedOnes:
			work = func() error { return l.refused(ctx, app) }
		case i < refusedOnes+ceremonies:
			work = func() error { return l.ceremony(ctx, people) }
		}
		group.Go(func() { l.repeat(work) })
	}
	return group.Wait, nil
}

// repeat works until the server is gone.
func (l *load) repeat(work func() error) {
	for {
		err := work()
		if err == nil {
			continue
		}
		var p *client.Problem
		if errors.As(err, &p) && p.Code != "storage_unavailable" {
			l.mu.Lock()
			l.wrong = append(l.wrong, err)
			l.mu.Unlock()
		}
		return
	}
}

func (l *load) seal(ctx context.Context, app *client.Client) error {
	bound := map[string]string{"order": rand.Text()}
	dk, err := app.DataKey(ctx, cards, 32, bound)
	if err != nil {
		return err
	}
	defer dk.Plaintext.Wipe()
	one := sealed{ciphertext: dk.Ciphertext, context: bound}
	if err := dk.Plaintext.Use(func(b []byte) error { one.plaintext = bytes.Clone(b); return nil }); err != nil {
		return err
	}
	l.keep(one)
	text := []byte("card of " + rand.Text())
	plaintext := secret.New(bytes.Clone(text))
	defer plaintext.Wipe()
	answer, err := app.Encrypt(ctx, cards, plaintext, nil)
	if err != nil {
		return err
	}
	l.keep(sealed{plaintext: text, ciphertext: answer.Ciphertext})
	return nil
}

func (l *load) keep(s sealed) {
	l.done.Add(1)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sealed = append(l.sealed, s)
}

// refused asks for what the application has no grant for.
func (l *load) refused(ctx context.Context, app *client.Client) error {
	_, err := app.DataKey(ctx, "nobodys-key", 32, nil)
	var p *client.Problem
	if !errors.As(err, &p) || p.Status != 403 {
		if err == nil {
			err = errors.New("a call without a grant went through")
		}
		return err
	}
	if p.Decision == "" {
		return fmt.Errorf("a refusal without a decision id: %w", err)
	}
	l.done.Add(1)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.decisions = append(l.decisions, p.Decision)
	return nil
}

// ceremony makes a grant: one asks, two approve.
func (l *load) ceremony(ctx context.Context, people map[string]*actor) error {
	grant := "g-" + strings.ToLower(rand.Text())
	proposed, err := people["cleo"].api.Propose(ctx, "grant.create", map[string]any{"id": grant, "application": shop, "key": cards,
		"operations": []string{"decrypt"}, "days": 1}, "load")
	if err != nil {
		return err
	}
	id, told := proposed.Ceremony.ID, &acked{grant: grant}
	l.tell(func() { l.ceremonies[id] = told })
	for _, who := range []string{"ada", "ben"} {
		c, err := people[who].approve(ctx, id)
		if err != nil {
			return err
		}
		l.tell(func() { told.votes, told.completed = append(told.votes, who), c.State == "completed" })
	}
	return nil
}

func (l *load) tell(what func()) {
	l.done.Add(1)
	l.mu.Lock()
	defer l.mu.Unlock()
	what()
}

// check holds everything that was ever acknowledged against the instance as it is now. runs is how many
// processes the load has seen the end of.
func (l *load) check(t *testing.T, n *node, runs int) {
	t.Helper()
	require.Empty(t, l.wrong)
	l.checkSealed(t, n)
	auditor, err := n.bearer(shared.auditorToken)
	require.NoError(t, err)
	for _, id := range l.decisions {
		opens(t, n, auditor, id)
	}
	l.checkCeremonies(t, n)
	l.checkLedger(t, exported(t, n), runs)
}

func (l *load) checkSealed(t *testing.T, n *node) {
	t.Helper()
	app, err := n.bearer(shared.appToken)
	require.NoError(t, err)
	l.openedBy(t, app)
}

func (l *load) openedBy(t *testing.T, app *client.Client) {
	t.Helper()
	for rest := l.sealed; len(rest) > 0; rest = rest[min(client.MaxBatch, len(rest)):] {
		part := rest[:min(client.MaxBatch, len(rest))]
		var ask []api.DecryptRequest
		for _, s := range part {
			ask = append(ask, api.DecryptRequest{Ciphertext: s.ciphertext, Context: s.context})
		}
		answers, err := app.DecryptBatch(t.Context(), cards, ask)
		require.NoError(t, err)
		for i, a := range answers {
			require.Nil(t, a.Err, "an acknowledged ciphertext does not decrypt")
			require.NoError(t, a.Result.Bytes.Use(func(b []byte) error {
				require.Equal(t, part[i].plaintext, b)
				return nil
			}))
			a.Result.Bytes.Wipe()
		}
	}
}

func (l *load) checkCeremonies(t *testing.T, n *node) {
	t.Helper()
	cleo, err := n.as("cleo")
	require.NoError(t, err)
	there := map[string]api.Ceremony{}
	for c, err := range cleo.api.Ceremonies(t.Context(), true) {
		require.NoError(t, err)
		there[c.ID] = c
	}
	grants, err := cleo.api.Grants(t.Context())
	require.NoError(t, err)
	made := map[string]bool{}
	for _, g := range grants {
		made[g.ID] = true
	}
	for id, told := range l.ceremonies {
		c, ok := there[id]
		require.True(t, ok, "acknowledged ceremony %s is gone", id)
		for _, who := range told.votes {
			require.True(t, voted(c, who), "acknowledged vote of %s on %s is gone", who, id)
		}
		require.Equal(t, c.State == "completed", made[told.grant], "ceremony %s and its grant", id)
		if told.completed {
			require.Equal(t, "completed", c.State)
		}
	}
}

// checkLedger: everything acknowledged is recorded, once, and nothing beside it but what was under way when a
// process ended.
func (l *load) checkLedger(t *testing.T, entries []*ledger.Entry, runs int) {
	t.Helper()
	uses, denials := 0, 0
	steps := map[string]int{}
	for _, e := range entries {
		switch {
		case e.Outcome == ledger.Allow && (e.Type == "key.use.datakey" || e.Type == "key.use.encrypt"):
			uses++
		case e.Outcome == ledger.Deny && e.Type == "key.use.datakey":
			denials++
		case e.Type == "ceremony.approve":
			steps[e.Ceremony+" "+e.Actor.ID]++
		case e.Type == "ceremony.complete":
			steps[e.Ceremony]++
		}
	}
	for step, count := range steps {
		require.Equal(t, 1, count, "recorded more than once: %s", step)
	}
	require.GreaterOrEqual(t, uses, len(l.sealed))
	require.LessOrEqual(t, uses, len(l.sealed)+runs*applications)
	require.GreaterOrEqual(t, denials, len(l.decisions))
	require.LessOrEqual(t, denials, len(l.decisions)+runs*refusedOnes)
}

// reach waits until the clients have been told so much more.
func (l *load) reach(t *testing.T, more int64) {
	t.Helper()
	target := l.done.Load() + more
	eventually(t, "the load", func() (bool, error) {
		l.mu.Lock()
		defer l.mu.Unlock()
		return l.done.Load() >= target || len(l.wrong) > 0, nil
	})
}

func TestInvariant10_AcknowledgedSurvivesKillUnderLoad(t *testing.T) {
	t.Parallel()
	n, l := atWork(t), newLoad()
	for i, calls := range []int64{150, 300, 80, 450} {
		wait, err := l.run(t.Context(), n)
		require.NoError(t, err)
		l.reach(t, calls)
		n.kill()
		wait()
		n = again(t, n)
		l.check(t, n, i+1)
	}
	require.NotEmpty(t, l.decisions)
	require.NotEmpty(t, l.ceremonies)
}

func TestInvariant10_GracefulStopUnderLoadLosesNothing(t *testing.T) {
	t.Parallel()
	n, l := atWork(t), newLoad()
	wait, err := l.run(t.Context(), n)
	require.NoError(t, err)
	l.reach(t, 250)
	require.NoError(t, n.stop())
	wait()
	n = again(t, n)
	l.check(t, n, 1)
}
