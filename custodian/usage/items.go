// Package usage counts what was done with key versions, read behind the ledger: derived, asynchronous, and made
// anew from the ledger at any time.
package usage

import (
	"bytes"
	"net"
	"strings"

	"github.com/go-json-experiment/json"

	"conclave/custodian/ledger"
)

// Prefix begins the types of data-plane entries.
const Prefix = "key.use."

// Item is one use that a data-plane entry records: the entry itself, or one item of a batch.
type Item struct {
	Key     string
	Version uint32
	From    uint32 // rewrap: the version that the data was under; 0 for none
	Outcome ledger.Outcome
}

// detail is how an entry says more: a rewrap its from_version, a batch its items (docs/ledger-format.md), where
// members that an item leaves out are those of the entry.
type detail struct {
	From  uint32 `json:"from_version"`
	Items []struct {
		Key     *int           `json:"k"`
		Version *uint32        `json:"v"`
		From    uint32         `json:"f"`
		Outcome ledger.Outcome `json:"o"`
	} `json:"items"`
	Keys []string `json:"keys"`
}

// Unread says that an entry is a batch whose list gave way to its digest, of more than one key or version: nothing says
// what it used.
func Unread(e *ledger.Entry) bool {
	return bytes.HasPrefix(e.Detail, []byte(`{"bytes":`)) && (e.Target.ID == "" || e.Target.Version == 0)
}

// Items lists the uses of an entry. A batch whose list gave way to its digest counts as one use of what its items
// have in common.
func Items(e *ledger.Entry) []Item {
	whole := Item{Key: e.Target.ID, Version: e.Target.Version, Outcome: e.Outcome}
	batch := bytes.HasPrefix(e.Detail, []byte(`{"count":`))
	if len(e.Detail) == 0 || (!batch && e.Type != Prefix+"rewrap") {
		return []Item{whole}
	}
	var d detail
	if json.Unmarshal(e.Detail, &d) != nil {
		return []Item{whole}
	}
	if !batch || len(d.Items) == 0 {
		whole.From = d.From
		return []Item{whole}
	}
	items := make([]Item, len(d.Items))
	for i, in := range d.Items {
		items[i] = whole
		items[i].From = in.From
		if in.Key != nil && *in.Key >= 0 && *in.Key < len(d.Keys) {
			items[i].Key = d.Keys[*in.Key]
		}
		if in.Version != nil {
			items[i].Version = *in.Version
		}
		if in.Outcome != "" {
			items[i].Outcome = in.Outcome
		}
	}
	return items
}

// host is an origin without its port: what it came from, not which connection.
func host(origin string) string {
	if h, _, err := net.SplitHostPort(origin); err == nil {
		return h
	}
	return strings.Clone(origin)
}
