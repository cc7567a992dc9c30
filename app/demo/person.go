package demo

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"conclave/app/api"
	"conclave/app/client"
	"conclave/ceremony/shamir"
	"conclave/ceremony/statement"
	"conclave/custodian/ledger"
	"conclave/custodian/people"
	"conclave/hsm/secret"
)

// actor is a demo person at work through the public API, with nothing but their key file.
type actor struct {
	*Member
	api   *client.Client
	trust *ledger.TrustFile
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
	return &actor{Member: m, api: c, trust: d.trust}, nil
}

// acknowledge signs the form of duties.
func (a *actor) acknowledge(ctx context.Context, now time.Time) error {
	terms := people.NewTerms(&people.Person{ID: a.ID, Name: a.Name, Roles: a.roles}, nil, now)
	raw, err := json.Marshal(terms)
	if err != nil {
		return err
	}
	payload, err := statement.Canonical(raw)
	if err != nil {
		return err
	}
	envelope, err := a.signer.Sign(acknowledgementType, payload)
	if err != nil {
		return err
	}
	_, err = a.api.Propose(ctx, "acknowledgement.sign", map[string]any{"envelope": json.RawMessage(envelope)}, "")
	return err
}

// shares opens the person's own sealed shares.
func (a *actor) shares(ctx context.Context) ([]api.Share, error) {
	all, err := a.api.MyShares(ctx)
	if err == nil && len(all) == 0 {
		err = fmt.Errorf("%s holds no share", a.ID)
	}
	return all, err
}

// confirm proves possession of every share the person holds: a challenge is signed, no share travels.
func (a *actor) confirm(ctx context.Context) (int, error) {
	all, err := a.shares(ctx)
	if err != nil {
		return 0, err
	}
	for _, line := range all {
		share, err := a.signer.OpenShare(line.Sealed)
		if err != nil {
			return 0, err
		}
		challenge, err := base64.StdEncoding.DecodeString(line.Challenge)
		if err != nil {
			return 0, fmt.Errorf("reading the challenge: %w", err)
		}
		signature, err := share.Sign(challenge)
		share.Wipe()
		if err != nil {
			return 0, err
		}
		_, err = a.api.Propose(ctx, "share.confirm", map[string]any{"set": line.Set, "epoch": line.Epoch, "index": line.Index,
			"challenge": challenge, "signature": signature}, "")
		if err != nil {
			return 0, fmt.Errorf("confirming share %d of %s: %w", line.Index, line.Set, err)
		}
	}
	return len(all), nil
}

// vote fetches the statement of a ceremony, checks that it says what the ceremony says, and signs it.
func (a *actor) vote(ctx context.Context, ceremony api.Ceremony, decision string) (json.RawMessage, error) {
	payload, err := a.api.Statement(ctx, ceremony.ID, decision)
	if err != nil {
		return nil, err
	}
	s, err := statement.Parse(payload)
	if err != nil {
		return nil, err
	}
	if s.Instance != a.trust.Instance || s.Ceremony != ceremony.ID || s.Operation != ceremony.Operation || s.Signer != a.ID {
		return nil, errors.New("the statement offered for signing is not about this ceremony")
	}
	return a.signer.Sign(statement.TypeStatement, payload)
}

// approve signs and hands in an approval.
func (a *actor) approve(ctx context.Context, ceremony api.Ceremony) (api.Ceremony, error) {
	envelope, err := a.vote(ctx, ceremony, "approve")
	if err != nil {
		return api.Ceremony{}, err
	}
	return a.api.Vote(ctx, ceremony.ID, envelope)
}

// bring hands in the person's share for the activation of a keystore. alter, if given, replaces the share
// before it is sealed: the story shows a wrong one that way.
func (a *actor) bring(ctx context.Context, ceremony api.Ceremony, alter func(*shamir.Share) (*shamir.Share, error)) (api.Ceremony, error) {
	var none api.Ceremony
	collector, err := a.api.Collector(ctx)
	if err != nil {
		return none, err
	}
	_, recipient, err := client.VerifyCollector(a.trust, collector)
	if err != nil {
		return none, err
	}
	share, err := a.shareOf(ctx, ceremony.ShareSet)
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
	envelope, err := a.vote(ctx, ceremony, "approve")
	if err != nil {
		return none, err
	}
	sealed, err := shamir.Seal(share, recipient)
	if err != nil {
		return none, err
	}
	return a.api.SubmitShare(ctx, ceremony.ID, api.ShareSubmission{Envelope: envelope, Sealed: sealed})
}

func (a *actor) shareOf(ctx context.Context, set string) (*shamir.Share, error) {
	all, err := a.shares(ctx)
	if err != nil {
		return nil, err
	}
	for _, line := range all {
		if line.Set == set {
			return a.signer.OpenShare(line.Sealed)
		}
	}
	return nil, fmt.Errorf("%s holds no share of %s", a.ID, set)
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
