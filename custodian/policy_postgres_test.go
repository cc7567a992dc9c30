package custodian_test

import (
	"context"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"conclave/custodian"
	"conclave/custodian/clock"
	"conclave/custodian/custodiantest"
	"conclave/custodian/identity"
	"conclave/custodian/ledger"
	"conclave/custodian/people"
	"conclave/custodian/store"
	"conclave/custodian/store/storetest"
	"conclave/policies"
)

func TestMain(m *testing.M) { os.Exit(storetest.Run(m)) }

// A second replica on the same database decides by the new bundle from its commit on, whether it was told or not: what
// it decided by the old one does not get into the ledger.
func TestSecondReplicaDecidesByTheBundleInForce(t *testing.T) {
	ctx := context.Background()
	engine, err := policies.New(ctx, policies.Options{Timeout: time.Minute})
	require.NoError(t, err)
	cfg := storetest.Config(t, store.Postgres, custodian.Schema())
	instance := custodian.Instance{ID: "ab", Name: "demo", Mode: custodian.Production, PolicyDigest: engine.Digest(), Genesis: []byte("demo")}
	for len(instance.ID) < 64 {
		instance.ID += "ab"
	}
	instance.ID = instance.ID[:64]
	storetest.Genesis(t, cfg, func(tx *store.Tx) error {
		ada := people.Person{ID: "ada", Name: "Ada", Roles: []people.Role{people.RoleAuditor}, Team: "a", Site: "b", Status: people.StatusActive}
		if err := tx.Put(custodian.KindPerson, ada.ID, ada); err != nil {
			return err
		}
		return tx.Put(custodian.KindInstance, custodian.InstanceRow, instance)
	})
	var doors []*custodian.Service
	for range 2 {
		s := storetest.Open(t, cfg)
		door, err := custodian.New(ctx, custodian.Config{Store: s, Policies: engine, Node: "node-1", AuditKey: make([]byte, 32), Clock: clock.NewSystem()})
		require.NoError(t, err)
		doors = append(doors, door)
		cfg.HighWaterPath += "2"
	}
	read := func(door *custodian.Service) error {
		return door.Read(ctx, identity.Principal{Kind: identity.Human, ID: "ada"}, "ledger.read", ledger.Target{Type: "ledger", ID: "all"})
	}
	require.NoError(t, read(doors[0]))
	require.NoError(t, read(doors[1]))
	no := custodiantest.DenyAll(t)
	_, err = doors[0].Store().Control(ctx, func(tx *store.Tx) error {
		record := custodian.PolicyBundle{Digest: no.Digest(), Name: "no", AddedBy: "ada", AddedAt: tx.Now()}
		if err := custodian.PutPolicyBundle(tx, record, no); err != nil {
			return err
		}
		return custodiantest.InForce(tx, no.Digest(), engine)
	})
	require.NoError(t, err)
	requireDenied(t, "no", custodian.Used{}, read(doors[1]))
	require.Equal(t, no.Digest(), doors[1].Policies().Digest())
	requireDenied(t, "no", custodian.Used{}, read(doors[0]))
}
