package recovery_test

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/stretchr/testify/require"

	"conclave/ceremony/issue"
	"conclave/ceremony/keyfile"
	"conclave/ceremony/recovery"
	"conclave/ceremony/shamir"
	"conclave/custodian"
	"conclave/custodian/backup"
	"conclave/custodian/custodiantest"
	"conclave/custodian/ledger"
	"conclave/custodian/oversight"
	"conclave/custodian/people"
	"conclave/custodian/store"
	"conclave/custodian/store/storetest"
)

func TestMain(m *testing.M) { os.Exit(storetest.Run(m)) }

// rig is an instance of which there is a backup and a journal, and people who can restore it.
type rig struct {
	*custodiantest.Custodian
	people map[string]*keyfile.Signer
	node   *keyfile.Signer
	trust  *ledger.TrustFile
	dir    string
	path   string // of the backup
	head   ledger.Head
}

func newRig(t *testing.T) *rig {
	t.Helper()
	r := &rig{Custodian: custodiantest.New(t, custodiantest.Options{}), people: map[string]*keyfile.Signer{}, dir: t.TempDir()}
	var err error
	r.node, err = keyfile.Generate(custodiantest.NodeID, "ES256")
	require.NoError(t, err)
	public, err := r.node.Public().ApprovalKey.Public()
	require.NoError(t, err)
	pinned, err := ledger.NewNodeKey(custodiantest.NodeID, public)
	require.NoError(t, err)
	r.trust = &ledger.TrustFile{Instance: r.Instance.ID, Origin: r.Config.LogKey.Origin, Mode: string(r.Instance.Mode), LogKeys: []string{r.Config.LogKey.VerifierKey},
		NodeKeys: []ledger.NodeKey{pinned}, CreatedAt: r.Clock.Now()}
	var holders []*people.Person
	for _, id := range append(custodiantest.People()[:3], "demo-wim") {
		p := &people.Person{ID: id, Name: id, Roles: []people.Role{people.RoleWitness}, Team: "t", Site: "s", Status: people.StatusActive, AddedBy: "genesis", AddedAt: r.Clock.Now()}
		if id != "demo-wim" {
			p, _, err = store.Get[people.Person](r.View(), custodian.KindPerson, id)
			require.NoError(t, err)
			holders = append(holders, p)
		}
		r.people[id], err = keyfile.Generate(id, "ES256")
		require.NoError(t, err)
		credential, err := r.people[id].Public().Credential(r.Clock.Now())
		require.NoError(t, err)
		p.ApprovalKeys = []people.Credential{credential}
		p.ShareKey, err = r.people[id].Public().ShareKey.JSON()
		require.NoError(t, err)
		p.ShareKeyID = r.people[id].Public().ShareKey.Thumbprint()
		r.Put(t, custodian.KindPerson, id, p)
	}
	r.backUp(t, holders)
	return r
}

// backUp issues the shares of a backup key and writes the backup.
func (r *rig) backUp(t *testing.T, holders []*people.Person) {
	t.Helper()
	pair, err := shamir.NewOpeningKey()
	require.NoError(t, err)
	issued, err := issue.Shares(pair.Scalar(), issue.Order{Set: "copies", Purpose: people.PurposeBackup, Epoch: 1, Threshold: 2, Holders: holders, RNG: "r", At: r.Clock.Now()})
	require.NoError(t, err)
	r.Put(t, custodian.KindShareSet, "copies", issued.Set)
	m := backup.Manifest{ID: "b-1", Schedule: "nightly", Instance: r.Instance.ID, Mode: string(r.Instance.Mode), Node: custodiantest.NodeID, Policy: "p", ShareSet: "copies", Epoch: 1,
		Threshold: 2, Key: pair.Public(), KeyID: pair.KeyID(), CreatedAt: r.Clock.Now()}
	for i := range issued.Shares {
		s := &issued.Shares[i]
		r.Put(t, custodian.KindShare, people.ShareID(s.Set, s.Epoch, s.Index), s)
		m.Shares = append(m.Shares, backup.ShareOf(s))
	}
	r.Put(t, custodian.KindBackupSchedule, "nightly", backup.Schedule{ID: "nightly", Directory: r.dir, EveryMinutes: 60, Keep: 2, ShareSet: "copies", Epoch: 1, Status: backup.ScheduleActive})
	r.head = r.View().Head()
	var out bytes.Buffer
	var w *backup.Writer
	require.NoError(t, r.Store.Export(t.Context(), func(rec store.Record) error {
		if rec.Type == store.RecordHead {
			m.Checkpoint = string(rec.Body)
			if w, err = backup.NewWriter(&out, m, &backup.Keys{Log: []byte("l"), Node: []byte("n"), Audit: []byte("a"), Challenge: []byte("c")}, r.node); err != nil {
				return err
			}
		}
		return w.Record(rec)
	}))
	_, err = w.Close()
	require.NoError(t, err)
	r.path = filepath.Join(r.dir, m.FileName())
	require.NoError(t, os.WriteFile(r.path, out.Bytes(), 0o600))
}

// journal writes what happened since, as the engine does.
func (r *rig) journal(t *testing.T) {
	t.Helper()
	j, err := backup.OpenJournal(backup.JournalFile(r.path, ""), r.Instance.ID, "b-1", r.head.ControlCount-1, r.head.ControlLast, r.node, r.trust.NodeKeys)
	require.NoError(t, err)
	b := backup.Block{Facts: []backup.Fact{}, Checkpoint: string(r.Store.Checkpoint())}
	require.NoError(t, r.Store.ControlEntries(t.Context(), r.head.ControlLast, func(e *ledger.Entry, raw []byte) error {
		b.Entries = append(b.Entries, bytes.Clone(raw))
		for _, c := range e.Rows {
			row, err := r.View().Get(store.Kind(c.Kind), c.ID)
			if err != nil {
				return err
			}
			if f, restricts := backup.FactOf(c.Kind, c.ID, row.Revision, row.Value); restricts && e.Seq >= r.head.Size {
				b.Facts = append(b.Facts, f)
			}
		}
		return nil
	}))
	require.NoError(t, j.Append(b))
}

// begin opens a session by these journals; forge changes what it says.
func (r *rig) begin(t *testing.T, journals []string, forge func(*recovery.Session)) ([]byte, *keyfile.Signer) {
	t.Helper()
	f, err := os.Open(r.path)
	require.NoError(t, err)
	defer f.Close()
	in := recovery.BeginInput{Trust: r.trust, Target: "/nowhere", Driver: "sqlite", Now: r.Clock.Now()}
	in.File, err = backup.Open(f, r.trust)
	require.NoError(t, err)
	in.Written, err = in.File.Verify()
	require.NoError(t, err)
	in.Lost, err = backup.ReadJournals(journals, r.trust, r.head.ControlCount)
	require.NoError(t, err)
	collector, err := keyfile.Generate("restore-session", "ES256")
	require.NoError(t, err)
	in.Collector = collector.Public().ShareKey
	s, raw, err := recovery.Begin(in)
	require.NoError(t, err)
	if forge != nil {
		forge(s)
		raw, err = json.Marshal(s)
		require.NoError(t, err)
		v := jsontext.Value(raw)
		require.NoError(t, v.Canonicalize())
		raw = v
	}
	return raw, collector
}

// run has a quorum sign a session and carries it out.
func (r *rig) run(t *testing.T, raw []byte, collector *keyfile.Signer, journals []string) (store.Config, recovery.Result, error) {
	t.Helper()
	o, err := recovery.Open(raw, r.trust)
	require.NoError(t, err)
	in := recovery.Input{Session: o, Trust: r.trust, Collector: collector, Backup: r.path, Journals: journals, Now: r.Clock.Now(),
		Void: func(*store.Tx, string) (int, error) { return 0, nil }}
	for _, id := range []string{"demo-ada", "demo-ben"} {
		given, err := o.Contribute(r.people[id], r.Clock.Now())
		require.NoError(t, err)
		in.Given = append(in.Given, given)
	}
	seen, err := o.Witness(r.people["demo-wim"], r.Clock.Now())
	require.NoError(t, err)
	in.Given = append(in.Given, seen)
	cfg := storetest.Config(t, store.SQLite, r.Config.Schema)
	cfg.LogKey, cfg.Clock, cfg.Node = r.Config.LogKey, r.Clock, custodiantest.NodeID
	in.Keys = func(*backup.Keys) (store.Config, error) { return cfg, nil }
	out, err := recovery.Run(t.Context(), in)
	return cfg, out, err
}

// A session is signed by people who cannot work out what it says. Whatever does not follow from the journals is refused.
func TestInvariant02_ASessionSaysWhatTheJournalsSay(t *testing.T) {
	r := newRig(t)
	r.Clock.Advance(time.Minute)
	r.Put(t, custodian.KindHold, "h-1", oversight.Hold{ID: "h-1", On: oversight.Ref{Type: oversight.HoldInstance}, Matter: "m", SetAt: r.Clock.Now(), SetBy: "demo-ada"})
	dan, _, err := store.Get[people.Person](r.View(), custodian.KindPerson, "demo-dan")
	require.NoError(t, err)
	dan.Status = people.StatusLeft
	r.Put(t, custodian.KindPerson, "demo-dan", dan)
	r.Put(t, custodian.KindBackup, "b-1", backup.Copy{ID: "b-1", Schedule: "nightly", Status: backup.CopyPresent})
	r.Put(t, custodian.KindBackup, "b-2", backup.Copy{ID: "b-2", Schedule: "nightly", Status: backup.CopyPresent})
	r.journal(t)
	journals := []string{r.dir}

	for name, forge := range map[string]func(*recovery.Session){
		"a restriction left out":  func(s *recovery.Session) { s.Restrictions = s.Restrictions[1:] },
		"a restriction invented":  func(s *recovery.Session) { s.Restrictions = append(s.Restrictions, "person demo-ada: left") },
		"a note left out":         func(s *recovery.Session) { s.Deviations = s.Deviations[:len(s.Deviations)-1] },
		"more known than is":      func(s *recovery.Session) { s.Control-- },
		"a checkpoint left out":   func(s *recovery.Session) { s.Known = append(s.Known, s.Known[0]); s.Known[1].Size-- },
		"another journal's bytes": func(s *recovery.Session) { s.Journals[0].SHA256 = s.Backup.SHA256 },
	} {
		raw, collector := r.begin(t, journals, forge)
		_, _, err := r.run(t, raw, collector, journals)
		require.ErrorIs(t, err, recovery.ErrOther, name)
	}
	for name, forge := range map[string]func(*recovery.Session){
		"no journal, and no word of it": func(s *recovery.Session) { s.Deviations = s.Deviations[1:] },
		"known without a journal":       func(s *recovery.Session) { s.Restrictions = []string{"person demo-ada: left"} },
	} {
		raw, _ := r.begin(t, nil, forge)
		_, err := recovery.Open(raw, r.trust)
		require.ErrorIs(t, err, recovery.ErrSession, name)
	}

	raw, collector := r.begin(t, journals, nil)
	cfg, out, err := r.run(t, raw, collector, journals)
	require.NoError(t, err)
	s := storetest.Open(t, cfg)
	hold, _, err := store.Get[oversight.Hold](s.View(), custodian.KindHold, "h-1")
	require.NoError(t, err)
	require.True(t, hold.InForce(), "a hold that the backup lacks is set again")
	dan, _, err = store.Get[people.Person](s.View(), custodian.KindPerson, "demo-dan")
	require.NoError(t, err)
	require.Equal(t, people.StatusLeft, dan.Status)
	own, _, err := store.Get[backup.Copy](s.View(), custodian.KindBackup, "b-1")
	require.NoError(t, err, "the backup that was restored is on register")
	require.Equal(t, r.path, own.File)
	require.Empty(t, own.LeftBy)
	later, _, err := store.Get[backup.Copy](s.View(), custodian.KindBackup, "b-2")
	require.NoError(t, err, "and those that came after it")
	require.Equal(t, out.Recovery.ID, later.LeftBy)

	// Whoever judges it later reads rows of people and shares, and nothing else, whatever the ledger holds.
	yes := func(string, string, []byte) bool { return true }
	_, _, err = recovery.VerifyDocument(out.Recovery, r.trust, yes)
	require.NoError(t, err)
	for _, kind := range []string{"ceremony", "key", ""} {
		bad := *out.Recovery
		bad.Rows = append([]backup.PrefixRow{{Kind: kind, ID: "x", Body: []byte("{}")}}, bad.Rows...)
		_, _, err = recovery.VerifyDocument(&bad, r.trust, yes)
		require.ErrorIs(t, err, recovery.ErrOther)
	}
}

// FuzzRecoveryDocument: a document comes from a ledger that may be hostile, and is judged by whoever saw another.
func FuzzRecoveryDocument(f *testing.F) {
	f.Add([]byte(`{"id":"r-1","session":"e30=","envelopes":[{}],"rows":[{"kind":"ceremony","id":"x","body":"e30="}],"size":1,"people":[],"witnesses":[],"at":"2026-11-24T00:00:00Z"}`))
	trust := &ledger.TrustFile{}
	f.Fuzz(func(t *testing.T, raw []byte) {
		value, err := custodian.Schema()[custodian.KindRecovery].Decode(raw)
		if err != nil {
			return
		}
		_, _, err = recovery.VerifyDocument(value.(*backup.Recovery), trust, func(string, string, []byte) bool { return true })
		if err == nil {
			t.Fatal("a document without a session was believed")
		}
	})
}
