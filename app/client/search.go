package client

import (
	"context"
	"iter"
	"net/url"
	"strconv"
	"time"

	"conclave/app/api"
)

// LedgerQuery selects ledger entries; what is set must match, all of it.
type LedgerQuery struct {
	Actor, Key, Target, Ceremony, Operation, Outcome string
	Since, Until                                     time.Time // Until exclusive; zero: no bound
	NewestFirst                                      bool
}

// SearchLedger walks the pages of a search. The entries are the service's word until their proofs are checked.
func (c *Client) SearchLedger(ctx context.Context, query LedgerQuery) iter.Seq2[api.LedgerSearch, error] {
	q := url.Values{"limit": {strconv.Itoa(pageSize)}}
	for name, v := range map[string]string{"actor": query.Actor, "key": query.Key, "target": query.Target, "ceremony": query.Ceremony,
		"operation": query.Operation, "outcome": query.Outcome, "since": instant(query.Since), "until": instant(query.Until)} {
		if v != "" {
			q.Set(name, v)
		}
	}
	if query.NewestFirst {
		q.Set("order", "newest")
	}
	return walkPages(ctx, c, "/v1/ledger/search", q, func(p api.LedgerSearch) string { return p.Next })
}

func instant(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339Nano)
}
