package main_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"conclave/app/client"
	"conclave/ceremony/nodes"
	"conclave/custodian/ledger"
	"conclave/custodian/store/storetest"
)

// cluster is an instance on PostgreSQL with several server processes.
type cluster struct {
	*terminal    // at the first node
	dsn          string
	first        string // data directory that init made
	app, auditor string // tokens
	more         string // further settings of nodes
	acknowledged *load
}

// clustered makes the instance and takes it to work on its first node.
func clustered(t *testing.T, more string) *cluster {
	t.Helper()
	c := &cluster{more: more, terminal: &terminal{t: t, dir: t.TempDir()}, dsn: storetest.Postgres(t), acknowledged: newLoad()}
	c.first = filepath.Join(c.dir, "first")
	signatures := filepath.Join(shared.root, "genesis")
	require.NoError(t, shared.must("init", "--config", c.config("node-1"), "--genesis", filepath.Join(signatures, "genesis.yaml"), "--signatures", signatures, "--data-dir", c.first))
	c.n = c.serve("node-1", c.first)
	var err error
	c.app, c.auditor, err = c.n.begin(t.Context())
	require.NoError(t, err)
	return c
}

// config writes the configuration of a node.
func (c *cluster) config(id string) string {
	path := c.path(id + ".yaml")
	text := fmt.Sprintf("database: {driver: postgres, dsn: %q}\nnode: {id: %s%s}\n", c.dsn, id, c.more)
	require.NoError(c.t, os.WriteFile(path, []byte(text), 0o600))
	return path
}

func (c *cluster) serve(id, dir string) *node {
	c.t.Helper()
	return serve(c.t, dir, "--config", c.config(id))
}

// use makes data keys and ciphertexts on a node until it does not answer, at most so many times.
func (c *cluster) use(n *node, times int) error {
	app, err := n.bearer(c.app)
	if err != nil {
		return err
	}
	for range times {
		if err := c.acknowledged.seal(c.t.Context(), app); err != nil {
			return err
		}
	}
	return nil
}

// opened decrypts on a node all that any of them acknowledged.
func (c *cluster) opened(n *node) {
	c.t.Helper()
	app, err := n.bearer(c.app)
	require.NoError(c.t, err)
	c.acknowledged.openedBy(c.t, app)
}

// Machines are enrolled by a quorum that compares fingerprints, take the instance's keys from a node that serves, are
// activated by their custodians, serve together and are revoked at once.
func TestNodesServeOneInstance(t *testing.T) {
	t.Parallel()
	c := clustered(t, "")
	dir := c.path("second")

	var made nodes.Made
	require.NoError(t, json.Unmarshal([]byte(c.done("node", "init", "--data-dir", dir, "--node-id", "node-2", "--output", "json")), &made))
	c.fails(78, "not empty", "node", "init", "--data-dir", dir, "--node-id", "node-2")
	require.Contains(t, refuses(t, 78, dir, "--config", c.config("node-2")), "conclave node join")
	join := []string{"node", "join", "--data-dir", dir, "--node-id", "node-2"}
	c.fails(1, "no enrolled node signed this", join...)

	enrolled := c.govern("node", "enrol", made.Request, "--reason", "a second machine")
	require.Contains(t, fmt.Sprint(enrolled.Lines), made.Fingerprint)
	c.as("cleo").fails(1, "already_enrolled", "node", "enrol", made.Request, "--reason", "again")
	c.done(join...)
	c.done(join...) // as often as it takes

	second := c.serve("node-2", dir)
	status, problems := ready(t, second)
	require.Equal(t, 503, status)
	require.Contains(t, problems, "custodians must bring their shares")
	outdated := c.as("ada") // with a trust file that knows the first node only
	outdated.n, outdated.who = second, append(outdated.who, "--trust", filepath.Join(c.first, "trust.json"))
	outdated.fails(1, "trust file pins", "ceremony", "bring", c.asks(second), "--yes")
	second.trust = c.trust()
	require.NoError(t, second.activate(t.Context()))

	third := c.together(second)
	c.revoked(third, dir, join)
}

// enrolled is a further node, enrolled, joined, serving and activated.
func (c *cluster) enrolled(id string) *node {
	c.t.Helper()
	n := c.joined(id)
	require.NoError(c.t, n.activate(c.t.Context()))
	return n
}

// joined is one whose keystores are inactive; more are flags of its enrolment.
func (c *cluster) joined(id string, more ...string) *node {
	c.t.Helper()
	dir := c.path(id)
	var made nodes.Made
	require.NoError(c.t, json.Unmarshal([]byte(c.done("node", "init", "--data-dir", dir, "--node-id", id, "--output", "json")), &made))
	c.govern(append([]string{"node", "enrol", made.Request, "--reason", "another machine"}, more...)...)
	c.done("node", "join", "--data-dir", dir, "--node-id", id)
	n := c.serve(id, dir)
	n.trust = c.trust()
	return n
}

// asks is the activation ceremony that a node asks for.
func (c *cluster) asks(n *node) string {
	c.t.Helper()
	a, err := n.as("ada")
	require.NoError(c.t, err)
	open, err := a.activation(c.t.Context())
	require.NoError(c.t, err)
	return open.ID
}

// trust brings the first node's trust file up to date.
func (c *cluster) trust() *ledger.TrustFile {
	c.t.Helper()
	out := c.path("fresh-trust.json")
	c.done("node", "trust", "--out", out, "--yes")
	fresh, err := ledger.LoadTrustFile(out)
	require.NoError(c.t, err)
	return fresh
}

// together has both nodes work at once, kills one of them in the middle, and starts it again.
func (c *cluster) together(second *node) *node {
	t := c.t
	var group sync.WaitGroup
	for _, n := range []*node{c.n, c.n, second, second} {
		group.Go(func() {
			if err := c.use(n, 80); err != nil && n == c.n {
				t.Errorf("the node that was not killed: %v", err)
			}
		})
	}
	c.acknowledged.reach(t, 100)
	second.kill()
	group.Wait()
	c.opened(c.n)

	second = c.serve("node-2", second.dir)
	second.trust = c.trust()
	require.NoError(t, second.activate(t.Context()))
	c.opened(second) // what the other made, and what it acknowledged itself before it was killed
	require.NoError(t, c.use(second, 5))
	c.acknowledged.checkLedger(t, exportedBy(t, second, c.auditor, filepath.Join(c.first, "trust.json")), 4)
	return second
}

// revoked has one person revoke a node, at the other one.
func (c *cluster) revoked(second *node, dir string, join []string) {
	t := c.t
	app, err := second.bearer(c.app)
	require.NoError(t, err)
	a := c.as("ada").propose("node", "revoke", "node-2", "--reason", "its disk was copied")
	require.Equal(t, "completed", a.Ceremony.State)
	err = c.acknowledged.seal(t.Context(), app) // with the very next commit
	require.Error(t, err)
	var p *client.Problem
	if errors.As(err, &p) { // it may have stopped already
		require.Equal(t, "node_revoked", p.Code)
	}
	<-second.exited
	require.Equal(t, 78, second.code, second.logged())
	require.Contains(t, second.logged(), "its disk was copied")
	require.Contains(t, refuses(t, 78, dir, "--config", c.config("node-2")), "node is revoked")
	c.fails(1, "node is revoked", join...)
	require.NotContains(t, fmt.Sprint(c.trust().NodeKeys), "node-2")
	c.as("ada").fails(1, "lock_out", "node", "revoke", "node-1", "--reason", "the last one")
	require.Contains(t, c.as("ada").done("node", "list"), "its disk was copied")
	require.NoError(t, c.use(c.n, 3))
	c.opened(c.n)

	c.govern("node", "enrol", filepath.Join(dir, "enrolment-request.json"), "--reason", "false alarm")
	back := c.serve("node-2", dir)
	require.Contains(t, strings.ToLower(fmt.Sprint(c.trust().NodeKeys)), "node-2")
	require.NoError(t, back.stop())
}

// An activation secret is handed to a node only where its enrolment allows it and the node that has it is configured so:
// sealed, on the record, and deleted once it is taken.
func TestActivationIsHandedOver(t *testing.T) {
	t.Parallel()
	c := clustered(t, ", hand_over: true")
	strict := c.joined("node-2")
	given := c.joined("node-3", "--hand-over")
	eventually(t, "the activation of node-3", func() (bool, error) {
		st, err := given.status(t.Context())
		return err == nil && st.Ready, err
	})
	require.NoError(t, c.use(given, 3))
	c.opened(given)
	status, problems := ready(t, strict)
	require.Equal(t, 503, status, problems)

	// A restart asks anew: what was sealed to the process before opens nothing.
	given.kill()
	given = c.serve("node-3", given.dir)
	eventually(t, "the activation after a restart", func() (bool, error) {
		st, err := given.status(t.Context())
		return err == nil && st.Ready, err
	})
	var steps map[string]int
	eventually(t, "the record of both", func() (bool, error) {
		steps = c.handed()
		return steps["keystore.activate"] == 2, nil // it serves a moment before
	})
	require.Equal(t, map[string]int{"keystore.hand-over": 2, "keystore.hand-over-ask": 2, "keystore.activate": 2}, steps)

	// What a revoked node asked its custodians for ends with it.
	open := c.asks(strict)
	c.as("ada").done("node", "revoke", "node-2", "--reason", "machine retired")
	eventually(t, "the end of what it asked for", func() (bool, error) {
		ended := c.as("ada").done("ceremony", "show", open)
		return strings.Contains(ended, "node is revoked"), nil
	})
}

// handed counts what the ledger tells of secrets handed to node-3, the only one that may be given any.
func (c *cluster) handed() map[string]int {
	steps := map[string]int{}
	for _, e := range exportedBy(c.t, c.n, c.auditor, filepath.Join(c.first, "trust.json")) {
		switch {
		case e.Type == "keystore.hand-over":
			require.NotEmpty(c.t, e.Ceremony)
			require.NotContains(c.t, string(e.Detail), "node-2")
		case e.Type == "keystore.hand-over-ask", e.Type == "keystore.hand-over-end":
			require.Equal(c.t, "node-3", e.Actor.ID)
		case e.Type == "keystore.activate" && e.Node == "node-3":
			require.Contains(c.t, string(e.Detail), `"by":"node-1"`)
		default:
			continue
		}
		steps[e.Type]++
	}
	return steps
}
