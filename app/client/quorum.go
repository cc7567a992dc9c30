package client

import (
	"context"
	"net/http"
	"net/url"

	"conclave/app/api"
)

// QuorumFilter narrows quorum health; the zero value takes everything.
type QuorumFilter struct {
	Operation string // with everybody who could take part in it
	ShareSet  string
	Level     string // lost, no-spare, spare
}

// QuorumHealth returns how share sets and operations would stand losses and pressure.
func (c *Client) QuorumHealth(ctx context.Context, f QuorumFilter) (api.QuorumHealth, error) {
	q := url.Values{}
	for name, value := range map[string]string{"operation": f.Operation, "share_set": f.ShareSet, "level": f.Level} {
		if value != "" {
			q.Set(name, value)
		}
	}
	return get[api.QuorumHealth](ctx, c, "/v1/quorum", q)
}

// SimulateQuorum asks what a change of people, roles or shares would come to. Nothing is changed.
func (c *Client) SimulateQuorum(ctx context.Context, in api.Supposition) (api.Simulation, error) {
	var out api.Simulation
	err := c.do(ctx, call{method: http.MethodPost, path: "/v1/quorum/simulate", body: in}, &out)
	return out, err
}

// CallPeople calls people to attend a ceremony.
func (c *Client) CallPeople(ctx context.Context, id string, in api.CallRequest) (api.Ceremony, error) {
	return c.act(ctx, id, "/call", in)
}

// AnswerCall says whether the caller will come to a ceremony.
func (c *Client) AnswerCall(ctx context.Context, id string, in api.AnswerRequest) (api.Ceremony, error) {
	return c.act(ctx, id, "/answer", in)
}

// Calendar returns the meeting of a ceremony as an iCalendar object (RFC 5545).
func (c *Client) Calendar(ctx context.Context, id string) ([]byte, error) {
	return c.raw(ctx, call{method: http.MethodGet, path: ceremonyPath(id, "/calendar"), accept: "text/calendar"}, maxAnswer)
}
