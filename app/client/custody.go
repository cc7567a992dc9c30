package client

import (
	"context"
	"iter"
	"maps"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"conclave/app/api"
)

// Status is what anybody may know of the service; keystores only with credentials.
func (c *Client) Status(ctx context.Context) (api.Status, error) {
	return get[api.Status](ctx, c, "/v1/status", nil)
}

// Keys walks the keys the caller may see.
func (c *Client) Keys(ctx context.Context) iter.Seq2[api.Key, error] {
	return pages[api.Key](ctx, c, "/v1/keys", nil)
}

// Key returns one key.
func (c *Client) Key(ctx context.Context, id string) (api.Key, error) {
	return get[api.Key](ctx, c, "/v1/keys/"+url.PathEscape(id), nil)
}

// Versions returns a key's versions with their history.
func (c *Client) Versions(ctx context.Context, key string) ([]api.Version, error) {
	return items[api.Version](ctx, c, keyPath(key, "versions"))
}

// Exposure returns who used a key version since a time (zero: ever), and what is under it.
func (c *Client) Exposure(ctx context.Context, key string, version uint32, since time.Time) (api.Exposure, error) {
	q := url.Values{}
	if !since.IsZero() {
		q.Set("since", since.UTC().Format(time.RFC3339))
	}
	return get[api.Exposure](ctx, c, keyPath(key, "versions")+"/"+strconv.FormatUint(uint64(version), 10)+"/exposure", q)
}

// Nodes returns the register of nodes.
func (c *Client) Nodes(ctx context.Context) ([]api.Node, error) {
	return items[api.Node](ctx, c, "/v1/nodes")
}

// SignedNodes returns the list of enrolled nodes as the node that answers signed it: see package ceremony/nodes.
func (c *Client) SignedNodes(ctx context.Context) ([]byte, error) {
	out, err := get[api.NodeDocument](ctx, c, "/v1/nodes/signed", nil)
	return out.Envelope, err
}

// JoinNode hands in an enrolled node's signed call and returns the signed answer, which is sealed to the call's key.
func (c *Client) JoinNode(ctx context.Context, envelope []byte) ([]byte, error) {
	var out api.NodeDocument
	err := c.do(ctx, call{method: http.MethodPost, path: "/v1/nodes/join", body: api.NodeDocument{Envelope: envelope}}, &out)
	return out.Envelope, err
}

// Keystores returns the register of keystores.
func (c *Client) Keystores(ctx context.Context) ([]api.Keystore, error) {
	return items[api.Keystore](ctx, c, "/v1/keystores")
}

// People returns the register of people.
func (c *Client) People(ctx context.Context) ([]api.Person, error) {
	return items[api.Person](ctx, c, "/v1/people")
}

// Applications returns the register of applications.
func (c *Client) Applications(ctx context.Context) ([]api.Application, error) {
	return items[api.Application](ctx, c, "/v1/applications")
}

// Grants returns who may use which key.
func (c *Client) Grants(ctx context.Context) ([]api.Grant, error) {
	return items[api.Grant](ctx, c, "/v1/grants")
}

// Templates returns the templates that keys can be made under.
func (c *Client) Templates(ctx context.Context) ([]api.Template, error) {
	return items[api.Template](ctx, c, "/v1/templates")
}

// Assets returns the register of data under keys.
func (c *Client) Assets(ctx context.Context) ([]api.Asset, error) {
	return items[api.Asset](ctx, c, "/v1/assets")
}

// Campaigns returns the rewrap campaigns and what is left of each.
func (c *Client) Campaigns(ctx context.Context) ([]api.Campaign, error) {
	return items[api.Campaign](ctx, c, "/v1/campaigns")
}

// WrappingKeys returns the one-time pairs that keys made elsewhere are wrapped for, ended ones too.
func (c *Client) WrappingKeys(ctx context.Context) ([]api.WrappingKey, error) {
	return items[api.WrappingKey](ctx, c, "/v1/wrappingkeys")
}

// WrappingKeyFile returns the node's signed statement of a wrapping key that is open. Believe it only after
// importfile.Open.
func (c *Client) WrappingKeyFile(ctx context.Context, id string) ([]byte, error) {
	out, err := get[api.WrappingKeyFile](ctx, c, "/v1/wrappingkeys/"+url.PathEscape(id)+"/public", nil)
	return out.Envelope, err
}

// Tokens returns the register of tokens, without secrets.
func (c *Client) Tokens(ctx context.Context) ([]api.Token, error) {
	return items[api.Token](ctx, c, "/v1/tokens")
}

// Holds returns legal holds.
func (c *Client) Holds(ctx context.Context) ([]api.Hold, error) {
	return items[api.Hold](ctx, c, "/v1/holds")
}

// Retention returns how long records are kept.
func (c *Client) Retention(ctx context.Context) ([]api.Retention, error) {
	return items[api.Retention](ctx, c, "/v1/retention")
}

// Segments returns the runs of ledger entries that were moved out of the database.
func (c *Client) Segments(ctx context.Context) ([]api.Segment, error) {
	return items[api.Segment](ctx, c, "/v1/ledger/segments")
}

// Reviews returns what was, or must be, reviewed by somebody who took no part.
func (c *Client) Reviews(ctx context.Context) ([]api.Review, error) {
	return items[api.Review](ctx, c, "/v1/reviews")
}

// Findings returns what somebody must put right, and what was.
func (c *Client) Findings(ctx context.Context) ([]api.Finding, error) {
	return items[api.Finding](ctx, c, "/v1/findings")
}

// Exceptions returns accepted risks.
func (c *Client) Exceptions(ctx context.Context) ([]api.Exception, error) {
	return items[api.Exception](ctx, c, "/v1/exceptions")
}

// Attestations returns what people signed about controls.
func (c *Client) Attestations(ctx context.Context) ([]api.Attestation, error) {
	return items[api.Attestation](ctx, c, "/v1/attestations")
}

// Controls returns the controls that statements are about; with a name, that one, which the service refuses where its
// catalogues do not have it.
func (c *Client) Controls(ctx context.Context, name string) ([]api.Control, error) {
	query := url.Values{}
	if name != "" {
		query.Set("name", name)
	}
	out := new(api.Page[api.Control])
	err := c.do(ctx, call{method: http.MethodGet, path: "/v1/controls", query: query}, out)
	return out.Items, err
}

// BreakGlass returns emergency access, open and ended.
func (c *Client) BreakGlass(ctx context.Context) ([]api.BreakGlass, error) {
	return items[api.BreakGlass](ctx, c, "/v1/breakglass")
}

// MyShares returns the caller's own shares, sealed to their share key, each with a fresh challenge.
func (c *Client) MyShares(ctx context.Context) ([]api.Share, error) {
	return items[api.Share](ctx, c, "/v1/shares/mine")
}

// Shares returns the custody register of shares, without the shares.
func (c *Client) Shares(ctx context.Context) ([]api.Share, error) {
	return items[api.Share](ctx, c, "/v1/shares")
}

// ShareSets returns the share sets with their epochs.
func (c *Client) ShareSets(ctx context.Context) ([]api.ShareSet, error) {
	return items[api.ShareSet](ctx, c, "/v1/sharesets")
}

// BackupSchedules returns where copies go, how often, and who opens them.
func (c *Client) BackupSchedules(ctx context.Context) ([]api.BackupSchedule, error) {
	return items[api.BackupSchedule](ctx, c, "/v1/backup-schedules")
}

// Backups returns the register of copies.
func (c *Client) Backups(ctx context.Context) ([]api.Backup, error) {
	return items[api.Backup](ctx, c, "/v1/backups")
}

// Recoveries returns the recovery epochs of the instance with their documents.
func (c *Client) Recoveries(ctx context.Context) ([]api.Recovery, error) {
	return items[api.Recovery](ctx, c, "/v1/recoveries")
}

// ShareForms returns the physical forms of shares.
func (c *Client) ShareForms(ctx context.Context) ([]api.ShareForm, error) {
	return items[api.ShareForm](ctx, c, "/v1/custody/forms")
}

// Drills returns the records of drills that were held together.
func (c *Client) Drills(ctx context.Context) ([]api.Drill, error) {
	return items[api.Drill](ctx, c, "/v1/drills")
}

// DrillsDue returns when each drill of each share set was held and is due.
func (c *Client) DrillsDue(ctx context.Context) ([]api.DrillDue, error) {
	return items[api.DrillDue](ctx, c, "/v1/drills/due")
}

// CustodyLog returns the custody log.
func (c *Client) CustodyLog(ctx context.Context) ([]api.CustodyEntry, error) {
	return items[api.CustodyEntry](ctx, c, "/v1/custody/log")
}

// Collector returns the node's signed statement of the key to which shares are sealed now. Believe it
// only after [VerifyCollector].
func (c *Client) Collector(ctx context.Context) (api.Collector, error) {
	return get[api.Collector](ctx, c, "/v1/collector", nil)
}

// Place asks where a key could live.
func (c *Client) Place(ctx context.Context, in api.PlaceRequest) (api.PlaceResponse, error) {
	var out api.PlaceResponse
	err := c.do(ctx, call{method: http.MethodPost, path: "/v1/policy/place", body: in}, &out)
	return out, err
}

// WhatIf asks which keys would stand otherwise after a change. Nothing is changed.
func (c *Client) WhatIf(ctx context.Context, in api.WhatIfRequest) (api.WhatIf, error) {
	var out api.WhatIf
	err := c.do(ctx, call{method: http.MethodPost, path: "/v1/policy/what-if", body: in}, &out)
	return out, err
}

// Explain asks for a policy decision with its full trace.
func (c *Client) Explain(ctx context.Context, in api.ExplainRequest) (api.ExplainResponse, error) {
	var out api.ExplainResponse
	err := c.do(ctx, call{method: http.MethodPost, path: "/v1/policy/explain", body: in}, &out)
	return out, err
}

// Policy returns the bundle in force.
func (c *Client) Policy(ctx context.Context) (api.Policy, error) {
	return get[api.Policy](ctx, c, "/v1/policy", nil)
}

// Decision opens one recorded decision.
func (c *Client) Decision(ctx context.Context, id string) (api.Decision, error) {
	return get[api.Decision](ctx, c, "/v1/decisions/"+url.PathEscape(id), nil)
}

func get[T any](ctx context.Context, c *Client, path string, query url.Values) (T, error) {
	var out T
	err := c.do(ctx, call{method: http.MethodGet, path: path, query: query}, &out)
	return out, err
}

// items collects a register whole, with pages of the service's own size.
func items[T any](ctx context.Context, c *Client, path string) ([]T, error) {
	all := []T{}
	for item, err := range walk[T](ctx, c, path, url.Values{}) {
		if err != nil {
			return nil, err
		}
		all = append(all, item)
	}
	return all, nil
}

// pageSize is how many items are asked for at once.
const pageSize = 100

// pages walks a cursor-paginated list; an error ends it.
func pages[T any](ctx context.Context, c *Client, path string, query url.Values) iter.Seq2[T, error] {
	q := maps.Clone(query)
	if q == nil {
		q = url.Values{}
	}
	q.Set("limit", strconv.Itoa(pageSize))
	return walk[T](ctx, c, path, q)
}

func walk[T any](ctx context.Context, c *Client, path string, first url.Values) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		var zero T
		for page, err := range walkPages(ctx, c, path, first, func(p api.Page[T]) string { return p.Next }) {
			if err != nil {
				yield(zero, err)
				return
			}
			for _, item := range page.Items {
				if !yield(item, nil) {
					return
				}
			}
		}
	}
}

// walkPages walks the pages of a list; next is the cursor that a page leads to.
func walkPages[P any](ctx context.Context, c *Client, path string, first url.Values, next func(P) string) iter.Seq2[P, error] {
	return func(yield func(P, error) bool) {
		q := maps.Clone(first)
		for {
			page, err := get[P](ctx, c, path, q)
			if !yield(page, err) || err != nil {
				return
			}
			if next(page) == "" || next(page) == q.Get("cursor") { // a page that leads to itself would never end
				return
			}
			q.Set("cursor", next(page))
		}
	}
}
