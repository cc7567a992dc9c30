package person

import (
	"context"
	"fmt"
	"slices"

	"conclave/app/api"
	"conclave/ceremony/component"
	"conclave/ceremony/shamir"
	"conclave/ceremony/statement"
	"conclave/hsm/secret"
)

// Slot is the component of a key that the person is to bring to a ceremony, and what its form states.
func (p *Person) Slot(c *api.Ceremony) (api.Component, error) {
	for _, s := range c.Components {
		if s.Custodian == p.Signer.ID() {
			return s, nil
		}
	}
	return api.Component{}, fmt.Errorf("ceremony %s: no component of it is for %s to enter", c.ID, p.Signer.ID())
}

// BringComponent hands in the person's component of a key, sealed to the collector, together with their signed approval
// where it is not given yet.
func (p *Person) BringComponent(ctx context.Context, c *api.Ceremony, value *secret.Bytes, collector shamir.Recipient, review Review) (api.Ceremony, error) {
	slot, err := p.Slot(c)
	if err != nil {
		return api.Ceremony{}, err
	}
	var envelope []byte
	approved := slices.ContainsFunc(c.Votes, func(v api.Vote) bool {
		return v.Person == p.Signer.ID() && v.Decision == string(statement.Approve)
	})
	if !approved {
		if envelope, err = p.Sign(ctx, c, statement.Approve, review); err != nil {
			return api.Ceremony{}, err
		}
	}
	sealed, err := component.Seal(component.Binding{Ceremony: c.ID, Index: slot.Index}, value, collector)
	if err != nil {
		return api.Ceremony{}, err
	}
	return p.API.SubmitComponent(ctx, c.ID, api.ComponentSubmission{Envelope: envelope, Sealed: sealed})
}
