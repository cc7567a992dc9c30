package client

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"net/http"
	"net/url"

	"conclave/app/api"
	"conclave/ceremony/script"
)

// Proposed is a ceremony that was asked for and, once and never again, a secret it delivered.
type Proposed struct {
	Ceremony api.Ceremony
	Once     string // e.g. a token
}

// Propose asks for a governed operation. params is its parameters, encoded as JSON.
func (c *Client) Propose(ctx context.Context, operation string, params any, reason string) (Proposed, error) {
	raw, err := json.Marshal(params)
	if err != nil {
		return Proposed{}, fmt.Errorf("encoding params of %s: %w", operation, err)
	}
	var out api.ProposeResponse
	err = c.do(ctx, call{
		method: http.MethodPost, path: "/v1/ceremonies", control: true, canonical: true,
		body: api.ProposeRequest{Operation: operation, Params: raw, Reason: reason},
	}, &out)
	if err != nil {
		return Proposed{}, err
	}
	p := Proposed{Once: out.Once}
	if err := json.Unmarshal(out.Ceremony, &p.Ceremony); err != nil {
		return p, fmt.Errorf("reading proposed ceremony: %w", err)
	}
	return p, nil
}

// Ceremonies walks ceremonies: the open ones, newest first, or all, then with those that ended last first.
func (c *Client) Ceremonies(ctx context.Context, all bool) iter.Seq2[api.Ceremony, error] {
	state := "open"
	if all {
		state = "all"
	}
	return pages[api.Ceremony](ctx, c, "/v1/ceremonies", url.Values{"state": {state}})
}

// Ceremony returns one ceremony.
func (c *Client) Ceremony(ctx context.Context, id string) (api.Ceremony, error) {
	return get[api.Ceremony](ctx, c, ceremonyPath(id, ""), nil)
}

// Statement returns the exact bytes that the calling person would sign for a decision. Read them with
// package statement and compare them with what was shown before signing.
func (c *Client) Statement(ctx context.Context, id, decision string) ([]byte, error) {
	out, err := get[api.StatementResponse](ctx, c, ceremonyPath(id, "/statement"), url.Values{"decision": {decision}})
	return out.Payload, err
}

// Vote hands in a signed statement.
func (c *Client) Vote(ctx context.Context, id string, envelope []byte) (api.Ceremony, error) {
	return c.act(ctx, id, "/votes", api.VoteRequest{Envelope: envelope})
}

// SubmitShare hands in a share sealed to the collector, with its holder's signed approval.
func (c *Client) SubmitShare(ctx context.Context, id string, in api.ShareSubmission) (api.Ceremony, error) {
	return c.act(ctx, id, "/shares", in)
}

// SubmitComponent hands in a component of a key sealed to the collector, with its custodian's signed approval.
func (c *Client) SubmitComponent(ctx context.Context, id string, in api.ComponentSubmission) (api.Ceremony, error) {
	return c.act(ctx, id, "/components", in)
}

// Cancel withdraws a ceremony.
func (c *Client) Cancel(ctx context.Context, id, reason string) (api.Ceremony, error) {
	return c.act(ctx, id, "/cancel", api.CancelRequest{Reason: reason})
}

// Execute tries a due ceremony again.
func (c *Client) Execute(ctx context.Context, id string) (api.Ceremony, error) {
	return c.act(ctx, id, "/execute", nil)
}

// Transcript returns the ceremony's transcript: a DSSE envelope signed by the node key.
func (c *Client) Transcript(ctx context.Context, id string) ([]byte, error) {
	return c.raw(ctx, call{method: http.MethodGet, path: ceremonyPath(id, "/transcript")}, maxAnswer)
}

// Script returns the record of a ceremony that is held by its script.
func (c *Client) Script(ctx context.Context, id string) (script.Run, error) {
	return get[script.Run](ctx, c, ceremonyPath(id, "/script"), nil)
}

// BeginScript begins to hold a ceremony by its script, as its administrator.
func (c *Client) BeginScript(ctx context.Context, id string, in api.BeginScriptRequest) (script.Run, error) {
	var out script.Run
	err := c.do(ctx, call{method: http.MethodPost, path: ceremonyPath(id, "/script"), body: in, control: true}, &out)
	return out, err
}

// ActInScript does something in a ceremony held by its script.
func (c *Client) ActInScript(ctx context.Context, id string, act script.Act) (script.Run, error) {
	var out script.Run
	err := c.do(ctx, call{method: http.MethodPost, path: ceremonyPath(id, "/script/acts"), body: act, control: true}, &out)
	return out, err
}

func (c *Client) act(ctx context.Context, id, action string, body any) (api.Ceremony, error) {
	var out api.Ceremony
	err := c.do(ctx, call{method: http.MethodPost, path: ceremonyPath(id, action), body: body, control: true}, &out)
	return out, err
}

func ceremonyPath(id, rest string) string { return "/v1/ceremonies/" + url.PathEscape(id) + rest }
