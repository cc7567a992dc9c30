package operation

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"conclave/custodian"
	"conclave/custodian/access"
	"conclave/custodian/key"
	"conclave/custodian/people"
	"conclave/custodian/store"
)

// lookup reads the row that a parameter names. An id that leads nowhere is an InputError; a row that
// contradicts the ledger is passed on as the store says it.
func lookup[T any](view *store.View, kind store.Kind, field, id, what string) (*T, store.Row, error) {
	if err := key.CheckID(field, id); err != nil {
		return nil, store.Row{}, err
	}
	value, row, err := store.Get[T](view, kind, id)
	if errors.Is(err, store.ErrNotFound) {
		return nil, store.Row{}, unknown(field, id, what)
	}
	if err != nil {
		return nil, store.Row{}, fmt.Errorf("reading %s %q: %w", what, id, err)
	}
	return value, row, nil
}

// vacant checks that an id is well formed and in nobody's use.
func vacant(view *store.View, kind store.Kind, field, id, what string) error {
	if err := key.CheckID(field, id); err != nil {
		return err
	}
	switch _, err := view.Get(kind, id); {
	case errors.Is(err, store.ErrNotFound):
		return nil
	case err == nil:
		return taken(field, id, what)
	default:
		return fmt.Errorf("reading %s %q: %w", what, id, err)
	}
}

func keyRow(view *store.View, field, id string) (*key.Key, error) {
	k, _, err := lookup[key.Key](view, custodian.KindKey, field, id, "key")
	return k, err
}

// versionRow reads one version of a key, as an independent copy.
func versionRow(view *store.View, k *key.Key, n uint32) (*key.Version, error) {
	if n == 0 || n > k.Versions {
		return nil, &custodian.InputError{Field: "version", Problem: fmt.Sprintf("key %s has no version %d", k.ID, n), Allowed: fmt.Sprintf("1 to %d", k.Versions)}
	}
	v, _, err := store.Get[key.Version](view, custodian.KindKeyVersion, key.VersionID(k.ID, n))
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", key.VersionID(k.ID, n), err)
	}
	return v.Clone(), nil
}

// versionRows reads a key's versions: one, or all of them for 0.
func versionRows(view *store.View, k *key.Key, only uint32) ([]*key.Version, error) {
	if only != 0 {
		v, err := versionRow(view, k, only)
		return []*key.Version{v}, err
	}
	var out []*key.Version
	for n := uint32(1); n <= k.Versions; n++ {
		v, err := versionRow(view, k, n)
		if err != nil {
			return nil, err
		}
		out = append(out, v)
	}
	return out, nil
}

func keystoreRow(view *store.View, field, id string) (*key.Keystore, error) {
	ks, _, err := lookup[key.Keystore](view, custodian.KindKeystore, field, id, "keystore")
	return ks, err
}

func personRow(view *store.View, field, id string) (*people.Person, store.Row, error) {
	return lookup[people.Person](view, custodian.KindPerson, field, id, "person")
}

// presentPerson reads a person who is to be answerable for something: registered and active.
func presentPerson(view *store.View, field, id string) (*people.Person, error) {
	p, _, err := personRow(view, field, id)
	if err != nil {
		return nil, err
	}
	if people.Present(p) != nil {
		return nil, &custodian.InputError{Field: field, Problem: id + " is " + string(p.Status), Allowed: "an active person of the register"}
	}
	return p, nil
}

func applicationRow(view *store.View, field, id string) (*access.Application, store.Row, error) {
	return lookup[access.Application](view, custodian.KindApplication, field, id, "application")
}

// register finds people in a view; nil for those who are not in it or whose row is not to be believed.
func register(view *store.View) people.Lookup {
	return func(id string) *people.Person {
		p, _, err := store.Get[people.Person](view, custodian.KindPerson, id)
		if err != nil {
			return nil
		}
		return p
	}
}

// shareRows are the lines of the custody register about one set, of all epochs.
func shareRows(view *store.View, set string) []*people.Share {
	var out []*people.Share
	for _, s := range store.All[people.Share](view, custodian.KindShare) {
		if s.Set == set {
			out = append(out, s)
		}
	}
	return out
}

// join writes ids for a line that people read, in their order.
func join(ids []string) string { return strings.Join(ids, ", ") }

// list writes ids for a line that people read.
func list[T ~string](items []T) string {
	out := make([]string, len(items))
	for i, s := range items {
		out[i] = string(s)
	}
	slices.Sort(out)
	return strings.Join(out, ", ")
}
