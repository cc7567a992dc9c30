package httpapi

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"

	"conclave/app/api"
	"conclave/custodian"
	"conclave/custodian/store"
)

// Sizes of pages.
const (
	defaultPage = 100
	maxPage     = 1000
	maxCursor   = 256 // bytes
)

// query reads the query strictly: an unknown, repeated or malformed parameter is refused, so that a misspelt
// filter never widens an answer.
func (x *exchange) query(allowed ...string) (url.Values, error) {
	raw := x.c.Request.URL.RawQuery
	if raw == "" {
		return nil, nil
	}
	q, err := url.ParseQuery(raw)
	if err != nil {
		return nil, &custodian.InputError{Field: "query", Problem: "malformed", Allowed: "name=value pairs, percent-encoded"}
	}
	for name, values := range q {
		known := false
		for _, a := range allowed {
			known = known || a == name
		}
		if !known {
			return nil, &custodian.InputError{Field: "query." + clean(name), Problem: "unknown parameter", Allowed: fmt.Sprint(allowed)}
		}
		if len(values) != 1 {
			return nil, &custodian.InputError{Field: "query." + name, Problem: "given twice", Allowed: "each parameter once"}
		}
	}
	return q, nil
}

// number reads a whole number from the query, def where it is not given.
func number(q url.Values, name string, def, least, most uint64) (uint64, error) {
	text := q.Get(name)
	if text == "" {
		return def, nil
	}
	n, err := strconv.ParseUint(text, 10, 63)
	if err != nil || n < least || n > most {
		return 0, &custodian.InputError{Field: "query." + name, Problem: fmt.Sprintf("%q", clean(text)), Allowed: fmt.Sprintf("a whole number, %d to %d", least, most)}
	}
	return n, nil
}

// limitOf reads the size of a page.
func limitOf(q url.Values) (int, error) {
	n, err := number(q, "limit", defaultPage, 1, maxPage)
	return int(n), err
}

// cursorOf reads where a page begins: behind the row with this id. Callers treat cursors as opaque.
func cursorOf(q url.Values) (string, error) {
	text := q.Get("cursor")
	if text == "" {
		return "", nil
	}
	id, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil || len(text) > maxCursor || len(id) == 0 {
		return "", &custodian.InputError{Field: "query.cursor", Problem: "not a cursor of this list", Allowed: "the next of the page before"}
	}
	return string(id), nil
}

func cursorFor(id string) string { return base64.RawURLEncoding.EncodeToString([]byte(id)) }

// page answers one page of a register: the rows of a kind in order of id, as show makes them; rows for which
// show says false are left out. A register with a row that contradicts the ledger is not shown at all: what
// is missing from it would go unnoticed.
func page[Row, Out any](x *exchange, kind store.Kind, show func(*store.View, *Row) (Out, bool)) error {
	q, err := x.query("limit", "cursor")
	if err != nil {
		return err
	}
	limit, err := limitOf(q)
	if err != nil {
		return err
	}
	after, err := cursorOf(q)
	if err != nil {
		return err
	}
	view := x.s.door.View()
	if bad := view.Tampered(kind); len(bad) > 0 {
		return &store.TamperedError{Kind: kind, ID: bad[0].ID}
	}
	out := api.Page[Out]{Items: []Out{}}
	last := ""
	err = view.Walk(x.ctx(), kind, after, nil, func(row store.Row) error {
		value, ok := row.Value.(*Row)
		if !ok {
			return nil
		}
		item, ok := show(view, value)
		if !ok {
			return nil
		}
		if len(out.Items) == limit {
			out.Next = cursorFor(last)
			return errPageFull
		}
		out.Items, last = append(out.Items, item), row.ID
		return nil
	})
	if err != nil && !errors.Is(err, errPageFull) {
		return err
	}
	return x.json(http.StatusOK, out)
}
