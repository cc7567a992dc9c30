package demo

import (
	"context"
	"fmt"
	"path/filepath"

	"conclave/app/api"
	"conclave/app/client"
	"conclave/app/client/person"
	"conclave/ceremony/shamir"
	"conclave/ceremony/statement"
	"conclave/custodian/clock"
	"conclave/custodian/people"
	"conclave/hsm/secret"
)

// actor is a demo person at work through the public API, with nothing but their key file.
type actor struct {
	*Member
	*person.Person
}

// act gives a person their connection.
func (d *demo) act(id string) (*actor, error) {
	m := d.state.member(id)
	if m == nil {
		return nil, fmt.Errorf("nobody in the demo is called %s", id)
	}
	c, err := client.New(client.Config{URL: d.state.URL, CAFile: d.state.CA, Signer: m.signer, Person: m.ID, Instance: d.trust.Instance})
	if err != nil {
		return nil, err
	}
	seen := filepath.Join(d.dir, "seen", id)
	return &actor{m, &person.Person{API: c, Signer: m.signer, Trust: d.trust, StateDir: seen, Clock: clock.NewSystem()}}, nil
}

// acknowledge signs the form of duties.
func (a *actor) acknowledge(ctx context.Context) error {
	terms, err := a.Terms(ctx, people.Terms{})
	if err != nil {
		return err
	}
	params, err := a.Acknowledge(terms)
	if err != nil {
		return err
	}
	_, err = a.API.Propose(ctx, "acknowledgement.sign", params, "")
	return err
}

// confirm proves possession of every share the person holds: a challenge is signed, no share travels.
func (a *actor) confirm(ctx context.Context) (int, error) {
	lines, err := a.API.MyShares(ctx)
	if err != nil {
		return 0, err
	}
	for _, line := range lines {
		params, err := a.ProveShare(line)
		if err != nil {
			return 0, err
		}
		if _, err := a.API.Propose(ctx, "share.confirm", params, ""); err != nil {
			return 0, fmt.Errorf("confirming share %d of %s: %w", line.Index, line.Set, err)
		}
	}
	return len(lines), nil
}

// approve signs and hands in an approval.
func (a *actor) approve(ctx context.Context, ceremony api.Ceremony) (api.Ceremony, error) {
	return a.Vote(ctx, &ceremony, statement.Approve, nil)
}

// bring hands in the person's share for the activation of a keystore. alter, if given, replaces the share
// before it is sealed: the story shows a wrong one that way.
func (a *actor) bring(ctx context.Context, ceremony api.Ceremony, alter func(*shamir.Share) (*shamir.Share, error)) (api.Ceremony, error) {
	var none api.Ceremony
	_, recipient, err := a.Collector(ctx)
	if err != nil {
		return none, err
	}
	share, err := a.ShareOf(ctx, ceremony.ShareSet)
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

// forge makes a share that looks right from outside, set, epoch and index included, and is not.
func forge(share *shamir.Share) (*shamir.Share, error) {
	other := secret.Random(32)
	defer other.Wipe()
	shares, err := shamir.Split(other, threshold, len(holders()), share.Set())
	if err != nil {
		return nil, err
	}
	var wrong *shamir.Share
	for _, s := range shares {
		if s.Index() == share.Index() {
			wrong = s
			continue
		}
		s.Wipe()
	}
	return wrong, nil
}
