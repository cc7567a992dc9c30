package custodian_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"conclave/custodian"
	"conclave/custodian/access"
	"conclave/custodian/custodiantest"
	"conclave/custodian/key"
	"conclave/custodian/ledger"
	"conclave/custodian/people"
	"conclave/custodian/store"
	"conclave/hsm"
)

// restrictions are the ways in which one commit takes the right to use the demo key away.
func restrictions(t *testing.T) map[string]func(tx *store.Tx, app string, c *custodiantest.Custodian) error {
	edit := func(tx *store.Tx, kind store.Kind, id string, value any) error {
		if err := tx.Put(kind, id, value); err != nil {
			return err
		}
		return tx.Append(ledger.Entry{Type: "demo.restrict", Actor: custodianNode(), Target: ledger.Target{Type: string(kind), ID: id}, Outcome: ledger.Done})
	}
	return map[string]func(tx *store.Tx, app string, c *custodiantest.Custodian) error{
		"key suspended": func(tx *store.Tx, _ string, c *custodiantest.Custodian) error {
			id := key.VersionID(custodiantest.KeyID, 1)
			v, _, err := store.Get[key.Version](tx.View(), custodian.KindKeyVersion, id)
			if err != nil {
				return err
			}
			setState(v, key.Suspended, c.Clock.Now())
			return edit(tx, custodian.KindKeyVersion, id, v)
		},
		"grant revoked": func(tx *store.Tx, _ string, c *custodiantest.Custodian) error {
			g, _, err := store.Get[access.Grant](tx.View(), custodian.KindGrant, custodiantest.GrantID)
			if err != nil {
				return err
			}
			at := c.Clock.Now()
			g.RevokedAt = &at
			return edit(tx, custodian.KindGrant, g.ID, g)
		},
		"token revoked": func(tx *store.Tx, _ string, c *custodiantest.Custodian) error {
			k, _, err := store.Get[access.Token](tx.View(), custodian.KindToken, c.App.Credential)
			if err != nil {
				return err
			}
			at := c.Clock.Now()
			k.RevokedAt = &at
			return edit(tx, custodian.KindToken, k.ID, k)
		},
		"policy replaced": func(tx *store.Tx, _ string, c *custodiantest.Custodian) error {
			no := custodiantest.DenyAll(t)
			record := custodian.PolicyBundle{Digest: no.Digest(), Name: "no", AddedBy: "demo", AddedAt: tx.Now()}
			if err := custodian.PutPolicyBundle(tx, record, no); err != nil {
				return err
			}
			return custodiantest.InForce(tx, no.Digest(), c.Service.Policies())
		},
		"application suspended": func(tx *store.Tx, app string, _ *custodiantest.Custodian) error {
			a, _, err := store.Get[access.Application](tx.View(), custodian.KindApplication, app)
			if err != nil {
				return err
			}
			a.Status = "suspended"
			return edit(tx, custodian.KindApplication, app, a)
		},
	}
}

// A restriction under a live stream of calls: nothing is answered whose entry comes after its commit, and
// nothing that began after it succeeds.
func TestInvariant01_RestrictionsTakeEffectAtTheirCommit(t *testing.T) {
	for name, restrict := range restrictions(t) {
		t.Run(name, func(t *testing.T) {
			c := custodiantest.New(t, custodiantest.Options{})
			ctx := context.Background()
			var stop, committed atomic.Bool
			var latest atomic.Uint64 // position of the last success
			var done, late atomic.Int64
			var wg sync.WaitGroup
			for i := range 64 {
				wg.Go(func() {
					u := dataKey(custodiantest.KeyID)
					if i%2 == 0 {
						u = encrypt(custodiantest.KeyID, "text")
					}
					for !stop.Load() {
						after := committed.Load()
						used, err := c.Use(ctx, c.App, u)
						if err != nil {
							var denied *custodian.Denied
							if !errors.As(err, &denied) || used.Ciphertext != nil || used.Plaintext != nil {
								t.Errorf("got %v with %d bytes", err, len(used.Ciphertext))
							}
							if after && late.Add(1) > 256 {
								return
							}
							continue
						}
						if after {
							t.Error("a call that began after the commit succeeded")
							return
						}
						done.Add(1)
						raise(t, &latest, used.Decision)
					}
				})
			}
			for done.Load() < 200 && !t.Failed() {
				mustUse(t, c, dataKey(custodiantest.KeyID))
			}
			receipt, err := c.Store.Control(ctx, func(tx *store.Tx) error { return restrict(tx, c.App.ID, c) })
			require.NoError(t, err)
			committed.Store(true)
			for late.Load() < 64 && !t.Failed() {
				_, err := c.Use(ctx, c.App, dataKey(custodiantest.KeyID))
				require.Error(t, err)
			}
			stop.Store(true)
			wg.Wait()
			require.Less(t, latest.Load(), receipt.Seq, "a success was recorded after the restriction")
			// The ledger tells the same.
			require.NoError(t, c.Store.Entries(ctx, receipt.LastSeq+1, c.View().Head().Size, func(e *ledger.Entry, _ []byte) error {
				require.NotEqual(t, ledger.Allow, e.Outcome)
				return nil
			}))
		})
	}
}

// raise keeps the highest ledger position of the decisions it is told of.
func raise(t *testing.T, latest *atomic.Uint64, decision string) {
	seq, _, err := custodian.ParseDecisionID(decision)
	if err != nil {
		t.Error(err)
	}
	for before := latest.Load(); seq > before && !latest.CompareAndSwap(before, seq); before = latest.Load() {
	}
}

// Authority that changes without pause does not starve calls, and decisions never mix two states.
func TestCallsUnderConstantChange(t *testing.T) {
	c := custodiantest.New(t, custodiantest.Options{})
	ctx := context.Background()
	var stop atomic.Bool
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := 0; !stop.Load(); i++ {
			_, err := c.Store.Control(ctx, func(tx *store.Tx) error {
				p, _, err := store.Get[people.Person](tx.View(), custodian.KindPerson, "demo-eve")
				if err != nil {
					return err
				}
				p.Name = string(rune('a' + i%26))
				if err := tx.Put(custodian.KindPerson, p.ID, p); err != nil {
					return err
				}
				return tx.Append(ledger.Entry{Type: "demo.put", Actor: custodianNode(), Outcome: ledger.Done})
			})
			if err != nil {
				t.Error(err)
				return
			}
		}
	})
	for range 8 {
		wg.Go(func() {
			for range 40 {
				_, err := c.Use(ctx, c.App, dataKey(custodiantest.KeyID))
				if err != nil && !errors.Is(err, store.ErrUnavailable) {
					t.Error(err)
				}
			}
		})
	}
	for range 20 {
		items, err := c.UseBatch(ctx, c.App, []custodian.Use{dataKey(custodiantest.KeyID), dataKey(custodiantest.KeyID)})
		if !errors.Is(err, store.ErrUnavailable) {
			require.NoError(t, err)
			require.NoError(t, items[0].Err)
		}
	}
	stop.Store(true)
	wg.Wait()
}

// A destroyed version is gone for every call that begins after its commit, while others are using it.
func TestDestroyUnderLoad(t *testing.T) {
	c := custodiantest.New(t, custodiantest.Options{})
	ctx := context.Background()
	sealed := mustUse(t, c, encrypt(custodiantest.KeyID, "text")).Ciphertext
	material := material(t, c)
	var wg sync.WaitGroup
	var gone atomic.Bool
	for range 16 {
		wg.Go(func() {
			for {
				after := gone.Load()
				used, err := c.Use(ctx, c.App, decrypt(sealed))
				var denied *custodian.Denied
				switch {
				case err == nil && (after || string(used.Plaintext) != "text"):
					t.Error("a destroyed version opened a ciphertext")
					return
				case err != nil && !errors.As(err, &denied) && !errors.Is(err, custodian.ErrKeystore):
					t.Error(err)
					return
				case after:
					return
				}
			}
		})
	}
	for range 20 {
		mustUse(t, c, decrypt(sealed))
	}
	changeVersion(t, c, custodiantest.KeyID, 1, func(v *key.Version) { setState(v, key.Destroyed, c.Clock.Now()) })
	gone.Store(true)
	require.NoError(t, c.Soft.Destroy(ctx, material))
	c.Forget(custodiantest.KeyID, 1)
	wg.Wait()
	used, err := c.Use(ctx, c.App, decrypt(sealed))
	requireDenied(t, "state_forbids_process", used, err)
}

func material(t *testing.T, c *custodiantest.Custodian) hsm.Material {
	t.Helper()
	v, _, err := store.Get[key.Version](c.View(), custodian.KindKeyVersion, key.VersionID(custodiantest.KeyID, 1))
	require.NoError(t, err)
	return v.Clone().Material
}

// A row edited in the database by hand denies whatever depends on it, at once, memory of earlier decisions or
// not; put right, it serves again.
func TestInvariant08_TamperedRowsDeny(t *testing.T) {
	c := custodiantest.New(t, custodiantest.Options{})
	ctx := context.Background()
	db := intruder(t, c)
	mustUse(t, c, dataKey(custodiantest.KeyID))
	for _, row := range []struct {
		kind store.Kind
		id   string
		code string
	}{
		{custodian.KindInstance, custodian.InstanceRow, "integrity"},
		{custodian.KindKey, custodiantest.KeyID, "integrity"},
		{custodian.KindKeyVersion, key.VersionID(custodiantest.KeyID, 1), "integrity"},
		{custodian.KindKeystore, custodiantest.KeystoreID, "integrity"},
		{custodian.KindApplication, custodiantest.ApplicationID, "integrity"},
		{custodian.KindToken, c.App.Credential, "integrity"},
		{custodian.KindGrant, custodiantest.GrantID, "grant_missing"}, // a grant only ever allows: without it nothing is
	} {
		t.Run(string(row.kind), func(t *testing.T) {
			var body []byte
			require.NoError(t, db.QueryRow(`SELECT body FROM authority_rows WHERE kind = ? AND id = ?`, string(row.kind), row.id).Scan(&body))
			write := func(body []byte) {
				_, err := db.Exec(`UPDATE authority_rows SET body = ? WHERE kind = ? AND id = ?`, body, string(row.kind), row.id)
				require.NoError(t, err)
				_, err = c.Store.Integrity(ctx)
				require.NoError(t, err)
			}
			write(append([]byte(`{"id":"x",`), body[1:]...))
			used, err := c.Use(ctx, c.App, dataKey(custodiantest.KeyID))
			requireDenied(t, row.code, used, err)
			require.Equal(t, row.code, last(t, c).Reason, "and it is on record")
			write(body)
			mustUse(t, c, dataKey(custodiantest.KeyID))
		})
	}
	_, err := db.Exec(`UPDATE authority_rows SET body = CAST('{}' AS BLOB) WHERE kind = 'keystore'`)
	require.NoError(t, err)
	_, err = c.Store.Integrity(ctx)
	require.NoError(t, err)
	_, err = c.Place(ctx, c.View(), placementKey())
	var tampered *store.TamperedError
	require.ErrorAs(t, err, &tampered, "a hidden keystore is not an absent one")
}

// Nothing is decided by a bundle that is not the one in force.
func TestPolicyNotInForce(t *testing.T) {
	c := custodiantest.New(t, custodiantest.Options{})
	ctx := context.Background()
	mustUse(t, c, dataKey(custodiantest.KeyID))
	change(t, c, custodian.KindInstance, custodian.InstanceRow, func(i *custodian.Instance) { i.PolicyDigest = "another" })
	used, err := c.Use(ctx, c.App, dataKey(custodiantest.KeyID))
	requireDenied(t, "policy_error", used, err)
	err = c.Read(ctx, human("demo-ada"), "ledger.read", ledger.Target{Type: "ledger", ID: "all"})
	requireDenied(t, "policy_error", custodian.Used{}, err)

	_, err = custodian.New(ctx, custodian.Config{Store: c.Store, Policies: c.Policies, Node: "n", AuditKey: c.AuditKey, Clock: c.Clock})
	var mismatch *custodian.PolicyMismatch
	require.ErrorAs(t, err, &mismatch)
	require.Equal(t, "another", mismatch.InForce)
}

func TestNewRefusesWhatIsIncomplete(t *testing.T) {
	c := custodiantest.New(t, custodiantest.Options{})
	ctx := context.Background()
	whole := custodian.Config{Store: c.Store, Policies: c.Policies, Node: "n", AuditKey: c.AuditKey, Clock: c.Clock}
	for name, edit := range map[string]func(*custodian.Config){
		"store":     func(cfg *custodian.Config) { cfg.Store = nil },
		"policies":  func(cfg *custodian.Config) { cfg.Policies = nil },
		"clock":     func(cfg *custodian.Config) { cfg.Clock = nil },
		"node":      func(cfg *custodian.Config) { cfg.Node = "" },
		"audit key": func(cfg *custodian.Config) { cfg.AuditKey = cfg.AuditKey[:31] },
	} {
		cfg := whole
		edit(&cfg)
		_, err := custodian.New(ctx, cfg)
		require.Error(t, err, name)
	}
	change(t, c, custodian.KindInstance, custodian.InstanceRow, func(i *custodian.Instance) { i.Mode = "lenient" })
	_, err := custodian.New(ctx, whole)
	require.ErrorContains(t, err, "mode")
}

// One application may hold several grants of a key; the one that covers the call counts.
func TestSeveralGrants(t *testing.T) {
	c := custodiantest.New(t, custodiantest.Options{})
	ctx := context.Background()
	at := c.Clock.Now()
	change(t, c, custodian.KindGrant, custodiantest.GrantID, func(g *access.Grant) {
		g.Context, g.Operations = map[string]string{"tenant": "north"}, []access.Operation{access.DataKey}
	})
	c.Put(t, custodian.KindGrant, "a-revoked", access.Grant{ID: "a-revoked", Application: c.App.ID, Key: custodiantest.KeyID,
		Operations: []access.Operation{access.DataKey}, CreatedAt: at, ExpiresAt: at.AddDate(1, 0, 0), RevokedAt: &at})
	c.Put(t, custodian.KindGrant, "south", access.Grant{ID: "south", Application: c.App.ID, Key: custodiantest.KeyID,
		Context: map[string]string{"tenant": "south"}, Operations: []access.Operation{access.DataKey}, CreatedAt: at, ExpiresAt: at.AddDate(1, 0, 0)})
	with := func(tenant string) (custodian.Used, error) {
		u := dataKey(custodiantest.KeyID)
		u.Context = map[string]string{"tenant": tenant, "order": "1"}
		return c.Use(ctx, c.App, u)
	}
	for _, tenant := range []string{"north", "south"} {
		_, err := with(tenant)
		require.NoError(t, err, tenant)
	}
	used, err := with("west")
	requireDenied(t, "context_mismatch", used, err)
	used, err = c.Use(ctx, c.App, encrypt(custodiantest.KeyID, "x"))
	denied := requireDenied(t, "grant_operation", used, err)
	require.NotEmpty(t, denied.Reasons[0].Remedy)
	c.Put(t, custodian.KindGrant, "tomorrow", access.Grant{ID: "tomorrow", Application: c.App.ID, Key: custodiantest.KeyID,
		Operations: []access.Operation{access.Decrypt}, CreatedAt: at.AddDate(0, 0, 1), ExpiresAt: at.AddDate(1, 0, 0)})
	north, err := with("north")
	require.NoError(t, err)
	u := decrypt(north.Ciphertext)
	u.Context = map[string]string{"tenant": "north", "order": "1"}
	used, err = c.Use(ctx, c.App, u)
	requireDenied(t, access.CodeGrantNotYet, used, err) // policy has no rule on it: the backstop in Go does
}
