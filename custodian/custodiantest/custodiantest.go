// Package custodiantest gives tests of every package a real custodian to start from: a real SQLite
// database, a real software keystore opened with its activation secret, the real policy bundle, and a
// clock that moves when told to. All people and applications in it are demo data.
package custodiantest

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"conclave/custodian"
	"conclave/custodian/access"
	"conclave/custodian/identity"
	"conclave/custodian/key"
	"conclave/custodian/ledger"
	"conclave/custodian/people"
	"conclave/custodian/store"
	"conclave/custodian/store/storetest"
	"conclave/hsm"
	"conclave/hsm/secret"
	"conclave/hsm/soft"
	"conclave/policies"
)

// Ids of the demo rows that New puts.
const (
	KeystoreID    = "soft"
	KeyID         = "demo-orders"
	ApplicationID = "demo-shop"
	GrantID       = "demo-grant"
	NodeID        = "node-1"
)

// Options of New. The zero value is a development instance with the demo rows.
type Options struct {
	Empty  bool           // nothing but the instance row
	Mode   custodian.Mode // default development
	Schema store.Schema   // further row kinds, e.g. ceremonies
	// Class of the demo key; default internal.
	Class key.Classification
}

// Custodian is a running door and everything behind it.
type Custodian struct {
	*custodian.Service
	Store      *store.Store
	Segments   *custodian.SegmentSource
	Config     store.Config
	Policies   *policies.Engine
	Soft       *soft.Keystore
	Device     *Device       // Soft, as the door has it
	Activation *secret.Bytes // of Soft
	Clock      *Clock
	App        identity.Principal // the demo application, with its token
	Token      *secret.Bytes      // the application's token in the clear
	Instance   custodian.Instance
	AuditKey   []byte
	verifier   []byte // tells Activation from any other secret
}

// embedded is the compiled-in bundle, compiled once a test binary: an engine holds no state that a test could see.
// A busy machine must not turn a test's decision into a timeout.
var embedded = sync.OnceValues(func() (*policies.Engine, error) {
	return policies.New(context.Background(), policies.Options{Timeout: time.Minute})
})

// Device is a software keystore that can be made to look like a device, which cannot prove what it was validated for:
// the record of the keystore then says that.
type Device struct {
	*soft.Keystore
	declared atomic.Bool
}

// Declare makes it one.
func (d *Device) Declare() { d.declared.Store(true) }

// Facts implements hsm.Keystore.
func (d *Device) Facts() hsm.Facts {
	f := d.Keystore.Facts()
	if d.declared.Load() {
		f.FIPSStandard, f.FIPSLevel, f.Certificate, f.Declared = "", 0, "", true
	}
	return f
}

// New makes a custodian that ends with the test.
func New(t testing.TB, opts Options) *Custodian {
	t.Helper()
	ctx := context.Background()
	if opts.Mode == "" {
		opts.Mode = custodian.Development
	}
	if opts.Class == "" {
		opts.Class = key.Internal
	}
	engine, err := embedded()
	require.NoError(t, err)
	c := &Custodian{Policies: engine, Segments: custodian.NewSegmentSource(nil), Clock: NewClock(), AuditKey: make([]byte, 32)}
	rand.Read(c.AuditKey)
	digest := sha256.Sum256([]byte("demo genesis " + rand.Text()))
	c.Instance = custodian.Instance{ID: hex.EncodeToString(digest[:]), Name: "demo", Mode: opts.Mode,
		PolicyDigest: engine.Digest(), Genesis: []byte("demo")}

	c.makeKeystore(t)
	dir := t.TempDir()
	origin, err := ledger.Origin(c.Instance.ID)
	require.NoError(t, err)
	logKey, err := ledger.GenerateLogKey(filepath.Join(dir, "log.key"), origin)
	require.NoError(t, err)
	schema := custodian.Schema()
	for kind, spec := range opts.Schema {
		schema[kind] = spec
	}
	c.Config = store.Config{Driver: store.SQLite, DSN: storetest.SQLite(t, filepath.Join(dir, "conclave.db")), Schema: schema, LogKey: logKey,
		HighWaterPath: filepath.Join(dir, "checkpoint"), Clock: c.Clock, Node: NodeID, Segments: c.Segments}
	require.NoError(t, store.Initialise(ctx, c.Config, func(tx *store.Tx) error {
		if err := tx.Put(custodian.KindInstance, custodian.InstanceRow, c.Instance); err != nil {
			return err
		}
		return tx.Append(entry("genesis", ledger.Target{Type: "instance", ID: c.Instance.ID}))
	}))
	c.Open(t)
	if !opts.Empty {
		c.putDemoRows(t, opts.Class)
	}
	return c
}

// Open opens the store and the door; after Store.Close it opens them again, as a restart does.
func (c *Custodian) Open(t testing.TB) {
	t.Helper()
	ctx := context.Background()
	var err error
	c.Store, err = store.Open(ctx, c.Config)
	require.NoError(t, err)
	opened := c.Store
	t.Cleanup(func() { _ = opened.Close() })
	c.Service, err = custodian.New(ctx, custodian.Config{Store: c.Store, Policies: c.Policies, Node: NodeID,
		Keystores: map[string]hsm.Keystore{KeystoreID: c.Device}, AuditKey: c.AuditKey, Clock: c.Clock})
	require.NoError(t, err)
}

// Restart ends the process's state and starts it again on the same files, as after a crash or an upgrade: the
// keystore is inactive until Activate.
func (c *Custodian) Restart(t testing.TB) {
	t.Helper()
	require.NoError(t, c.Store.Close())
	require.NoError(t, c.Soft.Deactivate(context.Background()))
	c.newKeystore(t)
	c.Open(t)
}

// Activate gives the keystore its activation secret.
func (c *Custodian) Activate(t testing.TB) {
	t.Helper()
	require.NoError(t, c.Soft.Activate(context.Background(), c.Activation))
}

func (c *Custodian) makeKeystore(t testing.TB) {
	t.Helper()
	var err error
	c.Activation, c.verifier, err = soft.NewActivation()
	require.NoError(t, err)
	t.Cleanup(c.Activation.Wipe)
	c.newKeystore(t)
	c.Activate(t)
}

func (c *Custodian) newKeystore(t testing.TB) {
	t.Helper()
	ks, err := soft.New(soft.Config{ID: KeystoreID, Verifier: c.verifier})
	require.NoError(t, err)
	t.Cleanup(func() { _ = ks.Deactivate(context.Background()) })
	before := c.Device
	c.Soft, c.Device = ks, &Device{Keystore: ks}
	if before != nil {
		c.Device.declared.Store(before.declared.Load())
	}
}

// Put stores one row through the committer, as a ceremony would.
func (c *Custodian) Put(t testing.TB, kind store.Kind, id string, value any) {
	t.Helper()
	_, err := c.Store.Control(context.Background(), func(tx *store.Tx) error {
		if err := tx.Put(kind, id, value); err != nil {
			return err
		}
		return tx.Append(entry("demo.put", ledger.Target{Type: string(kind), ID: id}))
	})
	require.NoError(t, err)
}

func entry(eventType string, target ledger.Target) ledger.Entry {
	return ledger.Entry{Type: eventType, Actor: identity.Principal{Kind: identity.Node, ID: NodeID}, Target: target, Outcome: ledger.Done}
}

// People are the ids of the five demo people, in order.
func People() []string { return []string{"demo-ada", "demo-ben", "demo-cleo", "demo-dan", "demo-eve"} }

func (c *Custodian) putDemoRows(t testing.TB, class key.Classification) {
	t.Helper()
	now := c.Clock.Now()
	for i, id := range People() {
		roles := []people.Role{people.RoleCustodian, people.RoleKeyManager}
		if i < 2 {
			roles = append(roles, people.RoleSecurityOfficer, people.RoleKeyOwner)
		}
		c.Put(t, custodian.KindPerson, id, people.Person{ID: id, Name: "Demo person " + id, Roles: roles,
			Team: []string{"red", "green", "blue"}[i%3], Site: []string{"north", "south"}[i%2],
			Status: people.StatusActive, AddedAt: now, AddedBy: "genesis", Development: true})
	}
	c.Put(t, custodian.KindKeystore, KeystoreID, key.Keystore{ID: KeystoreID, Driver: "software", Custody: hsm.CustodySelf,
		Jurisdiction: "EU", Environment: "test", Location: "demo rack", Controller: "demo-ada",
		Capabilities: c.Soft.Capabilities(), Status: "registered", GovRevision: 1, Verifier: c.verifier,
		RegisteredAt: now, RegisteredBy: "genesis"})
	c.AddKey(t, KeyID, class)
	c.Put(t, custodian.KindApplication, ApplicationID, access.Application{ID: ApplicationID, Name: "Demo shop",
		Owner: "demo-ada", Environment: "test", Status: "active", EnrolledAt: now, EnrolledBy: "genesis", Development: true})
	token, cleartext, err := access.NewToken(string(identity.Application), ApplicationID, "genesis", now, 90*24*time.Hour)
	require.NoError(t, err)
	c.Token = cleartext
	c.Put(t, custodian.KindToken, token.ID, token)
	c.AddGrant(t, GrantID, ApplicationID, KeyID)
	c.App = identity.Principal{Kind: identity.Application, ID: ApplicationID, Credential: token.ID, Origin: "127.0.0.1", RequestID: "demo"}
}

// AddGrant lets an application use a key for everything that grants name, for a year.
func (c *Custodian) AddGrant(t testing.TB, id, application, keyID string) {
	t.Helper()
	now := c.Clock.Now()
	c.Put(t, custodian.KindGrant, id, access.Grant{ID: id, Application: application, Key: keyID,
		Operations: access.Operations(),
		CreatedAt:  now, ExpiresAt: now.AddDate(1, 0, 0), CreatedBy: "genesis"})
}

// AddKey makes a data-encryption key with one active version of a year.
func (c *Custodian) AddKey(t testing.TB, id string, class key.Classification) {
	t.Helper()
	c.AddKeyOf(t, id, class, hsm.AES256)
}

// AddKeyOf makes a key of a specification with one active version of a year.
func (c *Custodian) AddKeyOf(t testing.TB, id string, class key.Classification, spec hsm.Spec) {
	t.Helper()
	now := c.Clock.Now()
	c.Put(t, custodian.KindKey, id, key.Key{ID: id, Label: "Demo key", Type: key.TypeFor(spec), Spec: spec, Classification: class,
		Impact: key.Low, Jurisdiction: "EU", Environment: "test", Owner: "demo-ada", Keystore: KeystoreID, Origin: "generated",
		OUPDays: 365, RUPDays: 730, RotateDays: 300, Current: 1, Versions: 1, GovRevision: 1, CreatedAt: now,
		CreatedBy: "genesis", Development: true})
	c.Put(t, custodian.KindKeyVersion, key.VersionID(id, 1), c.NewVersionOf(t, id, 1, spec))
}

// NewVersion makes active data-encryption key material of a year; the caller puts it.
func (c *Custodian) NewVersion(t testing.TB, id string, number uint32) key.Version {
	t.Helper()
	return c.NewVersionOf(t, id, number, hsm.AES256)
}

// NewVersionOf makes active key material of a specification, of a year; the caller puts it.
func (c *Custodian) NewVersionOf(t testing.TB, id string, number uint32, spec hsm.Spec) key.Version {
	t.Helper()
	now := c.Clock.Now()
	material, err := c.Soft.Create(context.Background(), id, number, spec, rand.Text())
	require.NoError(t, err)
	v := key.Version{Key: id, Version: number, Type: key.TypeFor(spec), State: key.Active, Keystore: KeystoreID, Spec: spec, Public: material.Public,
		Material: material, StrengthBits: spec.StrengthBits(), CheckValue: material.CheckValue,
		Module: c.Soft.Facts().Module, RNG: c.Soft.Facts().RNG, GeneratedAt: now, ActivationAt: now,
		OUPEnd: now.Add(365 * 24 * time.Hour), RUPEnd: now.Add(730 * 24 * time.Hour),
		History: []key.Transition{
			{ID: "T1", To: key.PreActivation, At: now, Actor: "demo", Ceremony: "genesis", Reason: "demo"},
			{ID: "T4", From: key.PreActivation, To: key.Active, At: now, Actor: "demo", Ceremony: "genesis", Reason: "demo"}}}
	v.Material.Public = nil
	if spec.Kind() == hsm.Seals {
		v.Algorithm = hsm.AlgorithmDerivedAES256GCM
	}
	return v
}
