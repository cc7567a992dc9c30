package client

import (
	"context"

	"conclave/app/api"
)

// LogDays returns the summaries of the ledger's days.
func (c *Client) LogDays(ctx context.Context) ([]api.LogDay, error) {
	return items[api.LogDay](ctx, c, "/v1/log-days")
}
