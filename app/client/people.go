package client

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"

	"conclave/app/api"
)

// Person returns one person of the register, with all approval keys that they have or had.
func (c *Client) Person(ctx context.Context, id string) (api.Person, error) {
	return get[api.Person](ctx, c, "/v1/people/"+url.PathEscape(id), nil)
}

// Invitations returns the invitations to hand in keys, without their secrets.
func (c *Client) Invitations(ctx context.Context) ([]api.KeyInvitation, error) {
	return items[api.KeyInvitation](ctx, c, "/v1/invitations")
}

// Invitation returns what the bearer of an invitation, whose secret is the client's token, is invited to.
func (c *Client) Invitation(ctx context.Context) (api.KeyInvitation, error) {
	return get[api.KeyInvitation](ctx, c, "/v1/invitation", nil)
}

// Join hands in public keys as the bearer of an invitation: a signed joining. Handing in the same again is harmless.
func (c *Client) Join(ctx context.Context, envelope []byte) (api.KeyInvitation, error) {
	var out api.KeyInvitation
	err := c.do(ctx, call{method: http.MethodPost, path: "/v1/invitation", body: api.InvitationAnswer{Envelope: json.RawMessage(envelope)}}, &out)
	return out, err
}

// Duties returns what must follow from departures and lost devices, the most urgent first: what is open, or all.
func (c *Client) Duties(ctx context.Context, all bool) ([]api.Duty, error) {
	state := "open"
	if all {
		state = "all"
	}
	out, err := get[api.Page[api.Duty]](ctx, c, "/v1/duties", url.Values{"state": {state}})
	return out.Items, err
}

// Alerts returns what people should look at now.
func (c *Client) Alerts(ctx context.Context) ([]api.Alert, error) {
	return items[api.Alert](ctx, c, "/v1/alerts")
}
