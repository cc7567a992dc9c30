package client

import (
	"context"
	"net/http"
	"net/url"

	"conclave/app/api"
)

// Bundles returns every policy bundle that is kept, and which was in force when.
func (c *Client) Bundles(ctx context.Context) (api.PolicyBundles, error) {
	return get[api.PolicyBundles](ctx, c, "/v1/policy/bundles", nil)
}

// Bundle returns one bundle and what it would change of the one in force.
func (c *Client) Bundle(ctx context.Context, digest string) (api.BundleDetail, error) {
	return get[api.BundleDetail](ctx, c, bundlePath(digest, ""), nil)
}

// BundleFiles returns a bundle's files as an archive. Believe them only after computing their digest.
func (c *Client) BundleFiles(ctx context.Context, digest string) ([]byte, error) {
	return c.raw(ctx, call{method: http.MethodGet, path: bundlePath(digest, "/files")}, maxAnswer)
}

// HandIn hands a signed bundle in.
func (c *Client) HandIn(ctx context.Context, in api.BundleUpload) (api.BundleDetail, error) {
	var out api.BundleDetail
	err := c.do(ctx, call{method: http.MethodPost, path: "/v1/policy/bundles", body: in, control: true}, &out)
	return out, err
}

// Backtest returns how the trial of a bundle stands, and its report.
func (c *Client) Backtest(ctx context.Context, digest string) (api.Backtest, error) {
	return get[api.Backtest](ctx, c, bundlePath(digest, "/backtest"), nil)
}

// StartBacktest begins the trial of a bundle.
func (c *Client) StartBacktest(ctx context.Context, digest string) (api.Backtest, error) {
	return c.onBacktest(ctx, digest, "/backtest")
}

// CancelBacktest stops it.
func (c *Client) CancelBacktest(ctx context.Context, digest string) (api.Backtest, error) {
	return c.onBacktest(ctx, digest, "/backtest/cancel")
}

func (c *Client) onBacktest(ctx context.Context, digest, action string) (api.Backtest, error) {
	var out api.Backtest
	err := c.do(ctx, call{method: http.MethodPost, path: bundlePath(digest, action), control: true}, &out)
	return out, err
}

// Procedures returns the bundle in force in words: markdown, html or json.
func (c *Client) Procedures(ctx context.Context, format string) ([]byte, error) {
	return c.raw(ctx, call{method: http.MethodGet, path: "/v1/policy/procedures", query: url.Values{"format": {format}}}, maxAnswer)
}

func bundlePath(digest, rest string) string {
	return "/v1/policy/bundles/" + url.PathEscape(digest) + rest
}
