package main_test

import (
	"context"
	"database/sql"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	_ "github.com/mattn/go-sqlite3" // the test watches commits
	"github.com/stretchr/testify/require"

	"conclave/app/api"
)

// A cut is when the process is killed: as soon as the request is sent, as soon as so many more control-plane
// entries are committed, or once the answer is here.
type cut int

const (
	sent     cut = 0
	answered cut = -1
)

func (c cut) String() string {
	switch c {
	case sent:
		return "as it is sent"
	case answered:
		return "once it is answered"
	}
	return fmt.Sprintf("at commit %d", int(c))
}

// killAt does act and kills the process at the cut. It reports whether act was acknowledged.
func (n *node) killAt(t *testing.T, c cut, act func(context.Context) error) bool {
	t.Helper()
	if c == answered {
		require.NoError(t, act(t.Context()))
		n.kill()
		return true
	}
	db, err := sql.Open("sqlite3", "file:"+filepath.Join(n.dir, "conclave.db")+"?mode=ro&_busy_timeout=5000")
	require.NoError(t, err)
	defer db.Close()
	committed := func() (count int, err error) {
		err = db.QueryRow("SELECT control_count FROM ledger_head").Scan(&count)
		return count, err
	}
	before, err := committed()
	require.NoError(t, err)
	done := make(chan error, 1)
	go func() { done <- act(t.Context()) }()
	for c != sent {
		now, err := committed()
		require.NoError(t, err)
		if now >= before+int(c) || len(done) > 0 {
			break
		}
	}
	n.kill()
	return <-done == nil
}

// governed is one ceremony that is asked for by cleo and approved by ada and ben, with a crash at one place.
type governed struct {
	operation string
	params    map[string]any
	reason    string // names it in the list of ceremonies
	id        string // once known
	votes     []string
}

func (g *governed) propose(n *node) func(context.Context) error {
	return func(ctx context.Context) error {
		cleo, err := n.as("cleo")
		if err != nil {
			return err
		}
		p, err := cleo.api.Propose(ctx, g.operation, g.params, g.reason)
		if err == nil {
			g.id = p.Ceremony.ID
		}
		return err
	}
}

func (g *governed) vote(n *node, who string) func(context.Context) error {
	return func(ctx context.Context) error {
		a, err := n.as(who)
		if err != nil {
			return err
		}
		if _, err = a.approve(ctx, g.id); err == nil {
			g.votes = append(g.votes, who)
		}
		return err
	}
}

// find looks for the ceremony after a crash. What was acknowledged must be there.
func (g *governed) find(t *testing.T, n *node) (api.Ceremony, bool) {
	t.Helper()
	cleo, err := n.as("cleo")
	require.NoError(t, err)
	for c, err := range cleo.api.Ceremonies(t.Context(), true) {
		require.NoError(t, err)
		if c.Reason != g.reason {
			continue
		}
		require.True(t, g.id == "" || g.id == c.ID, "asked for once, there twice")
		for _, who := range g.votes {
			require.True(t, voted(c, who), "%s's acknowledged approval of %s is gone", who, c.ID)
		}
		return c, true
	}
	require.Empty(t, g.id, "an acknowledged ceremony is gone")
	return api.Ceremony{}, false
}

func voted(c api.Ceremony, who string) bool {
	return slices.ContainsFunc(c.Votes, func(v api.Vote) bool { return v.Person == who })
}

// finish goes on from where the crash left it, until it is completed.
func (g *governed) finish(t *testing.T, n *node) {
	t.Helper()
	c, found := g.find(t, n)
	if !found {
		require.NoError(t, g.propose(n)(t.Context()))
		c, _ = g.find(t, n)
	}
	g.id = c.ID
	for _, who := range []string{"ada", "ben"} {
		if c.State == "proposed" && !voted(c, who) {
			require.NoError(t, g.vote(n, who)(t.Context()))
			c, _ = g.find(t, n)
		}
	}
	eventually(t, "the end of "+g.reason, func() (bool, error) {
		c, _ = g.find(t, n)
		return c.Ended(), fmt.Errorf("%s is %s: %s", c.ID, c.State, c.Outcome)
	})
	require.Equal(t, "completed", c.State, "%s: %s\n%s", g.reason, c.Outcome, n.logged())
}

// crashes is every place at which a governed ceremony with an effect is cut off. The quorum's vote is committed
// first, then the intent, then the outcome.
func crashes() map[string][]cut {
	return map[string][]cut{"propose": {sent, 1, answered}, "first vote": {sent, 1, answered}, "completing vote": {sent, 1, 2, 3, answered}}
}

func TestInvariant10_GovernedCeremonySurvivesACrashAtEachStep(t *testing.T) {
	for _, operation := range []string{"key.create", "key.rotate"} {
		t.Run(operation, func(t *testing.T) {
			t.Parallel()
			n := atWork(t)
			made := 0
			for _, step := range []string{"propose", "first vote", "completing vote"} {
				for _, at := range crashes()[step] {
					made++
					g := &governed{operation: operation, params: map[string]any{"key": cards}, reason: fmt.Sprintf("%s, killed %s", step, at)}
					if operation == "key.create" {
						g.params = keyParams(fmt.Sprintf("made-%d", made))
					}
					g.crash(t, n, step, at)
					n = serve(t, n.dir)
					g.settle(t, n)
					require.NoError(t, n.activate(t.Context()))
					g.finish(t, n)
				}
			}
			ranOnce(t, n, operation, made)
		})
	}
}

// crash brings the ceremony to its step and kills the process there.
func (g *governed) crash(t *testing.T, n *node, step string, at cut) {
	t.Helper()
	if step == "propose" {
		n.killAt(t, at, g.propose(n))
		return
	}
	require.NoError(t, g.propose(n)(t.Context()))
	if step == "first vote" {
		n.killAt(t, at, g.vote(n, "ada"))
		return
	}
	require.NoError(t, g.vote(n, "ada")(t.Context()))
	n.killAt(t, at, g.vote(n, "ben"))
}

// settle waits, while the keystore is still inactive, until the service has looked at a ceremony that is due:
// an approval must not be lost to a keystore that waits for its shares.
func (g *governed) settle(t *testing.T, n *node) {
	t.Helper()
	c, found := g.find(t, n)
	if !found || c.State != "approved" {
		return
	}
	eventually(t, "a look at "+c.ID, func() (bool, error) {
		c, _ = g.find(t, n)
		return c.State != "approved" || strings.Contains(n.logged(), c.ID), nil
	})
}

// ranOnce checks in the ledger that every ceremony ran once, and in the register that so much was made.
func ranOnce(t *testing.T, n *node, operation string, times int) {
	t.Helper()
	completed, made := map[string]int{}, map[string]int{}
	for _, e := range exported(t, n) {
		switch e.Type {
		case "ceremony.complete":
			completed[e.Ceremony]++
		case operation:
			made[fmt.Sprintf("%s %d", e.Target.ID, e.Target.Version)]++
		}
	}
	for id, count := range completed {
		require.Equal(t, 1, count, "completions of %s", id)
	}
	if operation == "key.create" {
		times++ // the working instance's own
	}
	require.Len(t, made, times)
	for what, count := range made {
		require.Equal(t, 1, count, "%s of %s", operation, what)
	}
	a, err := n.as("cleo")
	require.NoError(t, err)
	k, err := a.api.Key(t.Context(), cards)
	require.NoError(t, err)
	if operation == "key.rotate" {
		require.EqualValues(t, 1+times, k.Versions)
	}
}

func TestInvariant10_ActivationSurvivesACrashAtEachShare(t *testing.T) {
	t.Parallel()
	n := serve(t, working(t))
	holders := []string{"ada", "ben", "cleo"}
	for brought := range threshold {
		cuts := []cut{sent, 1, answered}
		if brought == threshold-1 {
			cuts = []cut{sent, 1, 2, 3, answered}
		}
		for _, at := range cuts {
			a, err := n.as("ada")
			require.NoError(t, err)
			c, err := a.activation(t.Context())
			require.NoError(t, err)
			for _, id := range holders[:brought] {
				require.NoError(t, bring(n, id, c.ID)(t.Context()), "%s bringing a share", id)
			}
			n.killAt(t, at, bring(n, holders[brought], c.ID))
			n = serve(t, n.dir)
			status, err := n.status(t.Context())
			require.NoError(t, err)
			require.False(t, status.Ready, "what was activated ends with the process")
			// Shares that were brought to the process that died are brought again, by the same people.
			require.NoError(t, n.activate(t.Context()), "after share %d, killed %s", brought+1, at)
			require.NoError(t, deactivate(t.Context(), n))
		}
	}
	require.NoError(t, n.activate(t.Context()))
	exported(t, n)
}

func deactivate(ctx context.Context, n *node) error {
	a, err := n.as("ada")
	if err == nil {
		_, err = a.api.Propose(ctx, "keystore.deactivate", map[string]any{"keystore": vault}, "a test")
	}
	return err
}

func bring(n *node, who, ceremony string) func(context.Context) error {
	return func(ctx context.Context) error {
		a, err := n.as(who)
		if err == nil {
			_, err = a.bring(ctx, ceremony)
		}
		return err
	}
}
