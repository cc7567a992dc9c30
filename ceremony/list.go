package ceremony

import (
	"cmp"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

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
	Cursor string // as List gave it with the page before
}

// List returns ceremonies, open ones first, the newest of them first, then those that have ended, the one that ended last
// first; and the cursor of the next page, "" at the end. Errors: *store.TamperedError, store.ErrUnavailable.
func (e *Engine) List(ctx context.Context, f Filter) ([]*Ceremony, string, error) {
	limit := f.Limit
	if limit <= 0 || limit > 200 {
		limit = 50
	}
	view := e.store.View()
	var out []*Ceremony
	before, ended := endedCursor(f.Cursor)
	if !ended {
		open, err := e.openBehind(view, f.Cursor)
		if errors.Is(err, ErrNotFound) {
			return nil, "", nil
		}
		if err != nil {
			return nil, "", err
		}
		if len(open) > limit {
			return open[:limit], open[limit-1].ID, nil
		}
		if f.Open {
			return open, "", nil
		}
		out = open
	}
	rows, err := view.Recent(ctx, Kind, before, limit-len(out)+1)
	if err != nil {
		return nil, "", fmt.Errorf("reading ended ceremonies: %w", err)
	}
	for i, row := range rows {
		if len(out) == limit && i == 0 { // full of open ones
			return out, out[limit-1].ID, nil
		}
		if len(out) == limit {
			return out, rows[i-1].ID + "@" + strconv.FormatUint(rows[i-1].Seq, 10), nil
		}
		if c, ok := row.Value.(*Ceremony); ok {
			out = append(out, c)
		}
	}
	return out, "", nil
}

// openBehind lists open ceremonies, newest first: all, or those behind one that may have ended since.
func (e *Engine) openBehind(view *store.View, cursor string) ([]*Ceremony, error) {
	var open []*Ceremony
	for _, c := range store.Active[Ceremony](view, Kind) {
		open = append(open, c)
	}
	slices.SortFunc(open, newestFirst)
	if cursor == "" {
		return open, nil
	}
	last, err := load(view, cursor)
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(open, func(c *Ceremony) bool { return newestFirst(c, last) <= 0 }), nil
}

// endedCursor reads a cursor among ended ceremonies.
func endedCursor(cursor string) (store.Position, bool) {
	id, at, found := strings.Cut(cursor, "@")
	seq, err := strconv.ParseUint(at, 10, 63)
	if !found || err != nil {
		return store.Position{}, false
	}
	return store.Position{Seq: seq, ID: id}, true
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
	view, checkpoint, _ := e.store.Published()
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
