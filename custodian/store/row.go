package store

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	jsonv1 "github.com/go-json-experiment/json/v1"
)

// Kind names a kind of authority row, e.g. "person", "key_version".
type Kind string

// KindSpec says how rows of a kind are read and what a change of one means.
type KindSpec struct {
	// Decode parses a canonical body strictly and returns a pointer to the row type.
	Decode func(body []byte) (any, error)
	// Authority: a change bumps the authority epoch, so that every memoised decision is made again.
	Authority bool
	// Active picks the rows that jobs look at again and again, so that those which nothing happens to any more cost
	// them nothing: see [Active]. nil picks none.
	Active func(value any) bool
	// Archive picks, by their canonical bodies, the rows of which memory keeps only what the ledger binds them by: id,
	// revision, entry and hash. Their content is read from the database when it is asked for and held against that hash.
	// [View.List], [All] and [Active] do not yield them, [View.Walk] and [View.Recent] do. mark is kept beside, so that
	// rows can be picked without being read: see [View.Marks]. nil picks none.
	Archive func(body []byte) (mark uint64, archived bool)
}

// Schema is the set of row kinds a store knows. A kind outside it is refused when written and at start.
type Schema map[Kind]KindSpec

// JSON is the KindSpec of a row type T stored as JSON: unknown members, duplicate names and invalid UTF-8
// are refused.
func JSON[T any](authority bool) KindSpec {
	return KindSpec{Authority: authority, Decode: func(body []byte) (any, error) {
		v := new(T)
		if err := json.Unmarshal(body, v, bodyOptions()); err != nil {
			return nil, err
		}
		return v, nil
	}}
}

// WithActive adds to the KindSpec of a row type T which of its rows are active.
func WithActive[T any](spec KindSpec, active func(*T) bool) KindSpec {
	spec.Active = func(value any) bool {
		v, ok := value.(*T)
		return ok && active(v)
	}
	return spec
}

// WithArchive adds to the KindSpec of a row type which of its rows are archived. T is as much of the row type as pick looks
// at; other members are passed over.
func WithArchive[T any](spec KindSpec, pick func(*T) (mark uint64, archived bool)) KindSpec {
	spec.Archive = func(body []byte) (uint64, bool) {
		v := new(T)
		if err := json.Unmarshal(body, v, bodyOptions(), json.RejectUnknownMembers(false)); err != nil {
			return 0, false // kept, and found out by whoever decodes it
		}
		return pick(v)
	}
	return spec
}

// bodyOptions: JSON as package encoding/json tags mean it (omitempty drops zero numbers and false), durations
// as integer nanoseconds, map order fixed, unknown members refused.
func bodyOptions() json.Options {
	return json.JoinOptions(
		jsonv1.OmitEmptyWithLegacySemantics(true),
		jsonv1.FormatDurationAsNano(true),
		json.Deterministic(true),
		json.RejectUnknownMembers(true),
	)
}

// Row is one authority row. Value and Body are shared and must not be changed.
type Row struct {
	Kind     Kind
	ID       string
	Revision uint64   // 1 for a new row, one more with every change
	Hash     [32]byte // SHA-256 of Body
	Seq      uint64   // ledger entry that made this revision
	Value    any      // what the kind's Decode returned
	Body     []byte   // canonical JSON (RFC 8785)

	active   bool // the kind's Active picks it
	archived bool // the kind's Archive picks it
	mark     uint64
}

// Bounds on one row: a body is read back whole at start, so its size is part of the start-up time.
const (
	maxBody  = 1 << 20
	maxRowID = 256
)

// maxInteger is the largest integer that every JSON reader holds exactly (RFC 8785 section 3.2.2.3, RFC 7493
// section 2.2).
const maxInteger = 1 << 53

// canonicalBody encodes a row value as RFC 8785 JSON holding no number but exact integers.
func canonicalBody(value any) ([]byte, error) {
	raw, err := json.Marshal(value, bodyOptions())
	if err != nil {
		return nil, fmt.Errorf("encoding row: %w", err)
	}
	body := jsontext.Value(raw)
	if body.Kind() != '{' {
		return nil, fmt.Errorf("encoding row: value is a JSON %s, allowed is an object", body.Kind())
	}
	if err := checkIntegers(body); err != nil {
		return nil, err
	}
	if err := body.Canonicalize(); err != nil {
		return nil, fmt.Errorf("canonicalising row: %w", err)
	}
	if len(body) > maxBody {
		return nil, fmt.Errorf("row body has %d bytes, allowed are %d", len(body), maxBody)
	}
	return body, nil
}

// checkIntegers refuses fractions, exponents and integers beyond 2^53, which canonicalisation would round.
func checkIntegers(body []byte) error {
	dec := jsontext.NewDecoder(bytes.NewReader(body))
	for {
		tok, err := dec.ReadToken()
		if err != nil {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return fmt.Errorf("reading row: %w", err)
		}
		if tok.Kind() != '0' {
			continue
		}
		if !exactInteger(tok.String()) {
			return fmt.Errorf("row member %s holds the number %s, allowed are integers up to 2^53",
				dec.StackPointer(), tok.String())
		}
	}
}

func exactInteger(s string) bool {
	n := uint64(0)
	for i, c := range []byte(s) {
		if i == 0 && c == '-' {
			continue
		}
		if c < '0' || c > '9' {
			return false
		}
		if n = n*10 + uint64(c-'0'); n > maxInteger {
			return false
		}
	}
	return true
}

// makeRow builds the row that a body stands for and proves that the body can be read back.
func (s Schema) makeRow(kind Kind, id string, revision, seq uint64, body []byte) (*Row, error) {
	spec, ok := s[kind]
	if !ok {
		return nil, fmt.Errorf("row kind %q is unknown to this program", kind)
	}
	if id == "" || len(id) > maxRowID {
		return nil, fmt.Errorf("row id of kind %s has %d bytes, allowed are 1 to %d", kind, len(id), maxRowID)
	}
	value, err := spec.Decode(body)
	if err != nil {
		return nil, fmt.Errorf("decoding %s %q: %w", kind, id, err)
	}
	r := &Row{Kind: kind, ID: id, Revision: revision, Hash: sha256.Sum256(body), Seq: seq, Value: value, Body: body,
		active: spec.Active != nil && spec.Active(value)}
	if spec.Archive != nil {
		r.mark, r.archived = spec.Archive(body)
	}
	return r, nil
}
