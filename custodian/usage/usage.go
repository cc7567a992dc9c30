package usage

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"conclave/custodian/ledger"
	"conclave/custodian/store"
)

const (
	// maxOrigins kept of one caller, version and day in one step; the rest are counted together as "others".
	maxOrigins = 16
	others     = "others"
	// UnreadOutcome counts, under no key, batches of which the ledger has the digest only: whoever reads the counts of keys
	// knows by it how many uses are in none of them.
	UnreadOutcome = "unread"
	// RewrappedFrom is the operation under which the version is counted that a rewrap took data from.
	RewrappedFrom = "rewrapped-from"
)

// Counter adds up the uses that entries record.
type Counter struct {
	rows    map[store.UsageRow]*store.UsageRow // by what they are about, counts zero
	order   []*store.UsageRow
	origins map[store.UsageRow]map[string]bool // by day, key, version and actor
}

// NewCounter has counted nothing.
func NewCounter() *Counter {
	return &Counter{rows: map[store.UsageRow]*store.UsageRow{}, origins: map[store.UsageRow]map[string]bool{}}
}

// Add counts what an entry records.
func (c *Counter) Add(e *ledger.Entry) {
	if !strings.HasPrefix(e.Type, Prefix) {
		return
	}
	row := store.UsageRow{Day: e.At.Unix() / 86400, Actor: e.Actor.String(), Operation: strings.TrimPrefix(e.Type, Prefix)}
	if Unread(e) {
		row := row
		row.Outcome = UnreadOutcome
		c.count(row, e)
	}
	for _, item := range Items(e) {
		row.Key, row.Version, row.Outcome = item.Key, item.Version, string(item.Outcome)
		c.use(row, e)
		if item.From != 0 && item.Outcome == ledger.Allow {
			from := row
			from.Version, from.Operation = item.From, RewrappedFrom
			c.use(from, e)
		}
	}
}

func (c *Counter) use(row store.UsageRow, e *ledger.Entry) {
	if row.Key == "" || row.Version == 0 {
		return // refused before a version was found
	}
	row.Origin = c.origin(store.UsageRow{Day: row.Day, Key: row.Key, Version: row.Version, Actor: row.Actor}, host(e.Actor.Origin))
	c.count(row, e)
}

// count adds one to a line.
func (c *Counter) count(row store.UsageRow, e *ledger.Entry) {
	at := e.At.UnixMicro()
	r := c.rows[row]
	if r == nil {
		own := row
		r = &own
		r.FirstAt, r.FirstSeq = at, e.Seq
		c.rows[row] = r
		c.order = append(c.order, r)
	}
	r.Uses++
	r.LastAt, r.LastSeq = at, e.Seq
}

// origin bounds how many origins are kept apart.
func (c *Counter) origin(of store.UsageRow, origin string) string {
	seen := c.origins[of]
	if seen == nil {
		seen = map[string]bool{}
		c.origins[of] = seen
	}
	if !seen[origin] && len(seen) >= maxOrigins {
		return others
	}
	seen[origin] = true
	return origin
}

// Rows are the lines counted, in order of their place in the database.
func (c *Counter) Rows() []store.UsageRow {
	out := make([]store.UsageRow, len(c.order))
	for i, r := range c.order {
		out[i] = *r
	}
	slices.SortFunc(out, func(a, b store.UsageRow) int {
		return cmp.Or(cmp.Compare(a.Key, b.Key), cmp.Compare(a.Version, b.Version), cmp.Compare(a.Day, b.Day), cmp.Compare(a.Actor, b.Actor),
			cmp.Compare(a.Operation, b.Operation), cmp.Compare(a.Outcome, b.Outcome), cmp.Compare(a.Origin, b.Origin))
	})
	return out
}

// Last is when a version was last used, and for what; zero when it never was since usage is counted.
func Last(rows []store.UsageRow) (at time.Time, operation string) {
	var last int64
	for _, r := range rows {
		if r.Outcome == string(ledger.Allow) && r.LastAt > last {
			last, operation = r.LastAt, r.Operation
		}
	}
	if last == 0 {
		return time.Time{}, ""
	}
	return time.UnixMicro(last).UTC(), operation
}
