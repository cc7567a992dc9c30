package store_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"conclave/custodian/store"
	"conclave/custodian/store/storetest"
)

// task is a row that jobs look at until it is done.
type task struct {
	Done bool `json:"done,omitempty"`
}

func TestActiveRows(t *testing.T) {
	tasks := store.Schema{"task": store.WithActive(store.JSON[task](false), func(v *task) bool { return !v.Done })}
	cfg := storetest.Config(t, store.SQLite, tasks)
	storetest.Genesis(t, cfg, func(tx *store.Tx) error { return tx.Put("task", "a", task{}) })
	s := storetest.Open(t, cfg)
	active := func(v *store.View) []string {
		var out []string
		for row := range store.Active[task](v, "task") {
			out = append(out, row.ID)
		}
		return out
	}
	for _, id := range []string{"c", "b"} {
		_, err := put(s, "task", id, task{})
		require.NoError(t, err)
	}
	before := s.View()
	_, err := put(s, "task", "a", task{Done: true})
	require.NoError(t, err)
	require.Equal(t, []string{"a", "b", "c"}, active(before), "a published view never changes")
	require.Equal(t, []string{"b", "c"}, active(s.View()))
	require.Equal(t, []string{"a", "b", "c"}, names(s.View(), "task"))
	_, err = s.Control(t.Context(), func(tx *store.Tx) error {
		if err := tx.Delete("task", "b"); err != nil {
			return err
		}
		return tx.Append(storetest.Entry("task.delete"))
	})
	require.NoError(t, err)
	require.Equal(t, []string{"c"}, active(s.View()))
}
