package cast

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"conclave/app/api"
	"conclave/app/client"
	"conclave/app/client/person"
	"conclave/custodian/clock"
	"conclave/custodian/ledger"
	"conclave/hsm/secret"
)

// Cast is the people of one instance and the way to it.
type Cast struct {
	Members []*Member
	URL, CA string
	Trust   *ledger.TrustFile
	Seen    string // folder where each keeps the highest checkpoint seen
	Clock   clock.Clock
}

// Member finds a person, nil for nobody.
func (c *Cast) Member(id string) *Member {
	for _, m := range c.Members {
		if m.ID == id {
			return m
		}
	}
	return nil
}

// Act gives a member their connection.
func (c *Cast) Act(id string) (*Actor, error) {
	m := c.Member(id)
	if m == nil {
		return nil, fmt.Errorf("nobody in the demo is called %s", id)
	}
	api, err := client.New(client.Config{URL: c.URL, CAFile: c.CA, Signer: m.signer, Person: m.ID, Instance: c.Trust.Instance, Clock: c.Clock})
	if err != nil {
		return nil, err
	}
	return &Actor{m, &person.Person{API: api, Signer: m.signer, Trust: c.Trust, StateDir: filepath.Join(c.Seen, id), Clock: c.Clock}}, nil
}

// Bearer is a connection with a token.
func (c *Cast) Bearer(token string) (*client.Client, error) {
	return client.New(client.Config{URL: c.URL, CAFile: c.CA, Token: secret.New([]byte(token)), Clock: c.Clock})
}

// Alone does what one person may do.
func (c *Cast) Alone(ctx context.Context, by, operation string, params any, reason string) (client.Proposed, error) {
	a, err := c.Act(by)
	if err != nil {
		return client.Proposed{}, err
	}
	done, err := a.API.Propose(ctx, operation, params, reason)
	if err != nil {
		return done, fmt.Errorf("%s doing %s: %w", by, operation, err)
	}
	if done.Ceremony.State != "completed" {
		return done, fmt.Errorf("%s by %s alone: %s", operation, by, done.Ceremony.State)
	}
	return done, nil
}

// Govern proposes as one person and lets others approve; each approval is told. The ceremony must complete.
func (c *Cast) Govern(ctx context.Context, by, operation string, params any, reason string, told func(*Member, api.Ceremony), approvers ...string) (api.Ceremony, error) {
	ceremony, err := c.Gather(ctx, by, operation, params, reason, told, approvers...)
	if err == nil && ceremony.State != "completed" {
		err = fmt.Errorf("%s is %s: %s", operation, ceremony.State, ceremony.Outcome)
	}
	return ceremony, err
}

// Gather is Govern of a ceremony that need not be complete then: it may wait.
func (c *Cast) Gather(ctx context.Context, by, operation string, params any, reason string, told func(*Member, api.Ceremony), approvers ...string) (api.Ceremony, error) {
	a, err := c.Act(by)
	if err != nil {
		return api.Ceremony{}, err
	}
	proposed, err := a.API.Propose(ctx, operation, params, reason)
	if err != nil {
		return api.Ceremony{}, fmt.Errorf("%s proposing %s: %w", by, operation, err)
	}
	return c.Approve(ctx, proposed.Ceremony, told, approvers...)
}

// Approve lets people approve a ceremony, one after the other.
func (c *Cast) Approve(ctx context.Context, ceremony api.Ceremony, told func(*Member, api.Ceremony), approvers ...string) (api.Ceremony, error) {
	for _, id := range approvers {
		a, err := c.Act(id)
		if err != nil {
			return ceremony, err
		}
		if ceremony, err = a.Approve(ctx, ceremony); err != nil {
			return ceremony, fmt.Errorf("%s approving %s: %w", id, ceremony.Operation, err)
		}
		if told != nil {
			told(a.Member, ceremony)
		}
	}
	return ceremony, nil
}

// Bring lets holders bring their shares to a ceremony, one after the other, until it completes.
func (c *Cast) Bring(ctx context.Context, ceremony api.Ceremony, told func(*Member, api.Ceremony), holders ...string) (api.Ceremony, error) {
	for _, id := range holders {
		a, err := c.Act(id)
		if err != nil {
			return ceremony, err
		}
		if ceremony, err = a.Bring(ctx, ceremony, nil); err != nil {
			return ceremony, fmt.Errorf("%s bringing a share to %s: %w", id, ceremony.Operation, err)
		}
		if told != nil {
			told(a.Member, ceremony)
		}
	}
	if ceremony.State != "completed" {
		return ceremony, fmt.Errorf("%s is %s: %s", ceremony.Operation, ceremony.State, ceremony.Outcome)
	}
	return ceremony, nil
}

// Activate lets holders open a keystore.
func (c *Cast) Activate(ctx context.Context, keystore string, told func(*Member, api.Ceremony), holders ...string) error {
	first, err := c.Act(holders[0])
	if err != nil {
		return err
	}
	proposed, err := first.API.Propose(ctx, "keystore.activate", map[string]any{"keystore": keystore}, "start of the day")
	if err != nil {
		return fmt.Errorf("calling for the activation of %s: %w", keystore, err)
	}
	_, err = c.Bring(ctx, proposed.Ceremony, told, holders...)
	return err
}

// Refusal is the problem that an error carries; an error that is no refusal, and nil, are errors.
func Refusal(err error) (*client.Problem, error) {
	var p *client.Problem
	if !errors.As(err, &p) {
		return nil, fmt.Errorf("a refusal was expected, got %w", errors.Join(err, errors.New("none")))
	}
	return p, nil
}
