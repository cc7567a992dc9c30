package ceremony

import (
	"cmp"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"conclave/ceremony/script"
	"conclave/ceremony/statement"
	"conclave/custodian/dsse"
	"conclave/custodian/ledger"
	"conclave/custodian/store"
)

// Filter selects ceremonies.
type Filter struct {
	Open   bool   // only those that have not ended
	Limit  int    // 1…200, 0 for 50
	Cursor string // id of the last one of the page before
}

// List returns ceremonies, newest first, and the cursor of the next page, "" at the end.
func (e *Engine) List(f Filter) ([]*Ceremony, string) {
	var all []*Ceremony
	for _, c := range store.All[Ceremony](e.store.View(), Kind) {
		if !f.Open || !c.State.Ended() {
			all = append(all, c)
		}
	}
	slices.SortFunc(all, newestFirst)
	if f.Cursor != "" { // it may have ended since the page before
		last, err := e.Get(f.Cursor)
		if err != nil {
			return nil, ""
		}
		all = slices.DeleteFunc(all, func(c *Ceremony) bool { return newestFirst(c, last) <= 0 })
	}
	limit := f.Limit
	if limit <= 0 || limit > 200 {
		limit = 50
	}
	if len(all) <= limit {
		return all, ""
	}
	return all[:limit], all[limit-1].ID
}

func newestFirst(a, b *Ceremony) int {
	return cmp.Or(b.ProposedAt.Compare(a.ProposedAt), cmp.Compare(b.FirstSeq, a.FirstSeq), cmp.Compare(a.ID, b.ID))
}

// transcript is everything about one ceremony in one document. Each entry is named by position and leaf
// hash, so that whoever has the ledger finds and proves it.
type transcript struct {
	Instance   string            `json:"instance"`
	Ceremony   *Ceremony         `json:"ceremony"`
	Standing   *Standing         `json:"standing,omitempty"`
	Script     *script.Run       `json:"script,omitempty"` // record of a ceremony held by its script
	Entries    []transcriptEntry `json:"entries"`
	Checkpoint string            `json:"checkpoint"` // signed note over a ledger that holds them all
}

type transcriptEntry struct {
	Seq  uint64 `json:"seq"`
	Type string `json:"type"`
	Leaf string `json:"leaf"` // hex
}

// leafHex is an entry's leaf hash in hexadecimal. The hash itself prints as base64, so its bytes are taken.
func leafHex(raw []byte) string {
	h := ledger.LeafHash(raw)
	return hex.EncodeToString(h[:])
}

// Transcript is the signed record of a ceremony: a DSSE envelope by the node key.
func (e *Engine) Transcript(ctx context.Context, id string) ([]byte, error) {
	view, checkpoint := e.store.Published()
	c, err := load(view, id)
	if err != nil {
		return nil, err
	}
	t := transcript{Instance: e.door.Instance().ID, Ceremony: c, Standing: e.Standing(c), Checkpoint: string(checkpoint)}
	if t.Script, err = loadRun(view, id); err != nil && !errors.Is(err, ErrNotFound) {
		return nil, err
	}
	err = e.store.ControlEntries(ctx, c.FirstSeq, func(entry *ledger.Entry, raw []byte) error {
		if entry.Ceremony == id && entry.Seq < view.Head().Size { // nothing that the checkpoint does not hold
			t.Entries = append(t.Entries, transcriptEntry{Seq: entry.Seq, Type: entry.Type, Leaf: leafHex(raw)})
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("reading the entries of %s: %w", id, err)
	}
	raw, err := json.Marshal(t, json.Deterministic(true))
	if err != nil {
		return nil, fmt.Errorf("encoding the transcript of %s: %w", id, err)
	}
	payload := jsontext.Value(raw)
	if err := payload.Canonicalize(); err != nil {
		return nil, fmt.Errorf("encoding the transcript of %s: %w", id, err)
	}
	return dsse.Sign(e.signer, statement.TypeTranscript, payload)
}
