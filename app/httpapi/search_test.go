package httpapi_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/mod/sumdb/tlog"

	"conclave/app/api"
	"conclave/custodian/custodiantest"
	"conclave/custodian/follow"
	"conclave/custodian/ledger"
	"conclave/custodian/segment"
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

// Whoever pages through a ledger of which old entries were deleted gets what is left, in order and each once, and is told
// what is not there; so is whoever searches a time that reaches among them.
func TestDeletedEntriesAreNamedWhereOthersAreListed(t *testing.T) {
	e := newEdge(t, options{})
	uses := func(n int) {
		for range n {
			_, err := e.Store.Append(t.Context(), &ledger.Entry{Type: "key.use.datakey", Actor: e.App,
				Target: ledger.Target{Type: "key", ID: custodiantest.KeyID, Version: 1}, Outcome: ledger.Allow}, e.View().Epoch())
			require.NoError(t, err)
		}
	}
	uses(240)
	e.Clock.Advance(5 * time.Minute)
	uses(60)
	e.AddGrant(t, "demo-late", custodiantest.ApplicationID, custodiantest.KeyID)
	e.Clock.Advance(5 * time.Minute)
	uses(300)
	dir := t.TempDir()
	first := custodiantest.Archive(t, e.Store, dir, 0, 256)
	second := custodiantest.Archive(t, e.Store, dir, 256, 512)
	require.NoError(t, follow.CatchUp(t.Context(), e.Store))
	custodiantest.Drop(t, e.Store)
	custodiantest.DeleteArchived(t, e.Store, first)
	custodiantest.DeleteArchived(t, e.Store, second)
	end := e.size()
	runs := []api.DeletedEntries{{From: 0, To: 256, Ceremony: "c-delete"}, {From: 256, To: 512, Ceremony: "c-delete"}}

	list := func(query string) (seqs []uint64, deleted map[api.DeletedEntries]bool) {
		deleted = map[api.DeletedEntries]bool{}
		for next := ""; ; {
			var page api.LedgerEntries
			e.audit(t, fmt.Sprintf("/v1/ledger/entries?to=%d&%s%s", end, query, next)).into(t, &page)
			for _, raw := range page.Items {
				entry, err := ledger.Decode(raw)
				require.NoError(t, err)
				seqs = append(seqs, entry.Seq)
			}
			for _, run := range page.Deleted {
				deleted[run] = true
			}
			if page.Next == "" {
				return seqs, deleted
			}
			next = "&cursor=" + page.Next
		}
	}
	left := func(from uint64, eventType string) (seqs []uint64) {
		require.NoError(t, e.Store.Present(t.Context(), from, end, func(entry *ledger.Entry, _ []byte) error {
			if eventType == "" || entry.Type == eventType {
				seqs = append(seqs, entry.Seq)
			}
			return nil
		}))
		return seqs
	}
	for _, c := range []struct {
		query, eventType string
		from             uint64
		runs             []api.DeletedEntries
	}{
		{"limit=3", "", 0, runs}, {"limit=200&from=100", "", 100, runs}, {"limit=200&from=256", "", 256, runs[1:]}, {"limit=200&from=512", "", 512, nil},
		{"limit=7&type=key.use.datakey", "key.use.datakey", 0, runs},
	} {
		seqs, deleted := list(c.query)
		require.Equal(t, left(c.from, c.eventType), seqs, c.query)
		require.Len(t, deleted, len(c.runs), c.query)
		for _, run := range c.runs {
			require.True(t, deleted[run], c.query)
		}
	}
	require.Equal(t, http.StatusGone, e.audit(t, "/v1/ledger/tile/entries/001").status, "a bundle is there or not")

	missing := func(since string) []api.DeletedEntries {
		var page api.LedgerSearch
		e.audit(t, "/v1/ledger/search?limit=200&key="+custodiantest.KeyID+since).into(t, &page)
		return page.Deleted
	}
	after := func(g *segment.Segment) string { return "&since=" + g.LastAt.Add(time.Minute).Format(time.RFC3339) }
	require.Equal(t, runs, missing(""))
	require.Equal(t, runs[1:], missing(after(first)), "of the time asked for")
	require.Empty(t, missing(after(second)))
}
