package cli

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"conclave/app/api"
	"conclave/app/client"
	"conclave/ceremony/nodes"
	"conclave/custodian/amount"
	"conclave/custodian/ledger"
)

// NodeCommand is `conclave node`. files makes and completes data directories; only they need the server's own parts.
func NodeCommand(files nodes.Files) *cobra.Command {
	list := register("List the nodes of the instance, and those that were", (*client.Client).Nodes,
		[]string{"NODE", "FINGERPRINT OF ITS KEY", "ENROLLED", "BY", "REVOKED", "WHY"},
		func(n api.Node) []string {
			id := n.ID
			if n.Here {
				id += " (answers)"
			}
			return []string{id, n.Fingerprint, maybe(n.EnrolledAt), n.EnrolledBy, maybe(n.RevokedAt), n.RevokedReason}
		})
	return parent("node", "Nodes: enrol machines that serve the instance, list and revoke them", list,
		nodeInit(files), nodeEnrol(), nodeJoin(files), nodeTrust(),
		proposal{use: "revoke NODE", short: "Revoke a node at once: it stops serving with the next commit", name: "node.revoke", member: "node", reasonMember: "reason",
			long: "Revokes a node. It records nothing from that commit on, answers nothing, wipes what its keystores hold and stops. What it had\n" +
				"on its disk it still has: the keys of the instance. Take its access to the database away too, and replace the log key, which it\n" +
				"had (logkey rotate --cause node-revoked)."}.command())
}

// machineFlags say which data directory on this machine, and whose it is.
func machineFlags(c *cobra.Command) (dir, node *string) {
	dir = c.Flags().String("data-dir", "", "data directory of the new node")
	node = c.Flags().String("node-id", "", "id of the new node, as its node.id setting has it")
	must(c, "data-dir", "node-id")
	return dir, node
}

func nodeInit(files nodes.Files) *cobra.Command {
	c := &cobra.Command{
		Use: "init", Short: "Make a node key on a new machine, and the request to enrol it", Args: exactly(),
		Long: "Makes a new data directory with a node key of its own and a file that asks for its enrolment, for the instance of the\n" +
			"trust file. Give the file to somebody who proposes it (node enrol), and read them the fingerprint.",
		Example: "  conclave node init --data-dir /var/lib/conclave/data --node-id node-2 --trust trust.json",
	}
	dir, node := machineFlags(c)
	c.RunE = action(func(s *session, _ *cobra.Command, _ []string) error {
		if err := s.loadTrust(); err != nil {
			return err
		}
		made, err := files.Init(*dir, *node, s.trust)
		if err != nil {
			return err
		}
		return s.show(made, func(w io.Writer) {
			facts(w, "node", made.Node, "fingerprint of its key", made.Fingerprint, "request", made.Request, "data directory", made.DataDir)
			fmt.Fprintf(w, "Next: conclave node enrol %s, by a person; everybody who approves compares the fingerprint.\n", clean(made.Request))
		})
	})
	return c
}

func nodeEnrol() *cobra.Command {
	c := &cobra.Command{
		Use: "enrol REQUEST-FILE", Short: "Propose to enrol the machine that made a request", Args: exactly("REQUEST-FILE"),
		Long: "Proposes that the machine which made the request (node init) serves the instance: it is then given the keys of the\n" +
			"instance (node join). Compare the fingerprint with the machine's before you ask, and whoever approves before they sign.",
	}
	reason := c.Flags().String("reason", "", "why, for the record")
	handOver := c.Flags().Bool("hand-over", false, "nodes that are active, and configured for it, may hand it the activation secrets of software keystores")
	c.RunE = action(func(s *session, _ *cobra.Command, args []string) error {
		raw, err := readSmall(args[0], nodes.MaxRequest)
		if err != nil {
			return fmt.Errorf("reading the request: %w", err)
		}
		r, key, err := nodes.OpenRequest(raw)
		if err != nil {
			return err
		}
		s.say("Node %s, fingerprint of its key %s.", r.Node, key.Fingerprint())
		return s.propose("node.enrol", map[string]any{"request": raw, "hand_over": *handOver}, *reason)
	})
	return must(c, "reason")
}

func nodeJoin(files nodes.Files) *cobra.Command {
	c := &cobra.Command{
		Use: "join", Short: "Give an enrolled node's data directory the keys of the instance, from a node that serves", Args: exactly(),
		Long: "Asks the serving node at --url for the keys of the instance, once the enrolment is approved. The call is signed with the\n" +
			"node key; the answer must be signed by a node that the trust file pins, and is sealed to a key that is forgotten at once.\n" +
			"The trust file and the checkpoint that the database is held against are written too. Next: conclave server.",
		Example: "  conclave node join --data-dir /var/lib/conclave/data --node-id node-2 --url https://node-1:8443 --ca ca.pem --trust trust.json",
	}
	dir, node := machineFlags(c)
	c.RunE = action(func(s *session, _ *cobra.Command, _ []string) error {
		if err := s.loadTrust(); err != nil {
			return err
		}
		if err := s.dial(client.Config{}); err != nil {
			return err
		}
		joined, err := files.Join(s.ctx, *dir, *node, s.trust, s.client.JoinNode)
		if err != nil {
			return err
		}
		return s.show(joined, func(w io.Writer) {
			facts(w, "node", joined.Node, "keys of the instance from", joined.By, "data directory", joined.DataDir, "trust file", joined.TrustFile,
				"ledger entries seen", number(joined.Entries))
		})
	})
	return c
}

func nodeTrust() *cobra.Command {
	c := &cobra.Command{
		Use: "trust", Short: "Bring a trust file up to date with the nodes that are enrolled and the log key in force now", Args: exactly(),
		Long: "Fetches the list of enrolled nodes, which must be signed by a node that your trust file pins, shows what changes, and writes\n" +
			"a trust file that pins them, the newest checkpoint, and log keys that were shown to succeed the pinned one. Compare fingerprints of new nodes with the ceremonies that enrolled them (node list). Keep the\n" +
			"old file for documents of a node that is revoked since.",
	}
	out := c.Flags().String("out", "", "where to write the new trust file")
	yes := c.Flags().Bool("yes", false, "write without asking, once what is shown has been read")
	c.RunE = action(func(s *session, _ *cobra.Command, _ []string) error {
		if err := s.connectOptional(); err != nil {
			return err
		}
		if err := s.loadTrust(); err != nil {
			return err
		}
		next, err := s.freshTrust(s.ctx)
		if err != nil {
			return err
		}
		changes := s.sayChanges(next)
		if changes > 0 {
			if err := s.confirm(*yes, fmt.Sprintf("Pin these nodes in %s?", *out)); err != nil {
				return err
			}
		}
		if err := next.Save(*out); err != nil {
			return err
		}
		s.say("Written to %s: %s.", *out, amount.Of(len(next.NodeKeys), "node"))
		return nil
	})
	return must(c, "out")
}

// freshTrust is the trust file with the nodes that a pinned one says are enrolled.
func (s *session) freshTrust(ctx context.Context) (*ledger.TrustFile, error) {
	envelope, err := s.client.SignedNodes(ctx)
	if err != nil {
		return nil, err
	}
	list, err := nodes.OpenList(envelope, s.trust)
	if err != nil {
		return nil, fmt.Errorf("list of nodes refused: %w; ask a node that the trust file pins (--url)", err)
	}
	s.say("List of nodes signed by node %s, which the trust file pins.", list.By)
	return list.Trust(s.trust, s.clock.Now())
}

// sayChanges shows what a new trust file pins beside or instead of the old one, and counts it.
func (s *session) sayChanges(next *ledger.TrustFile) int {
	count := 0
	show := func(what string, in, notIn []ledger.NodeKey) {
		for _, k := range in {
			if !pins(notIn, k) {
				count++
				s.say("%s: node %s, fingerprint of its key %s", what, k.Kid, nodes.Fingerprint(k))
			}
		}
	}
	show("new", next.NodeKeys, s.trust.NodeKeys)
	show("pinned no more", s.trust.NodeKeys, next.NodeKeys)
	for _, k := range next.LogKeys[min(len(s.pinnedLogKeys), len(next.LogKeys)):] {
		count++
		s.say("log key: %s, signed by the one before it", k)
	}
	return count
}

func pins(keys []ledger.NodeKey, k ledger.NodeKey) bool {
	for _, other := range keys {
		if other.Kid == k.Kid && nodes.Fingerprint(other) == nodes.Fingerprint(k) {
			return true
		}
	}
	return false
}
