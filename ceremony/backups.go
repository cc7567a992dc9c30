package ceremony

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"conclave/ceremony/operation"
	"conclave/custodian"
	"conclave/custodian/backup"
	"conclave/custodian/identity"
	"conclave/custodian/ledger"
	"conclave/custodian/location"
	"conclave/custodian/store"
)

// backUpAgain is how long a scheduled copy that failed, which is recorded, is left alone (ours).
const backUpAgain = 10 * time.Minute

// backups is what this process knows of copies and journals under way.
type backups struct {
	copying   sync.Mutex               // of one BackUp
	notBefore map[string]time.Duration // by params, monotonic; BackUp's own
	missing   map[string]bool          // copies out of retention whose file is not there: said once; BackUp's own

	writing   sync.Mutex                 // of one Journal
	journals  map[string]*backup.Journal // by path; Journal's own
	published map[string]publication     // journals in an object store, by place; Journal's own
}

// publishEvery is how often a journal in an object store, which is stored whole each time, is brought up to date (ours).
const publishEvery = 10 * time.Second

// publication is how far the object of a journal goes, and when it is next looked at, monotonic.
type publication struct {
	next      uint64
	notBefore time.Duration
}

// Journal writes the journals on beside this node's newest copies. Every replica calls it, every few seconds, apart from
// BackUp: that one of them makes copies now does not mean that it holds those that exist.
func (e *Engine) Journal(ctx context.Context) error {
	if e.env.Copier == nil {
		return nil
	}
	e.copies.writing.Lock()
	defer e.copies.writing.Unlock()
	return e.journal(ctx)
}

// BackUp makes the copies that are due, one replica at a time (copying), and has every node delete its own that are out
// of retention. It is called every few seconds and apart from Tick: a copy may take long, and nothing waits for it.
func (e *Engine) BackUp(ctx context.Context, copying bool) error {
	if e.env.Copier == nil {
		return nil
	}
	e.copies.copying.Lock()
	defer e.copies.copying.Unlock()
	errs := []error{e.deleteExpired(ctx, copying)}
	if copying {
		errs = append(errs, e.copyDue(ctx))
	}
	return errors.Join(errs...)
}

func (e *Engine) copyDue(ctx context.Context) error {
	var errs []error
	view := e.store.View()
	for _, s := range (operation.Jobs{Env: e.env}).DueBackups(view, e.clock.Now()) {
		if e.clock.Elapsed() < e.copies.notBefore[string(s.Params)] || underWay(view, s) || e.ClockProblem() != "" {
			continue
		}
		c, once, err := e.Propose(ctx, e.self(), Proposal{Operation: s.Operation, Params: s.Params, Reason: s.Reason})
		wipe(once)
		if err != nil {
			e.copies.notBefore[string(s.Params)] = e.clock.Elapsed() + backUpAgain
			e.log.Error("a scheduled backup failed", "params", string(s.Params), "error", err)
			errs = append(errs, fmt.Errorf("scheduled %s: %w", s.Operation, err))
			continue
		}
		e.log.Info("backup made", "ceremony", c.ID, "result", string(c.Result))
	}
	return errors.Join(errs...)
}

// underWay: the same copy is being made, here or elsewhere, or its ceremony waits to be recovered.
func underWay(view *store.View, s operation.Scheduled) bool {
	for _, c := range store.Active[Ceremony](view, Kind) {
		if c.Operation == s.Operation && string(c.Params) == string(s.Params) {
			return true
		}
	}
	return false
}

// deleteExpired deletes files that retention no longer keeps, and records each once it is gone.
func (e *Engine) deleteExpired(ctx context.Context, copying bool) error {
	var errs []error
	for _, c := range operation.Copies(e.store.View(), "", backup.CopyExpired) {
		if _, _, object := location.Object(c.File); !e.env.Copier.Reaches(e.door.Node(), c) || object && !copying {
			continue // written on another node, which has the directory; or another's turn
		}
		gone, err := e.env.Copier.RemoveCopy(ctx, c, e.oldest(c))
		if err != nil {
			errs = append(errs, err)
			continue
		}
		if !gone && !e.env.Copier.Writes(ctx, e.store.View(), e.door.Node(), c) {
			if !e.copies.missing[c.ID] {
				e.copies.missing[c.ID] = true
				e.log.Warn("a copy that is to be deleted is not where it was written, and counts until people say that it is gone (backup delete --gone)", "backup", c.ID, "file", c.File)
			}
			continue
		}
		cause := "retention"
		if c.GoneBy != "" {
			cause = c.GoneBy // decided on another node
		}
		_, err = e.store.Control(ctx, func(tx *store.Tx) error {
			now := tx.Now()
			c.Status, c.GoneAt, c.GoneBy = backup.CopyDeleted, &now, cause
			if err := tx.Put(custodian.KindBackup, c.ID, c); err != nil {
				return err
			}
			return tx.Append(ledger.Entry{Type: "backup.delete", Actor: e.self(), Target: ledger.Target{Type: "backup", ID: c.ID}, Outcome: ledger.Done,
				Policy: custodian.PolicyMark(e.door.PoliciesOf(e.store.View()).Digest()), Detail: custodian.Detail(map[string]any{"sha256": c.SHA256, "file": c.File, "cause": cause})})
		})
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// oldest: no older copy of the schedule is left that would need this one's journal.
func (e *Engine) oldest(c *backup.Copy) bool {
	for _, other := range store.All[backup.Copy](e.store.View(), custodian.KindBackup) {
		if other.Schedule == c.Schedule && other.Outstanding() && other.Size < c.Size {
			return false
		}
	}
	return true
}

// journal writes what happened on the control plane since the newest copies into the journals beside them. A part
// goes on until the next copy begins one, so that the two newest may have to be written. Of a ledger that was left behind
// nothing happens any more.
func (e *Engine) journal(ctx context.Context) error {
	nodes, err := custodian.NodeKeys(e.store.View(), true) // any of them may have begun a part
	if err != nil {
		return err
	}
	var errs []error
	for _, s := range store.All[backup.Schedule](e.store.View(), custodian.KindBackupSchedule) {
		list := operation.Copies(e.store.View(), s.ID, backup.CopyPresent)
		list = slices.DeleteFunc(list, func(c *backup.Copy) bool { return c.Node != e.door.Node() || c.LeftBy != "" })
		if len(list) > 1 {
			errs = append(errs, e.writeJournal(ctx, list[1], list[0].Control, nodes))
		}
		if len(list) > 0 {
			errs = append(errs, e.writeJournal(ctx, list[0], ledger.MaxInteger, nodes))
		}
	}
	return errors.Join(errs...)
}

// journalPart is where the journal of a copy goes on: apart from what was left behind, where a recovery went on from the copy.
func journalPart(view *store.View, c *backup.Copy) string {
	if last, recovered := operation.LastRecovery(view); recovered && c.Size <= last.Size {
		return backup.JournalFile(c.File, last.ID)
	}
	return backup.JournalFile(c.File, "")
}

// writeJournal brings one part up to a control entry's number, or to the end of the ledger.
func (e *Engine) writeJournal(ctx context.Context, c *backup.Copy, until uint64, nodes []ledger.NodeKey) error {
	view, note, keys := e.store.Published()
	place := journalPart(view, c)
	path := e.env.Copier.JournalPath(place)
	j := e.copies.journals[path]
	if j == nil {
		begin, seq := c.Control, c.Size
		if c.ControlLast > 0 { // the last entry in the copy stands first, and links the two
			begin, seq = c.Control-1, c.ControlLast
		}
		var err error
		if j, err = backup.OpenJournal(path, e.door.Instance().ID, c.ID, begin, seq, e.env.Copier.Signer, nodes); err != nil {
			return err
		}
		e.copies.journals[path] = j
	}
	if j.Next() >= min(until, view.Head().ControlCount) {
		return e.publishJournal(ctx, place, j.Next())
	}
	b := &blockWriter{journal: j, view: view, note: string(note), handovers: keys.Handovers(), until: until}
	err := e.store.ControlEntries(ctx, j.Seq(), b.add)
	if errors.Is(err, errEnough) {
		err = nil
	}
	if err = errors.Join(err, b.flush()); err != nil {
		delete(e.copies.journals, path) // read it again: what is on disk decides
		return fmt.Errorf("journal of backup %s: %w", c.ID, err)
	}
	return e.publishJournal(ctx, place, j.Next())
}

// publishJournal brings the object of a journal up to its file, now and then. What the object lacks meanwhile is in the file.
func (e *Engine) publishJournal(ctx context.Context, place string, next uint64) error {
	if _, _, object := location.Object(place); !object {
		return nil
	}
	last, now := e.copies.published[place], e.clock.Elapsed()
	if last.next == next || now < last.notBefore {
		return nil
	}
	last.notBefore = now + publishEvery
	err := e.env.Copier.PublishJournal(ctx, place)
	if err == nil {
		last.next = next
	} else {
		err = fmt.Errorf("publishing journal %s: %w", place, err)
	}
	e.copies.published[place] = last
	return err
}

// errEnough ends a walk over control entries; it never leaves this file.
var errEnough = errors.New("enough entries")

// blockBytes is what a block holds at most of entries and facts, roughly.
const blockBytes = 512 << 10

// blockWriter gathers entries and what their rows say now into blocks.
type blockWriter struct {
	journal *backup.Journal
	view    *store.View
	note    string
	// handovers show whose key signed the note.
	handovers []string
	until     uint64
	entries   [][]byte
	facts     []backup.Fact
	seen      map[string]bool
	size      int
}

func (b *blockWriter) add(entry *ledger.Entry, raw []byte) error {
	if entry.Link.Number < b.journal.Next()+uint64(len(b.entries)) {
		return nil
	}
	if entry.Link.Number >= b.until || entry.Seq >= b.view.Head().Size {
		return errEnough
	}
	b.entries, b.size = append(b.entries, slices.Clone(raw)), b.size+len(raw)
	for _, row := range entry.Rows {
		if err := b.fact(row.Kind, row.ID); err != nil {
			return err
		}
	}
	if len(b.entries) < backup.MaxBlockEntries && b.size < blockBytes {
		return nil
	}
	return b.flush()
}

// factBytes is what a fact takes, roughly and at most but for a person with many keys.
const factBytes = 512

// fact states what a row says now. A row that has changed again since is stated as it is now, which is what matters.
func (b *blockWriter) fact(kind, id string) error {
	if b.seen[kind+"\x00"+id] {
		return nil
	}
	row, err := b.view.Get(store.Kind(kind), id)
	value, revision := row.Value, row.Revision
	if errors.Is(err, store.ErrNotFound) {
		value, revision, err = nil, b.view.Revision(store.Kind(kind), id), nil
	}
	if err != nil {
		return err
	}
	f, restricts := backup.FactOf(kind, id, revision, value)
	if !restricts {
		return nil
	}
	if b.seen == nil {
		b.seen = map[string]bool{}
	}
	b.seen[kind+"\x00"+id] = true
	b.facts, b.size = append(b.facts, f), b.size+factBytes+len(f.Body)
	return nil
}

func (b *blockWriter) flush() error {
	if len(b.entries) == 0 {
		return nil
	}
	if b.facts == nil {
		b.facts = []backup.Fact{}
	}
	err := b.journal.Append(backup.Block{Entries: b.entries, Facts: b.facts, Checkpoint: b.note, Handovers: b.handovers})
	b.entries, b.facts, b.seen, b.size = nil, nil, nil, 0
	return err
}

// VoidOpen ends the ceremonies that were open in a backup: what people had approved may have happened in the range
// that was lost. It is asked for again. It returns how many there were.
func VoidOpen(tx *store.Tx, recovery, node string) (int, error) {
	n := 0
	for _, c := range store.Active[Ceremony](tx.View(), Kind) {
		now := tx.Now()
		was := c.State
		c.State, c.EndedAt, c.WaitLeft = Cancelled, &now, 0
		c.Outcome = fmt.Sprintf("it was %s in the backup that recovery %s restored: what came of it later is not known", was, recovery)
		e := ledger.Entry{Type: "ceremony.cancel", Actor: identity.Principal{Kind: identity.Node, ID: node}, Target: ledger.Target{Type: "ceremony", ID: c.ID},
			Outcome: ledger.Done, Reason: "recovery", Policy: custodian.PolicyMark(c.PolicyDigest), Ceremony: c.ID,
			Detail: custodian.Detail(map[string]any{"operation": c.Operation, "was": was, "recovery": recovery})}
		if err := tx.Put(Kind, c.ID, c); err != nil {
			return n, err
		}
		if err := tx.Append(e); err != nil {
			return n, err
		}
		n++
	}
	return n, nil
}
