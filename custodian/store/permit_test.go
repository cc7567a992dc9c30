package store_test

import (
	"context"
	"errors"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"conclave/custodian/store"
	"conclave/custodian/store/storetest"
)

var errGone = errors.New("gone from the register")

// without bars a process whose person is gone or has no role.
func without(view *store.View) error {
	if p, _, err := store.Get[person](view, "person", "ada"); err != nil || len(p.Roles) == 0 {
		return errGone
	}
	return nil
}

// What another process committed bars this one before it writes anything after it, whatever it had decided before.
func TestInvariant07_ABarredReplicaRecordsNothing(t *testing.T) {
	cfg := storetest.Config(t, store.Postgres, schema())
	storetest.Genesis(t, cfg, seed)
	a := storetest.Open(t, cfg)
	_, err := put(a, "person", "ada", person{Name: "Ada", Roles: []string{"serves"}})
	require.NoError(t, err)
	other := cfg
	other.HighWaterPath, other.Permit = filepath.Join(t.TempDir(), "mark"), without
	b := storetest.Open(t, other)
	_, err = b.Append(context.Background(), use(), b.View().Epoch())
	require.NoError(t, err)
	require.NoError(t, b.Standing())

	_, err = put(a, "person", "ada", person{Name: "Ada"})
	require.NoError(t, err)
	size := a.View().Head().Size
	_, err = b.Append(context.Background(), use(), b.View().Epoch())
	require.ErrorIs(t, err, errGone)
	require.ErrorIs(t, err, store.ErrBarred)
	<-b.Barred()
	require.ErrorIs(t, b.Standing(), errGone)
	require.ErrorIs(t, b.Health(), store.ErrBarred)
	_, err = put(b, "person", "bob", person{Name: "Bob"})
	require.ErrorIs(t, err, store.ErrBarred)

	_, err = put(a, "person", "ada", person{Name: "Ada", Roles: []string{"serves"}})
	require.NoError(t, err)
	require.ErrorIs(t, b.Refresh(context.Background()), nil)
	_, err = b.Append(context.Background(), use(), b.View().Epoch())
	require.ErrorIs(t, err, store.ErrBarred, "it starts anew before it serves again")
	require.NoError(t, a.Refresh(context.Background()))
	require.Equal(t, size+1, a.View().Head().Size, "nothing of it was recorded")
}

// A process that bars itself ends with that commit, which stands.
func TestAProcessCanBarItself(t *testing.T) {
	cfg := storetest.Config(t, store.SQLite, schema())
	storetest.Genesis(t, cfg, seed)
	cfg.Permit = without
	s := storetest.Open(t, cfg)
	_, err := put(s, "person", "ada", person{Name: "Ada"})
	require.NoError(t, err)
	<-s.Barred()
	_, err = s.Append(context.Background(), use(), s.View().Epoch())
	require.ErrorIs(t, err, store.ErrBarred)
}
