package httpapi_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/mod/sumdb/tlog"

	"conclave/app/api"
	"conclave/custodian/custodiantest"
	"conclave/custodian/follow"
	"conclave/custodian/ledger"
)

// What a search finds is proven by its own checkpoint; pages follow each other; applications may not search.
func TestSearchFindsWithProofs(t *testing.T) {
	e := newEdge(t, options{})
	for range 5 {
		e.app(t, http.MethodPost, keyPath+"/datakeys", `{"bytes":32}`)
	}
	require.NoError(t, follow.CatchUp(t.Context(), e.Store))
	e.app(t, http.MethodPost, keyPath+"/datakeys", `{"bytes":32}`)
	e.app(t, http.MethodPost, "/v1/keys/nope/datakeys", `{"bytes":32}`)

	find := func(query string) (found []*ledger.Entry) {
		for next := ""; ; {
			var page api.LedgerSearch
			e.audit(t, "/v1/ledger/search?limit=2&"+query+next).into(t, &page)
			origin, _, _ := strings.Cut(page.Checkpoint, "\n")
			head, err := ledger.OpenHead([]byte(page.Checkpoint), origin, e.Config.LogKey.Verifier)
			require.NoError(t, err)
			for _, item := range page.Items {
				entry, err := ledger.Decode(item.Entry)
				require.NoError(t, err)
				var proof tlog.RecordProof
				for _, text := range item.Inclusion {
					h, err := tlog.ParseHash(text)
					require.NoError(t, err)
					proof = append(proof, h)
				}
				require.NoError(t, ledger.CheckInclusion(proof, head, item.Seq, item.Entry))
				found = append(found, entry)
			}
			if page.Next == "" {
				return found
			}
			next = "&cursor=" + page.Next
		}
	}
	require.Len(t, find("operation=key.use&outcome=allow"), 6)
	require.Len(t, find("key="+custodiantest.KeyID+"&operation=key.use&actor=application:"+custodiantest.ApplicationID), 6)
	require.Len(t, find("actor="+custodiantest.ApplicationID+"&outcome=deny"), 1)
	require.Len(t, find("operation=key.use&until=2000-01-01T00:00:00Z"), 0)
	newest := find("operation=key.use&order=newest")
	require.Greater(t, newest[0].Seq, newest[1].Seq)

	for query, field := range map[string]string{"outcome=maybe": "query.outcome", "order=up": "query.order", "since=now": "query.since", "cursor=!": "query.cursor",
		"since=2026-01-02T00:00:00Z&until=2026-01-01T00:00:00Z": "query.until", "limit=0": "query.limit"} {
		require.Equal(t, field, e.audit(t, "/v1/ledger/search?"+query).problem(t).Field, query)
	}
	require.Equal(t, http.StatusForbidden, e.app(t, http.MethodGet, "/v1/ledger/search", "").status)
}
