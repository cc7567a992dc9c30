package recovery

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"conclave/ceremony/keyfile"
	"conclave/custodian"
	"conclave/custodian/backup"
	"conclave/custodian/identity"
	"conclave/custodian/ledger"
	"conclave/custodian/people"
	"conclave/custodian/store"
)

// Input is everything that a restore takes.
type Input struct {
	Session   *Opened
	Trust     *ledger.TrustFile
	Collector *keyfile.Signer // the session's own key file
	Given     []*Contribution
	Backup    string   // path of the file
	Journals  []string // files and directories, those that the session names
	Known     []ledger.Head
	Now       time.Time
	// Keys takes the node's keys, which it must not keep, and says where the ledger is to be restored to.
	Keys func(*backup.Keys) (store.Config, error)
	// Void ends the ceremonies that were open in the backup: what people had approved before the lost range may have
	// happened in it. It appends its own entries and returns how many there were.
	Void func(tx *store.Tx, recovery string) (int, error)
}

// Result says what was restored.
type Result struct {
	store.Restored
	Trust    *ledger.TrustFile // with the log keys that are in force again, and no later ones
	Recovery *backup.Recovery
	Document []byte // the recovery's row, as the ledger binds it
	Voided   int
}

// Done is a restore that stands.
type Done struct {
	Result
	DataDir   string // "" for a drill
	TrustFile string
}

// Run restores. The instance stands only when everything was verified, the quorum counted by the restored register
// itself, and what had restricted was applied again; otherwise nothing does.
func Run(ctx context.Context, in Input) (Result, error) {
	if err := in.Session.Alive(in.Now); err != nil {
		return Result{}, err
	}
	var err error
	if in.Trust, err = in.Session.Manifest.Follow(in.Trust); err != nil {
		return Result{}, err
	}
	lost, err := in.journals()
	if err != nil {
		return Result{}, err
	}
	f, err := os.Open(in.Backup)
	if err != nil {
		return Result{}, fmt.Errorf("opening backup: %w", err)
	}
	defer f.Close()
	file, err := backup.Open(f, in.Trust)
	if err != nil {
		return Result{}, err
	}
	if string(file.Envelope) != string(in.Session.Session.Manifest) {
		return Result{}, fmt.Errorf("the file is backup %s: %w", file.Manifest.ID, ErrOther)
	}
	keys, err := in.decrypt(file)
	if err != nil {
		return Result{}, err
	}
	cfg, err := in.Keys(keys)
	keys.Wipe()
	if err != nil {
		return Result{}, err
	}
	r := &run{Input: in, lost: lost, node: cfg.Node, file: file}
	restored, err := store.Restore(ctx, cfg, store.RestoreInput{Trust: in.Trust, Known: in.Known, Amend: r.amend, Records: func() (store.Record, error) {
		rec, err := file.Next()
		if err != nil && file.Complete() && file.Sum().SHA256 != in.Session.Backup.SHA256 {
			return rec, fmt.Errorf("%w: its SHA-256 is not the one that was approved", backup.ErrAltered)
		}
		return rec, err
	}})
	if err != nil {
		return Result{}, err
	}
	trust, err := in.Trust.Before(restored.Backup.Size)
	return Result{Restored: restored, Trust: trust, Recovery: r.record, Document: r.document, Voided: r.voided}, err
}

// journals reads them again and works out anew what the session says by them: nobody who signed could.
func (in *Input) journals() (*backup.Lost, error) {
	read, err := backup.ReadJournals(in.Journals, in.Trust, in.Session.Head.ControlCount)
	if err != nil {
		return nil, err
	}
	is, err := tellOf(in.Session.Manifest.ID, in.Session.Head, read, in.Known)
	if err != nil {
		return nil, err
	}
	if why := in.Session.differs(is); why != "" {
		return nil, fmt.Errorf("%s; give the same --journal and --known as when it was begun, or begin a new one: %w", why, ErrOther)
	}
	return read.After(in.Session.Manifest.ID, in.Session.Head)
}

func (in *Input) decrypt(file *backup.File) (*backup.Keys, error) {
	scalar, err := in.Session.Combine(in.Collector, in.Given)
	if err != nil {
		return nil, err
	}
	defer scalar.Wipe()
	var keys *backup.Keys
	err = scalar.Use(func(b []byte) error {
		private, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), b)
		if err != nil {
			return backup.ErrKey
		}
		keys, err = file.Decrypt(private)
		return err
	})
	return keys, err
}

// run is one restore under way.
type run struct {
	Input
	lost     *backup.Lost
	node     string
	file     *backup.File
	record   *backup.Recovery
	document []byte
	voided   int
}

// amend judges the quorum and begins the recovery epoch.
func (r *run) amend(tx *store.Tx, _ *ledger.VerifyReport, lost []ledger.Head) error {
	if err := r.checkLost(lost); err != nil {
		return err
	}
	changes, notes, err := r.restrictions(tx)
	if err != nil {
		return err
	}
	registered, err := r.restored(tx)
	if err != nil {
		return err
	}
	changes = append(changes, registered)
	quorum, err := r.Session.Judge(r.envelopes(), r.register(tx.View(), changes))
	if err != nil {
		return err
	}
	r.record = &backup.Recovery{ID: r.Session.ID, Session: r.Session.Raw, Size: r.Session.Head.Size, People: quorum.People, Witnesses: quorum.Witnesses,
		At: tx.Now(), Deviations: append(slices.Clone(r.Session.Deviations), notes...)}
	for _, e := range r.envelopes() {
		r.record.Envelopes = append(r.record.Envelopes, json.RawMessage(e))
	}
	for _, c := range changes {
		r.record.Restrictions = append(r.record.Restrictions, c.line())
	}
	r.record.Restrictions, r.record.Deviations = atMost(r.record.Restrictions, maxRecorded), atMost(r.record.Deviations, maxRecorded)
	if r.record.Rows, err = prefix(tx.View(), r.Session.Manifest, append(slices.Clone(quorum.People), quorum.Witnesses...)); err != nil {
		return err
	}
	if err := r.begin(tx, quorum); err != nil {
		return err
	}
	if len(notes) > 0 {
		changes = append(changes, r.finding(tx, quorum, len(notes)))
	}
	if err := r.apply(tx, changes); err != nil {
		return err
	}
	r.voided, err = r.Void(tx, r.Session.ID)
	return err
}

// checkLost: what is lost is what was approved.
func (r *run) checkLost(lost []ledger.Head) error {
	for _, h := range lost {
		known := slices.ContainsFunc(r.Session.Known, func(k ledger.Known) bool {
			return k.Size == h.Size && k.Root == h.Root.String() || k.Size > h.Size
		})
		if !known {
			return fmt.Errorf("a checkpoint of %d entries is known that the session does not name; begin a new session with it: %w", h.Size, ErrOther)
		}
	}
	return nil
}

func (r *run) envelopes() []jsontext.Value {
	var out []jsontext.Value
	for _, c := range r.Given {
		out = append(out, c.Envelope)
	}
	return out
}

// register is the restored register with the restrictions already in force: whoever left in the lost range does not
// count for bringing it back.
func (r *run) register(view *store.View, changes []change) Register {
	changed := func(kind store.Kind, id string) any {
		if i := slices.IndexFunc(changes, func(c change) bool { return c.kind == kind && c.id == id }); i >= 0 {
			return changes[i].value
		}
		return nil
	}
	return Register{
		Person: func(id string) *people.Person {
			if p, ok := changed(custodian.KindPerson, id).(*people.Person); ok {
				return p
			}
			p, _, err := store.Get[people.Person](view, custodian.KindPerson, id)
			if err != nil {
				return nil
			}
			return p
		},
		Share: func(set string, epoch uint32, index int) *people.Share {
			id := people.ShareID(set, epoch, index)
			if s, ok := changed(custodian.KindShare, id).(*people.Share); ok {
				return s
			}
			s, _, err := store.Get[people.Share](view, custodian.KindShare, id)
			if err != nil {
				return nil
			}
			return s
		},
	}
}

// prefix are the rows by which somebody else can judge the signatures, as the backup has them.
func prefix(view *store.View, m *backup.Manifest, who []string) ([]backup.PrefixRow, error) {
	var out []backup.PrefixRow
	add := func(kind store.Kind, id string) error {
		row, err := view.Get(kind, id)
		if err != nil {
			return err
		}
		out = append(out, backup.PrefixRow{Kind: string(kind), ID: id, Body: slices.Clone(row.Body)})
		return nil
	}
	for _, id := range who {
		if err := add(custodian.KindPerson, id); err != nil {
			return nil, err
		}
	}
	for _, s := range m.Shares {
		if !slices.Contains(who, s.Custodian) {
			continue
		}
		if err := add(custodian.KindShare, people.ShareID(m.ShareSet, m.Epoch, s.Index)); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func (r *run) entry(kind string, target ledger.Target, detail map[string]any) ledger.Entry {
	e := ledger.Entry{Type: kind, Actor: identity.Principal{Kind: identity.Node, ID: r.node}, Target: target, Outcome: ledger.Done,
		Policy: custodian.PolicyMark(r.Session.Manifest.Policy), Ceremony: r.Session.ID, Detail: custodian.Detail(detail)}
	return e
}

// maxNamed bounds the people named in an entry; the document names all of them.
const maxNamed = 32

// begin appends the entry that explains the fork to whoever saw the lost range.
func (r *run) begin(tx *store.Tx, q Quorum) error {
	if err := tx.Put(custodian.KindRecovery, r.record.ID, r.record); err != nil {
		return err
	}
	row, err := tx.View().Get(custodian.KindRecovery, r.record.ID)
	if err != nil {
		return err
	}
	r.document = slices.Clone(row.Body)
	detail := ledger.RecoveryDetail(r.Session.Backup.ID, r.Session.Known, q.People[:min(len(q.People), maxNamed)])
	detail["witnesses"] = q.Witnesses[:min(len(q.Witnesses), maxNamed)]
	detail["backup_sha256"], detail["session_sha256"] = r.Session.Backup.SHA256, r.Session.Digest()
	detail["checkpoint"] = map[string]any{"size": r.Session.Head.Size, "root": r.Session.Head.Root.String()}
	detail["lost_from"], detail["control_known_to"], detail["control_known_seq"] = r.Session.Head.Size, r.lost.To, r.lost.Last
	if len(r.Session.Known) > 0 {
		detail["lost_to"] = r.Session.Known[0].Size
	}
	return tx.Append(r.entry(ledger.RecoveryType, ledger.Target{Type: ledger.RecoveryKind, ID: r.record.ID}, detail))
}

// VerifyDocument judges a recovery document by rows that are proven to be those of the ledger before it: hash gives
// the SHA-256 of a row there, false for one that it does not have.
func VerifyDocument(doc *backup.Recovery, trust *ledger.TrustFile, hash func(kind, id string, body []byte) bool) (*Opened, Quorum, error) {
	o, err := Open(doc.Session, trust)
	if err != nil {
		return nil, Quorum{}, err
	}
	if o.ID != doc.ID || o.Head.Size != doc.Size || o.Scratch {
		return nil, Quorum{}, fmt.Errorf("the document is about another restore: %w", ErrOther)
	}
	persons, shares := map[string]*people.Person{}, map[string]*people.Share{}
	for _, row := range doc.Rows {
		kind := store.Kind(row.Kind)
		if kind != custodian.KindPerson && kind != custodian.KindShare {
			return nil, Quorum{}, fmt.Errorf("the document holds a row of kind %.32q: %w", row.Kind, ErrOther)
		}
		if !hash(row.Kind, row.ID, row.Body) {
			return nil, Quorum{}, fmt.Errorf("row %s %q of the document is not the one in the ledger", row.Kind, row.ID)
		}
		value, err := custodian.Schema()[kind].Decode(row.Body)
		if err != nil {
			return nil, Quorum{}, fmt.Errorf("row %s %q of the document: %w", row.Kind, row.ID, err)
		}
		switch v := value.(type) {
		case *people.Person:
			persons[row.ID] = v
		case *people.Share:
			shares[row.ID] = v
		}
	}
	var envelopes []jsontext.Value
	for _, e := range doc.Envelopes {
		envelopes = append(envelopes, jsontext.Value(e))
	}
	q, err := o.Judge(envelopes, Register{
		Person: func(id string) *people.Person { return persons[id] },
		Share: func(set string, epoch uint32, index int) *people.Share {
			return shares[people.ShareID(set, epoch, index)]
		}})
	return o, q, err
}

// Summary words a recovery for people.
func (o *Opened) Summary() string {
	lost := "nothing that anybody had seen was lost"
	if len(o.Known) > 0 {
		lost = fmt.Sprintf("entries %d to %d were lost", o.Head.Size, o.Known[0].Size-1)
	}
	return strings.TrimSpace(fmt.Sprintf("restored from backup %s at %d entries; %s", o.Backup.ID, o.Head.Size, lost))
}
