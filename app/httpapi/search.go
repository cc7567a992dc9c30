package httpapi

import (
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	"conclave/app/api"
	"conclave/custodian"
	"conclave/custodian/ledger"
	"conclave/custodian/search"
)

// searchLedger answers entries by actor, key, target, ceremony, operation, outcome and time, each with its proof.
func (s *server) searchLedger(x *exchange) error {
	q, err := x.query("actor", "key", "target", "ceremony", "operation", "outcome", "since", "until", "order", "limit", "cursor")
	if err != nil {
		return err
	}
	query, err := searchQuery(q)
	if err != nil {
		return err
	}
	if err := x.authorise(readLedger, "ledger", ""); err != nil {
		return err
	}
	page, err := search.Find(x.ctx(), s.store, query)
	if err != nil {
		return err
	}
	out := api.LedgerSearch{Items: []api.ProvenEntry{}, Checkpoint: string(page.Checkpoint), Indexed: page.Indexed, Deleted: s.deletedEntries(page.From, page.To)}
	for _, f := range page.Items {
		item := api.ProvenEntry{Seq: f.Entry.Seq, Entry: json.RawMessage(f.Raw), Inclusion: []string{}}
		for _, h := range f.Inclusion {
			item.Inclusion = append(item.Inclusion, h.String())
		}
		out.Items = append(out.Items, item)
	}
	if page.Next != nil {
		out.Next = cursorFor(strconv.FormatUint(*page.Next, 10))
	}
	return x.json(http.StatusOK, out)
}

// searchQuery reads and checks what is asked for.
func searchQuery(q url.Values) (search.Query, error) {
	out := search.Query{Actor: q.Get("actor"), Key: q.Get("key"), Target: q.Get("target"), Ceremony: q.Get("ceremony"), Operation: q.Get("operation"),
		Outcome: ledger.Outcome(q.Get("outcome"))}
	refuse := func(field, allowed string) error {
		return &custodian.InputError{Field: "query." + field, Problem: clean(q.Get(field)), Allowed: allowed}
	}
	if outcomes := []ledger.Outcome{"", ledger.Allow, ledger.Deny, ledger.Done, ledger.Failed}; !slices.Contains(outcomes, out.Outcome) {
		return out, refuse("outcome", "allow, deny, done, failed")
	}
	switch q.Get("order") {
	case "", "oldest":
	case "newest":
		out.NewestFirst = true
	default:
		return out, refuse("order", "oldest, newest")
	}
	for field, into := range map[string]*time.Time{"since": &out.From, "until": &out.To} {
		if text := q.Get(field); text != "" {
			at, err := time.Parse(time.RFC3339, text)
			if err != nil {
				return out, refuse(field, "a time in RFC 3339, e.g. 2026-01-01T00:00:00Z")
			}
			*into = at
		}
	}
	if !out.From.IsZero() && !out.To.IsZero() && !out.To.After(out.From) {
		return out, refuse("until", "a time after since")
	}
	var err error
	if out.Limit, err = limitOf(q); err != nil {
		return out, err
	}
	cursor, err := cursorOf(q)
	if err != nil || cursor == "" {
		return out, err
	}
	after, err := strconv.ParseUint(cursor, 10, 53)
	if err != nil {
		return out, &custodian.InputError{Field: "query.cursor", Problem: "not a cursor of this list", Allowed: "the next of the page before"}
	}
	out.After = &after
	return out, nil
}
