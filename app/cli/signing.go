package cli

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"conclave/app/api"
	"conclave/app/client"
	"conclave/ceremony/statement"
)

// errStatement says that the service offered something else for signing than what it showed.
var errStatement = errors.New("statement refused: not what was shown")

// statementSkew is how far the service's clock may run ahead of ours.
const statementSkew = 30 * time.Second

// sign fetches the statement of a decision on a ceremony, checks that it says what the ceremony shows, for
// the pinned instance, shows it, asks, and signs exactly those bytes.
func (s *session) sign(c *api.Ceremony, decision statement.Decision, yes bool) ([]byte, error) {
	payload, err := s.client.Statement(s.ctx, c.ID, string(decision))
	if err != nil {
		return nil, err
	}
	st, err := statement.Parse(payload)
	if err != nil {
		return nil, fmt.Errorf("statement refused: %w", err)
	}
	if err := s.checkStatement(&st, c, decision); err != nil {
		return nil, err
	}
	if err := s.checkSeen(st.Checkpoint); err != nil {
		return nil, err
	}
	writeCeremony(s.err, c)
	s.say("\nYou sign these bytes (SHA-256 %s), with key %s:\n%s\n", client.Digest(payload), s.signer.KeyID(), payload)
	if st.Mode == statement.Development {
		s.say("This is a development instance: nothing in it is to be relied on.")
	}
	if err := s.confirm(yes, fmt.Sprintf("Sign %q as %s?", decision, s.signer.ID())); err != nil {
		return nil, err
	}
	return s.signer.Sign(statement.TypeStatement, payload)
}

// checkStatement compares every field with what was shown and what is pinned.
func (s *session) checkStatement(st *statement.Statement, c *api.Ceremony, decision statement.Decision) error {
	params, err := statement.Canonical(c.Params)
	if err != nil {
		return fmt.Errorf("parameters of ceremony %s: %w", c.ID, err)
	}
	checkpoint := fmt.Sprintf("%d %s", st.Checkpoint.Size, base64.StdEncoding.EncodeToString(st.Checkpoint.Root[:]))
	for _, f := range []struct{ field, said, shown string }{
		{"instance", st.Instance, s.trust.Instance},
		{"mode", string(st.Mode), s.trust.Mode},
		{"ceremony", st.Ceremony, c.ID},
		{"operation", st.Operation, c.Operation},
		{"target.type", st.Target.Type, c.Target.Type},
		{"target.id", st.Target.ID, c.Target.ID},
		{"target.gov_revision", strconv.FormatUint(st.Target.GovRevision, 10), strconv.FormatUint(c.Target.GovRevision, 10)},
		{"policy", st.Policy, c.PolicyDigest},
		{"checkpoint", checkpoint, c.Checkpoint},
		{"requester", st.Requester, c.Requester.Name()},
		{"nonce", st.Nonce, c.Nonce},
		{"signer", st.Signer, s.signer.ID()},
		{"decision", string(st.Decision), string(decision)},
	} {
		if f.said != f.shown {
			return fmt.Errorf("%w: %s is %q in the statement, %q was shown or is pinned", errStatement, f.field, f.said, f.shown)
		}
	}
	if !bytes.Equal(st.Params, params) {
		return fmt.Errorf("%w: params are %s in the statement, %s was shown", errStatement, st.Params, params)
	}
	return st.ValidAt(s.clock.Now(), statementSkew)
}

// checkSeen proves that the checkpoint in a statement belongs to the ledger that this client knows.
func (s *session) checkSeen(cp statement.Checkpoint) error {
	head, _, err := s.client.CheckLedger(s.ctx, s.trust, s.settings[setStateDir])
	if err != nil {
		return err
	}
	root := tlog.Hash(cp.Root)
	switch {
	case cp.Size == 0 || cp.Size > head.Size:
		return fmt.Errorf("%w: it rests on a ledger of %d entries, the ledger has %d", errStatement, cp.Size, head.Size)
	case cp.Size == head.Size:
		if root != head.Root {
			return fmt.Errorf("%w: it rests on another ledger", errStatement)
		}
		return nil
	}
	proof, err := s.client.ConsistencyProof(s.ctx, cp.Size, head.Size)
	if err != nil {
		return err
	}
	if err := tlog.CheckTree(proof, int64(head.Size), head.Root, int64(cp.Size), root); err != nil {
		return fmt.Errorf("%w: it rests on another ledger: %w", errStatement, err)
	}
	return nil
}
