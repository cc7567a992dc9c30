package ledger

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"conclave/custodian/identity"
)

// ErrNotCanonical: the bytes may mean an entry, but are not the one form in which it is recorded.
var ErrNotCanonical = errors.New("entry is not in canonical form")

// The wire types name what AppendCanonical writes. Decode encodes again and compares, so that a
// difference between the two is an error and never a second reading.
type wireEntry struct {
	Actor    wireActor      `json:"actor"`
	At       int64          `json:"at"`
	Ceremony string         `json:"ceremony"`
	Context  string         `json:"ctx"`
	Detail   jsontext.Value `json:"detail"`
	Epoch    uint64         `json:"epoch"`
	Link     *wireLink      `json:"link"`
	Node     string         `json:"node"`
	Outcome  string         `json:"outcome"`
	Policy   string         `json:"policy"`
	Reason   string         `json:"reason"`
	Rows     []wireRow      `json:"rows"`
	Salt     string         `json:"salt"`
	Seq      uint64         `json:"seq"`
	Target   wireTarget     `json:"target"`
	Type     string         `json:"type"`
}

type wireActor struct {
	Credential string `json:"cred"`
	Origin     string `json:"from"`
	ID         string `json:"id"`
	Kind       string `json:"kind"`
	RequestID  string `json:"req"`
}

type wireLink struct {
	Number uint64 `json:"n"`
	Prev   uint64 `json:"prev"`
}

type wireTarget struct {
	ID      string `json:"id"`
	Type    string `json:"type"`
	Version uint32 `json:"v"`
}

type wireRow struct {
	Hash     string `json:"hash"`
	ID       string `json:"id"`
	Kind     string `json:"kind"`
	Revision uint64 `json:"rev"`
}

// Decode reads one entry's canonical form, and nothing else: unknown or repeated members, invalid
// UTF-8, another member order or spelling, and values that [Validate] refuses are errors.
func Decode(b []byte) (*Entry, error) {
	if len(b) > MaxEntry {
		return nil, fmt.Errorf("decoding ledger entry: %d bytes, at most %d allowed", len(b), MaxEntry)
	}
	var w wireEntry
	if err := json.Unmarshal(b, &w, json.RejectUnknownMembers(true)); err != nil {
		return nil, fmt.Errorf("decoding ledger entry: %w", err)
	}
	e, err := w.entry()
	if err != nil {
		return nil, fmt.Errorf("decoding ledger entry: %w", err)
	}
	if err := Validate(e); err != nil {
		return nil, fmt.Errorf("decoding ledger entry: %w", err)
	}
	if !bytes.Equal(AppendCanonical(make([]byte, 0, len(b)), e), b) {
		return nil, fmt.Errorf("decoding ledger entry: %w", ErrNotCanonical)
	}
	return e, nil
}

func (w *wireEntry) entry() (*Entry, error) {
	e := &Entry{
		Type: w.Type,
		Actor: identity.Principal{
			Kind: identity.Kind(w.Actor.Kind), ID: w.Actor.ID, Credential: w.Actor.Credential,
			Origin: w.Actor.Origin, RequestID: w.Actor.RequestID,
		},
		Node:     w.Node,
		Target:   Target{Type: w.Target.Type, ID: w.Target.ID, Version: w.Target.Version},
		Outcome:  Outcome(w.Outcome),
		Reason:   w.Reason,
		Policy:   w.Policy,
		Ceremony: w.Ceremony,
		Context:  w.Context,
		Detail:   w.Detail,
		Seq:      w.Seq,
		At:       time.UnixMicro(w.At).UTC(),
		Epoch:    w.Epoch,
	}
	if w.At <= 0 || w.At > MaxInteger {
		return nil, &FieldError{"at", fmt.Sprint(w.At), "microseconds since 1970, 1 to 2^53"}
	}
	if w.Link != nil {
		e.Link = &Link{Number: w.Link.Number, Prev: w.Link.Prev}
	}
	if n, err := base64.RawURLEncoding.Strict().Decode(e.Salt[:], fit(w.Salt, 22)); err != nil || n != len(e.Salt) {
		return nil, &FieldError{"salt", "malformed", "16 bytes in base64url without padding"}
	}
	for i := range w.Rows {
		r := RowChange{Kind: w.Rows[i].Kind, ID: w.Rows[i].ID, Revision: w.Rows[i].Revision}
		if h := w.Rows[i].Hash; h != "" {
			if n, err := hex.Decode(r.Hash[:], fit(h, 64)); err != nil || n != len(r.Hash) {
				return nil, &FieldError{"rows.hash", "malformed", "32 bytes in hex"}
			}
		}
		e.Rows = append(e.Rows, r)
	}
	return e, nil
}

// fit returns s as bytes when it has exactly n of them, else nothing, so that decoding into a fixed
// array neither overruns nor half fills it.
func fit(s string, n int) []byte {
	if len(s) != n {
		return nil
	}
	return []byte(s)
}
