package person

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"conclave/app/api"
	"conclave/ceremony/statement"
	"conclave/custodian/strictjson"
)

// ErrStatement says that the service offered something else for signing than what it showed.
var ErrStatement = errors.New("statement refused: not what was shown")

// statementSkew is how far the service's clock may run ahead of ours.
const statementSkew = 30 * time.Second

// Review is asked once a statement has been checked and before its exact bytes are signed; an error leaves it
// unsigned. nil asks nobody.
type Review func(s statement.Statement, payload []byte) error

// Vote signs a decision on a ceremony, as Sign does, and hands it in.
func (p *Person) Vote(ctx context.Context, c *api.Ceremony, decision statement.Decision, review Review) (api.Ceremony, error) {
	envelope, err := p.Sign(ctx, c, decision, review)
	if err != nil {
		return api.Ceremony{}, err
	}
	return p.API.Vote(ctx, c.ID, envelope)
}

// Sign fetches the statement of a decision on a ceremony, checks that it says what the ceremony shows, for the
// pinned instance, on the ledger seen before, has it reviewed, and signs exactly those bytes. Errors wrap
// ErrStatement where the statement is another than what was shown.
func (p *Person) Sign(ctx context.Context, c *api.Ceremony, decision statement.Decision, review Review) ([]byte, error) {
	payload, err := p.API.Statement(ctx, c.ID, string(decision))
	if err != nil {
		return nil, err
	}
	s, err := statement.Parse(payload)
	if err != nil {
		return nil, fmt.Errorf("statement refused: %w", err)
	}
	if err := p.check(&s, c, decision); err != nil {
		return nil, err
	}
	if err := p.checkSeen(ctx, s.Checkpoint); err != nil {
		return nil, err
	}
	if review != nil {
		if err := review(s, payload); err != nil {
			return nil, err
		}
	}
	return p.Signer.Sign(statement.TypeStatement, payload)
}

// check compares every field with what was shown and what is pinned.
func (p *Person) check(s *statement.Statement, c *api.Ceremony, decision statement.Decision) error {
	params, err := strictjson.Canonical(c.Params)
	if err != nil {
		return fmt.Errorf("parameters of ceremony %s: %w", c.ID, err)
	}
	checkpoint := fmt.Sprintf("%d %s", s.Checkpoint.Size, base64.StdEncoding.EncodeToString(s.Checkpoint.Root[:]))
	for _, f := range []struct{ field, said, shown string }{
		{"instance", s.Instance, p.Trust.Instance},
		{"mode", string(s.Mode), p.Trust.Mode},
		{"ceremony", s.Ceremony, c.ID},
		{"operation", s.Operation, c.Operation},
		{"target.type", s.Target.Type, c.Target.Type},
		{"target.id", s.Target.ID, c.Target.ID},
		{"target.gov_revision", strconv.FormatUint(s.Target.GovRevision, 10), strconv.FormatUint(c.Target.GovRevision, 10)},
		{"policy", s.Policy, c.PolicyDigest},
		{"checkpoint", checkpoint, c.Checkpoint},
		{"requester", s.Requester, c.Requester.Name()},
		{"nonce", s.Nonce, c.Nonce},
		{"signer", s.Signer, p.Signer.ID()},
		{"decision", string(s.Decision), string(decision)},
	} {
		if f.said != f.shown {
			return fmt.Errorf("%w: %s is %q in the statement, %q was shown or is pinned", ErrStatement, f.field, f.said, f.shown)
		}
	}
	if !bytes.Equal(s.Params, params) {
		return fmt.Errorf("%w: params are %s in the statement, %s was shown", ErrStatement, s.Params, params)
	}
	return s.ValidAt(p.Clock.Now(), statementSkew)
}

// checkSeen proves that the checkpoint in a statement belongs to the ledger that this client knows.
func (p *Person) checkSeen(ctx context.Context, cp statement.Checkpoint) error {
	head, prove, err := p.API.CheckLedgerFrom(ctx, p.Trust, p.StateDir, cp.Size)
	if err != nil {
		return err
	}
	root := tlog.Hash(cp.Root)
	switch {
	case cp.Size == 0 || cp.Size > head.Size:
		return fmt.Errorf("%w: it rests on a ledger of %d entries, the ledger has %d", ErrStatement, cp.Size, head.Size)
	case cp.Size == head.Size:
		if root != head.Root {
			return fmt.Errorf("%w: it rests on another ledger", ErrStatement)
		}
		return nil
	}
	proof, err := prove(ctx, cp.Size, head.Size)
	if err != nil {
		return err
	}
	if err := tlog.CheckTree(proof, int64(head.Size), head.Root, int64(cp.Size), root); err != nil {
		return fmt.Errorf("%w: it rests on another ledger: %w", ErrStatement, err)
	}
	return nil
}
