package control

import (
	"bytes"

	"github.com/go-json-experiment/json"

	"conclave/custodian/ledger"
)

// usedItem is one use that a data-plane entry records: the entry itself, or one item of a batch.
type usedItem struct {
	key     string
	version uint32
	outcome ledger.Outcome
}

// batchDetail is how the one entry of a batch lists its items (docs/ledger-format.md): members that an item
// leaves out are those of the entry.
type batchDetail struct {
	Count int `json:"count"`
	Items []struct {
		Key     *int           `json:"k"`
		Version *uint32        `json:"v"`
		Outcome ledger.Outcome `json:"o"`
	} `json:"items"`
	Keys []string `json:"keys"`
}

// itemsOf lists the uses of an entry. A batch whose list gave way to its digest counts as one use of what its
// items have in common.
func itemsOf(e *ledger.Entry) []usedItem {
	whole := usedItem{e.Target.ID, e.Target.Version, e.Outcome}
	if !bytes.HasPrefix(e.Detail, []byte(`{"count":`)) {
		return []usedItem{whole}
	}
	var d batchDetail
	if json.Unmarshal(e.Detail, &d) != nil || len(d.Items) == 0 {
		return []usedItem{whole}
	}
	items := make([]usedItem, len(d.Items))
	for i, in := range d.Items {
		items[i] = whole
		if in.Key != nil && *in.Key >= 0 && *in.Key < len(d.Keys) {
			items[i].key = d.Keys[*in.Key]
		}
		if in.Version != nil {
			items[i].version = *in.Version
		}
		if in.Outcome != "" {
			items[i].outcome = in.Outcome
		}
	}
	return items
}

// unreadable: a batch whose list gave way to its digest, of more than one key or version.
func unreadable(e *ledger.Entry) bool {
	return bytes.HasPrefix(e.Detail, []byte(`{"bytes":`)) && (e.Target.ID == "" || e.Target.Version == 0)
}
