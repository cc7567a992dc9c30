package person

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"

	"conclave/app/api"
	"conclave/app/client"
	"conclave/ceremony/shamir"
	"conclave/ceremony/statement"
)

// ErrNoShare says that the person holds no share of a set.
var ErrNoShare = errors.New("no share held")

// OpenShare opens one's own sealed share and names it when it is not the one that the register knows. The share is
// the caller's to wipe.
func (p *Person) OpenShare(line api.Share) (*shamir.Share, error) {
	share, err := p.take(line)
	if err != nil {
		return nil, err
	}
	err = shamir.CheckShare(share, shamir.Register{
		Set: shamir.Set{ID: line.Set, Epoch: line.Epoch}, Commitments: map[int][]byte{line.Index: line.Commitment},
	})
	if err != nil {
		share.Wipe()
		return nil, err
	}
	return share, nil
}

// OnCard reports whether a share is the one read from paper, or may be any because none was read.
func (p *Person) OnCard(line api.Share) bool {
	return p.Card == nil || p.Card.Set() == (shamir.Set{ID: line.Set, Epoch: line.Epoch}) && p.Card.Index() == line.Index
}

// take gets the share from paper where the card is this share's, else opens the sealed one.
func (p *Person) take(line api.Share) (*shamir.Share, error) {
	if p.Card != nil && p.OnCard(line) {
		encoded, err := p.Card.Encode()
		if err != nil {
			return nil, err
		}
		defer encoded.Wipe()
		return shamir.ParseShare(encoded)
	}
	if p.Opener != nil {
		return p.Opener.OpenShare(line.Sealed)
	}
	return p.Signer.OpenShare(line.Sealed)
}

// ShareFor opens the person's share that a ceremony takes: of the set and the epoch that it names. The error wraps
// ErrNoShare where they hold none of that epoch.
func (p *Person) ShareFor(ctx context.Context, c *api.Ceremony) (*shamir.Share, error) {
	lines, err := p.API.MyShares(ctx)
	if err != nil {
		return nil, err
	}
	for i := range lines {
		if x := &lines[i]; x.Set == c.ShareSet && x.Epoch == c.ShareEpoch && (x.Status == "issued" || x.Status == "confirmed") {
			return p.OpenShare(*x)
		}
	}
	return nil, fmt.Errorf("%w: %s, of set %s epoch %d", ErrNoShare, p.Signer.ID(), c.ShareSet, c.ShareEpoch)
}

// ProveShare opens a share and signs its challenge with it: the parameters of share.confirm and share.drill. The
// share stays here.
func (p *Person) ProveShare(line api.Share) (map[string]any, error) {
	share, err := p.OpenShare(line)
	if err != nil {
		return nil, err
	}
	defer share.Wipe()
	challenge, err := base64.StdEncoding.DecodeString(line.Challenge)
	if err != nil {
		return nil, fmt.Errorf("challenge of %s: %w", share, err)
	}
	signature, err := share.Sign(challenge)
	if err != nil {
		return nil, err
	}
	return map[string]any{
		"set": line.Set, "epoch": line.Epoch, "index": line.Index, "challenge": line.Challenge,
		"signature": base64.StdEncoding.EncodeToString(signature),
	}, nil
}

// Collector returns the key that shares are sealed to now, signed by a node that the trust file pins.
func (p *Person) Collector(ctx context.Context) (api.CollectorKey, shamir.Recipient, error) {
	collector, err := p.API.Collector(ctx)
	if err != nil {
		return api.CollectorKey{}, shamir.Recipient{}, err
	}
	return client.VerifyCollector(p.Trust, collector)
}

// BringShare signs the approval of a ceremony that takes shares, as Sign does, and hands it in together with the share, sealed to
// the collector.
func (p *Person) BringShare(ctx context.Context, c *api.Ceremony, share *shamir.Share, collector shamir.Recipient, review Review) (api.Ceremony, error) {
	envelope, err := p.Sign(ctx, c, statement.Approve, review)
	if err != nil {
		return api.Ceremony{}, err
	}
	sealed, err := shamir.Seal(share, collector)
	if err != nil {
		return api.Ceremony{}, err
	}
	return p.API.SubmitShare(ctx, c.ID, api.ShareSubmission{Envelope: envelope, Sealed: sealed})
}
