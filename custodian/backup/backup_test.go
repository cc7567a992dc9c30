package backup_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"conclave/custodian"
	"conclave/custodian/backup"
	"conclave/custodian/custodiantest"
	"conclave/custodian/dsse"
	"conclave/custodian/identity"
	"conclave/custodian/jwk"
	"conclave/custodian/key"
	"conclave/custodian/ledger"
	"conclave/custodian/people"
	"conclave/custodian/store"
	"conclave/custodian/store/storetest"
)

func TestMain(m *testing.M) { os.Exit(storetest.Run(m)) }

// rig is an instance, its node's key, and a backup key.
type rig struct {
	*custodiantest.Custodian
	signer  dsse.Signer
	trust   *ledger.TrustFile
	private *ecdsa.PrivateKey
	public  jwk.Key
}

func newRig(t *testing.T) *rig {
	t.Helper()
	r := &rig{Custodian: custodiantest.New(t, custodiantest.Options{})}
	node, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	r.signer, err = dsse.NewSigner(node)
	require.NoError(t, err)
	pinned, err := ledger.NewNodeKey(custodiantest.NodeID, node.Public())
	require.NoError(t, err)
	r.trust = &ledger.TrustFile{Instance: r.Instance.ID, Origin: r.Config.LogKey.Origin, Mode: string(r.Instance.Mode), LogKeys: []string{r.Config.LogKey.VerifierKey},
		NodeKeys: []ledger.NodeKey{pinned}, CreatedAt: r.Clock.Now()}
	r.private, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	r.public, err = jwk.New(r.private.Public(), jwk.ECDHA256K, "enc")
	require.NoError(t, err)
	return r
}

// backUp writes a backup into memory.
func (r *rig) backUp(t *testing.T) []byte {
	t.Helper()
	var out bytes.Buffer
	var w *backup.Writer
	require.NoError(t, r.Store.Export(t.Context(), func(rec store.Record) error {
		if rec.Type == store.RecordHead {
			m := backup.Manifest{ID: "b-1", Schedule: "nightly", Instance: r.Instance.ID, Mode: string(r.Instance.Mode), Node: custodiantest.NodeID,
				Checkpoint: string(rec.Body), ShareSet: "backup-shares", Epoch: 1, Threshold: 2, Key: r.public, KeyID: r.public.Thumbprint(), CreatedAt: r.Clock.Now(),
				Shares: []backup.Share{{Index: 1, Custodian: "a"}, {Index: 2, Custodian: "b"}, {Index: 3, Custodian: "c"}}}
			var err error
			w, err = backup.NewWriter(&out, m, &backup.Keys{Log: []byte("log"), Node: []byte("node"), Audit: []byte("audit"), Challenge: []byte("challenge")}, r.signer)
			if err != nil {
				return err
			}
		}
		return w.Record(rec)
	}))
	sum, err := w.Close()
	require.NoError(t, err)
	require.EqualValues(t, out.Len(), sum.Bytes)
	return out.Bytes()
}

// restore opens a backup and restores it, applying facts as a recovery does.
func (r *rig) restore(t *testing.T, data []byte, driver string, private *ecdsa.PrivateKey, facts []backup.Fact) (store.Config, error) {
	t.Helper()
	f, err := backup.Open(bytes.NewReader(data), r.trust)
	if err != nil {
		return store.Config{}, err
	}
	keys, err := f.Decrypt(private)
	if err != nil {
		return store.Config{}, err
	}
	require.Equal(t, "challenge", string(keys.Challenge))
	cfg := storetest.Config(t, driver, r.Config.Schema)
	cfg.LogKey, cfg.Clock, cfg.Node = r.Config.LogKey, r.Clock, custodiantest.NodeID
	_, err = store.Restore(t.Context(), cfg, store.RestoreInput{Records: f.Next, Trust: r.trust, Amend: func(tx *store.Tx, _ *ledger.VerifyReport, _ []ledger.Head) error {
		act := backup.Act{Actor: "node:node-1", Ceremony: "r-test", At: tx.Now()}
		for _, fact := range backup.Newest(facts) {
			row, err := tx.View().Get(store.Kind(fact.Kind), fact.ID)
			if errors.Is(err, store.ErrNotFound) {
				continue
			}
			value, err := custodian.Schema()[row.Kind].Decode(row.Body)
			if err != nil {
				return err
			}
			applied, err := backup.Restrict(value, fact, act)
			if err != nil {
				return err
			}
			if applied.Next != nil {
				if err := tx.Put(row.Kind, row.ID, applied.Next); err != nil {
					return err
				}
			}
		}
		return tx.Append(ledger.Entry{Type: "recovery.test", Actor: identity.Principal{Kind: identity.Node, ID: "node-1"}, Target: ledger.Target{Type: "recovery", ID: "r-test"}, Outcome: ledger.Done})
	}})
	return cfg, err
}

// facts are what a journal would say of every row now.
func (r *rig) facts() []backup.Fact {
	var out []backup.Fact
	for kind := range custodian.Schema() {
		for row := range r.View().List(kind) {
			if f, restricts := backup.FactOf(string(kind), row.ID, row.Revision, row.Value); restricts {
				out = append(out, f)
			}
		}
	}
	return out
}

// A backup of last month, after a departure and a destruction: who left stays away, and what was destroyed stays
// destroyed, its material never written to the restored database. On both databases, from one format.
func TestInvariant04_TheDestroyedAndTheDepartedStaySo(t *testing.T) {
	r := newRig(t)
	r.AddKey(t, "other", key.Internal)
	data := r.backUp(t)
	before, _, err := store.Get[key.Version](r.View(), custodian.KindKeyVersion, key.VersionID(custodiantest.KeyID, 1))
	require.NoError(t, err)
	blob := before.Material.Blob
	require.NotEmpty(t, blob)

	r.Clock.Advance(40 * 24 * time.Hour)
	destroyed, err := backup.Restrict(before.Clone(), backup.Fact{State: string(key.Destroyed)}, backup.Act{Actor: "x", Ceremony: "c-1", At: r.Clock.Now()})
	require.NoError(t, err)
	r.Put(t, custodian.KindKeyVersion, key.VersionID(custodiantest.KeyID, 1), destroyed.Next)
	gone, _, err := store.Get[people.Person](r.View(), custodian.KindPerson, "demo-eve")
	require.NoError(t, err)
	gone.Status = people.StatusLeft
	r.Put(t, custodian.KindPerson, "demo-eve", gone)

	for _, driver := range storetest.Drivers() {
		cfg, err := r.restore(t, data, driver, r.private, r.facts())
		require.NoError(t, err, driver)
		s := storetest.Open(t, cfg)
		require.NoError(t, s.Health())
		v, _, err := store.Get[key.Version](s.View(), custodian.KindKeyVersion, key.VersionID(custodiantest.KeyID, 1))
		require.NoError(t, err)
		require.Equal(t, key.Destroyed, v.State)
		require.Empty(t, v.Material.Blob)
		require.NoError(t, v.CheckHistory())
		other, _, err := store.Get[key.Version](s.View(), custodian.KindKeyVersion, key.VersionID("other", 1))
		require.NoError(t, err)
		require.Equal(t, key.Active, other.State)
		p, _, err := store.Get[people.Person](s.View(), custodian.KindPerson, "demo-eve")
		require.NoError(t, err)
		require.Equal(t, people.StatusLeft, p.Status)
		found, err := s.Integrity(t.Context())
		require.NoError(t, err)
		require.Empty(t, found)
		if driver == store.SQLite {
			require.NoError(t, s.Close())
			raw, err := os.ReadFile(cfg.DSN)
			require.NoError(t, err)
			require.NotContains(t, string(raw), string(blob[8:24]), "the material was written")
			_, err = store.Restore(t.Context(), cfg, store.RestoreInput{Trust: r.trust, Records: func() (store.Record, error) { return store.Record{}, io.EOF }})
			require.ErrorIs(t, err, store.ErrInitialised, "a database that holds a ledger is left alone")
		}
	}
}

func TestBackupRefusesWhatIsNotWhole(t *testing.T) {
	r := newRig(t)
	data := r.backUp(t)
	stranger, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	_, err = r.restore(t, data, store.SQLite, stranger, nil)
	require.ErrorIs(t, err, backup.ErrKey)
	foreign := newRig(t)
	_, err = backup.Open(bytes.NewReader(data), foreign.trust)
	require.ErrorIs(t, err, backup.ErrSigned)
	for at := 0; at < len(data); at += max(1, len(data)/97) {
		f, err := backup.Open(bytes.NewReader(data[:at]), r.trust)
		if err == nil {
			_, err = f.Verify()
		}
		require.Error(t, err, "cut at %d", at)
		bad := bytes.Clone(data)
		bad[at] ^= 1
		if f, err = backup.Open(bytes.NewReader(bad), r.trust); err == nil {
			_, err = f.Verify()
		}
		require.Error(t, err, "altered at %d", at)
		_, err = r.restore(t, bad, store.SQLite, r.private, nil)
		require.Error(t, err, "altered at %d", at)
	}
	schema := store.Schema{}
	for kind, spec := range r.Config.Schema {
		if kind != custodian.KindGrant {
			schema[kind] = spec
		}
	}
	r.Config.Schema = schema
	_, err = r.restore(t, data, store.SQLite, r.private, nil)
	require.ErrorIs(t, err, store.ErrNewerSchema)
}

func TestJournalGoesOnAfterACrash(t *testing.T) {
	r := newRig(t)
	path := filepath.Join(t.TempDir(), "b-1"+backup.JournalSuffix)
	open := func() *backup.Journal {
		j, err := backup.OpenJournal(path, r.Instance.ID, "b-1", 0, 0, r.signer, r.trust.NodeKeys)
		require.NoError(t, err)
		return j
	}
	var entries [][]byte
	require.NoError(t, r.Store.ControlEntries(t.Context(), 0, func(_ *ledger.Entry, raw []byte) error {
		entries = append(entries, bytes.Clone(raw))
		return nil
	}))
	require.NoError(t, open().Append(backup.Block{Entries: entries[:2], Facts: r.facts(), Checkpoint: string(r.Store.Checkpoint())}))
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	require.NoError(t, err)
	_, err = f.WriteString(`{"payload":"half a li`)
	require.NoError(t, err)
	require.NoError(t, f.Close())
	lost, err := backup.ReadJournals([]string{path}, r.trust, 0)
	require.NoError(t, err, "what a crash cut short is not there")
	require.EqualValues(t, 2, lost.To)
	j := open()
	require.EqualValues(t, 2, j.Next())
	require.NoError(t, j.Append(backup.Block{Entries: entries[2:], Facts: []backup.Fact{}, Checkpoint: string(r.Store.Checkpoint())}))
	lost, err = backup.ReadJournals([]string{filepath.Dir(path)}, r.trust, 1)
	require.NoError(t, err)
	require.EqualValues(t, len(entries), lost.To, "without a gap")
	require.NotEmpty(t, lost.Facts)

	data, err := os.ReadFile(path)
	require.NoError(t, err)
	lines := bytes.SplitAfter(data, []byte("\n"))
	require.NoError(t, os.WriteFile(path, lines[1], 0o600))
	_, err = backup.ReadJournals([]string{path}, r.trust, 0)
	require.ErrorIs(t, err, backup.ErrJournal, "a block was taken out")
	data[len(lines[0])/2] ^= 1
	require.NoError(t, os.WriteFile(path, data, 0o600))
	_, err = backup.ReadJournals([]string{path}, r.trust, 0)
	require.ErrorIs(t, err, backup.ErrJournal)
}

func TestNewestKeepsWhatIsFinal(t *testing.T) {
	facts := backup.Newest([]backup.Fact{
		{Kind: "person", ID: "a", Revision: 2, State: "suspended"}, {Kind: "person", ID: "a", Revision: 3},
		{Kind: "person", ID: "b", Revision: 5, State: "left"}, {Kind: "person", ID: "b", Revision: 6},
		{Kind: "key_version", ID: "k/1", Revision: 3, State: "destroyed"}, {Kind: "key_version", ID: "k/1", Revision: 4, State: "suspended"},
	})
	states := map[string]string{}
	for _, f := range facts {
		states[f.ID] = f.State
	}
	require.Equal(t, map[string]string{"a": "", "b": "left", "k/1": "destroyed"}, states, "a suspension that was lifted is lifted; an end is an end")
}

// journal writes what a ledger holds from a backup on, a block an entry.
func (r *rig) journal(t *testing.T, s *store.Store, path, id string, head ledger.Head) {
	t.Helper()
	j, err := backup.OpenJournal(path, r.Instance.ID, id, head.ControlCount-1, head.ControlLast, r.signer, r.trust.NodeKeys)
	require.NoError(t, err)
	require.NoError(t, s.ControlEntries(t.Context(), head.ControlLast, func(e *ledger.Entry, raw []byte) error {
		b := backup.Block{Entries: [][]byte{bytes.Clone(raw)}, Facts: []backup.Fact{}, Checkpoint: string(s.Checkpoint())}
		for _, c := range e.Rows {
			row, err := s.View().Get(store.Kind(c.Kind), c.ID)
			if err != nil {
				return err
			}
			if f, restricts := backup.FactOf(c.Kind, c.ID, row.Revision, row.Value); restricts {
				b.Facts = append(b.Facts, f)
			}
		}
		return j.Append(b)
	}))
}

func suspend(t *testing.T, s *store.Store, id string, status people.Status) {
	t.Helper()
	_, err := s.Control(t.Context(), func(tx *store.Tx) error {
		p, _, err := store.Get[people.Person](tx.View(), custodian.KindPerson, id)
		if err != nil {
			return err
		}
		p.Status = status
		if err := tx.Put(custodian.KindPerson, id, p); err != nil {
			return err
		}
		return tx.Append(ledger.Entry{Type: "test.status", Actor: identity.Principal{Kind: identity.Node, ID: "node-1"}, Target: ledger.Target{Type: "person", ID: id}, Outcome: ledger.Done})
	})
	require.NoError(t, err)
}

// After a restore two histories have the same numbers and their journals lie in one folder. What the newer one restricts
// is not undone by what the one that was left behind had released.
func TestInvariant08_ASecondRestoreLosesNoRestriction(t *testing.T) {
	r := newRig(t)
	data, first, dir := r.backUp(t), r.View().Head(), t.TempDir()
	suspend(t, r.Store, "demo-eve", people.StatusSuspended)
	suspend(t, r.Store, "demo-eve", people.StatusActive)
	suspend(t, r.Store, "demo-dan", people.StatusLeft)
	suspend(t, r.Store, "demo-eve", people.StatusActive)
	r.journal(t, r.Store, filepath.Join(dir, "a.journal"), "b-1", first)

	cfg, err := r.restore(t, data, store.SQLite, r.private, nil)
	require.NoError(t, err)
	s := storetest.Open(t, cfg)
	suspend(t, s, "demo-eve", people.StatusSuspended)
	second := s.View().Head()
	suspend(t, s, "demo-ben", people.StatusSuspended)
	r.journal(t, s, filepath.Join(dir, "b.journal"), "b-1", first)
	r.journal(t, s, filepath.Join(dir, "c.journal"), "b-2", second)

	states := func(id string, head ledger.Head) (map[string]string, *backup.Lost) {
		all, err := backup.ReadJournals([]string{dir}, r.trust, head.ControlCount)
		require.NoError(t, err)
		lost, err := all.After(id, head)
		require.NoError(t, err)
		out := map[string]string{}
		for _, f := range lost.Facts {
			if f.State != "" {
				out[f.ID] = f.State
			}
		}
		return out, lost
	}
	got, lost := states("b-1", first)
	require.Equal(t, map[string]string{"demo-eve": "suspended", "demo-ben": "suspended", "demo-dan": "left"}, got)
	require.Contains(t, lost.Notes[0], "2 histories")
	got, lost = states("b-2", second)
	require.Equal(t, map[string]string{"demo-ben": "suspended"}, got, "what was left before this backup is not of its history")
	require.Equal(t, s.View().Head().ControlCount, lost.To)
	require.Contains(t, lost.Notes[0], "left before")
	require.Equal(t, []string{"demo-ben"}, lost.Changed["person"])
}
