package client

import (
	"context"
	"net/url"

	"conclave/app/api"
)

// LogDays returns the summaries of the ledger's days.
func (c *Client) LogDays(ctx context.Context) ([]api.LogDay, error) {
	return items[api.LogDay](ctx, c, "/v1/log-days")
}

// LogDay returns the summary of one day, as 2006-01-02.
func (c *Client) LogDay(ctx context.Context, day string) (api.LogDay, error) {
	return get[api.LogDay](ctx, c, "/v1/log-days/"+url.PathEscape(day), nil)
}
