package usage

import (
	"context"
	"fmt"
	"strings"
	"time"

	"conclave/custodian/ledger"
	"conclave/custodian/store"
)

// Bounds of one step: what is held in memory and written in one transaction.
const (
	stepEntries = 4096
	// maxOrigins kept of one caller, version and day in one step; the rest are counted together as "others".
	maxOrigins = 16
	others     = "others"
	// UnreadOutcome counts, under no key, batches of which the ledger has the digest only: whoever reads the counts of keys
	// knows by it how many uses are in none of them.
	UnreadOutcome = "unread"
	// RewrappedFrom is the operation under which the version is counted that a rewrap took data from.
	RewrappedFrom = "rewrapped-from"
)

// Count reads on from where it stopped, a few thousand entries at a time, until it has caught up or ctx ends. Several
// replicas may do so at once: each entry is counted once. The entries are proven to be in the signed tree.
func Count(ctx context.Context, s *store.Store) error {
	for {
		from, err := s.UsageCursor(ctx)
		if err != nil {
			return err
		}
		size := s.View().Head().Size
		if from > size { // restored to an earlier state
			if err := s.ResetUsage(ctx); err != nil {
				return err
			}
			continue
		}
		to := min(size, from+stepEntries)
		if from == to {
			return nil
		}
		c := counter{rows: map[store.UsageRow]*store.UsageRow{}, origins: map[string]map[string]bool{}}
		err = s.Entries(ctx, from, to, func(e *ledger.Entry, _ []byte) error {
			c.add(e)
			return nil
		})
		if err != nil {
			return fmt.Errorf("counting usage: %w", err)
		}
		if _, err := s.AddUsage(ctx, from, to, c.list()); err != nil {
			return err
		}
	}
}

// counter adds up one step.
type counter struct {
	rows    map[store.UsageRow]*store.UsageRow // by what they are about, counts zero
	order   []*store.UsageRow
	origins map[string]map[string]bool
}

func (c *counter) add(e *ledger.Entry) {
	if !strings.HasPrefix(e.Type, Prefix) {
		return
	}
	operation := strings.TrimPrefix(e.Type, Prefix)
	if Unread(e) {
		c.count(store.UsageRow{Day: e.At.Unix() / 86400, Actor: e.Actor.String(), Operation: operation, Outcome: UnreadOutcome}, e)
	}
	for _, item := range Items(e) {
		c.use(e, item.Key, item.Version, operation, item.Outcome)
		if item.From != 0 && item.Outcome == ledger.Allow {
			c.use(e, item.Key, item.From, RewrappedFrom, item.Outcome)
		}
	}
}

func (c *counter) use(e *ledger.Entry, key string, version uint32, operation string, outcome ledger.Outcome) {
	if key == "" || version == 0 {
		return // refused before a version was found
	}
	row := store.UsageRow{Day: e.At.Unix() / 86400, Key: strings.Clone(key), Version: version, Actor: e.Actor.String(), Operation: operation, Outcome: string(outcome)}
	row.Origin = c.origin(fmt.Sprintf("%d %s/%d %s", row.Day, key, version, row.Actor), host(e.Actor.Origin))
	c.count(row, e)
}

// count adds one to a line.
func (c *counter) count(row store.UsageRow, e *ledger.Entry) {
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
func (c *counter) origin(of, origin string) string {
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

func (c *counter) list() []store.UsageRow {
	out := make([]store.UsageRow, len(c.order))
	for i, r := range c.order {
		out[i] = *r
	}
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
