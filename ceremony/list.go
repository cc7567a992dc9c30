package ceremony

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"conclave/ceremony/statement"
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
	slices.SortFunc(all, func(a, b *Ceremony) int {
		return cmp.Or(b.ProposedAt.Compare(a.ProposedAt), cmp.Compare(b.FirstSeq, a.FirstSeq), cmp.Compare(a.ID, b.ID))
	})
	if i := slices.IndexFunc(all, func(c *Ceremony) bool { return c.ID == f.Cursor }); f.Cursor != "" && i >= 0 {
		all = all[i+1:]
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

// TranscriptPayloadType of the envelope that a transcript is.
const TranscriptPayloadType = "application/vnd.conclave.transcript+json"

// transcript is everything about one ceremony in one document. Each entry is named by position and leaf
// hash, so that whoever has the ledger finds and proves it.
type transcript struct {
	Instance   string            `json:"instance"`
	Ceremony   *Ceremony         `json:"ceremony"`
	Standing   Standing          `json:"standing"`
	Entries    []transcriptEntry `json:"entries"`
	Checkpoint string            `json:"checkpoint"` // signed note over a ledger that holds them all
}

type transcriptEntry struct {
	Seq  uint64 `json:"seq"`
	Type string `json:"type"`
	Leaf string `json:"leaf"` // hex
}

// Transcript is the signed record of a ceremony: a DSSE envelope by the node key.
func (e *Engine) Transcript(ctx context.Context, id string) ([]byte, error) {
	c, err := e.Get(id)
	if err != nil {
		return nil, err
	}
	t := transcript{Instance: e.door.Instance().ID, Ceremony: c, Standing: e.Standing(c), Checkpoint: string(e.store.Checkpoint())}
	err = e.store.ControlEntries(ctx, c.FirstSeq, func(entry *ledger.Entry, raw []byte) error {
		if entry.Ceremony == id {
			t.Entries = append(t.Entries, transcriptEntry{Seq: entry.Seq, Type: entry.Type, Leaf: fmt.Sprintf("%x", ledger.LeafHash(raw))})
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
	return statement.Sign(e.signer, TranscriptPayloadType, payload)
}
