package cast

import (
	"context"
	"fmt"

	"conclave/app/api"
	"conclave/app/client/person"
	"conclave/ceremony/shamir"
	"conclave/ceremony/statement"
	"conclave/custodian/people"
)

// Actor is a member at work.
type Actor struct {
	*Member
	*person.Person
}

// Acknowledge signs the form of duties.
func (a *Actor) Acknowledge(ctx context.Context) error {
	terms, err := a.Terms(ctx, people.Terms{})
	if err != nil {
		return err
	}
	params, err := a.Person.Acknowledge(terms)
	if err != nil {
		return err
	}
	_, err = a.API.Propose(ctx, "acknowledgement.sign", params, "")
	return err
}

// ProveShares proves possession of every share of a status that the member holds: a challenge is signed, no share
// travels. It returns how many there were.
func (a *Actor) ProveShares(ctx context.Context, operation, status string) (int, error) {
	lines, err := a.API.MyShares(ctx)
	if err != nil {
		return 0, err
	}
	n := 0
	for _, line := range lines {
		if line.Status != status {
			continue
		}
		params, err := a.ProveShare(line)
		if err != nil {
			return n, err
		}
		if _, err := a.API.Propose(ctx, operation, params, ""); err != nil {
			return n, fmt.Errorf("%s of share %d of %s: %w", operation, line.Index, line.Set, err)
		}
		n++
	}
	return n, nil
}

// Approve signs and hands in an approval.
func (a *Actor) Approve(ctx context.Context, ceremony api.Ceremony) (api.Ceremony, error) {
	return a.Vote(ctx, &ceremony, statement.Approve, nil)
}

// Bring hands in the member's share for a ceremony that gathers shares. alter, if given, replaces the share before it
// is sealed: a story shows a wrong one that way.
func (a *Actor) Bring(ctx context.Context, ceremony api.Ceremony, alter func(*shamir.Share) (*shamir.Share, error)) (api.Ceremony, error) {
	var none api.Ceremony
	_, recipient, err := a.Collector(ctx)
	if err != nil {
		return none, err
	}
	share, err := a.ShareFor(ctx, &ceremony)
	if err != nil {
		return none, err
	}
	defer func() { share.Wipe() }()
	if alter != nil {
		wrong, err := alter(share)
		if err != nil {
			return none, err
		}
		share.Wipe()
		share = wrong
	}
	return a.BringShare(ctx, &ceremony, share, recipient, nil)
}
