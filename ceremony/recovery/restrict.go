package recovery

import (
	"errors"
	"fmt"
	"time"

	"conclave/custodian"
	"conclave/custodian/amount"
	"conclave/custodian/backup"
	"conclave/custodian/key"
	"conclave/custodian/ledger"
	"conclave/custodian/location"
	"conclave/custodian/oversight"
	"conclave/custodian/store"
)

// change is a row that is restricted again, or made again.
type change struct {
	kind  store.Kind
	id    string
	value any
	what  string
}

func (c *change) line() string { return fmt.Sprintf("%s %s: %s", c.kind, c.id, c.what) }

// maxRecorded bounds the lines of either kind in the document, which is one row; the entries that change rows name all
// (ours).
const maxRecorded = 2000

// restrictions finds what the journals say must hold again.
func (r *run) restrictions(tx *store.Tx) (changes []change, notes []string, err error) {
	act := backup.Act{Actor: "node:" + r.node, Ceremony: r.Session.ID, At: tx.Now()}
	for _, f := range r.lost.Facts {
		if f.Kind == string(custodian.KindBackup) && f.ID == r.Session.Backup.ID {
			continue // see restored
		}
		if f.Kind == string(custodian.KindNode) && f.ID == r.node {
			if f.State != "" { // it could not start, and there is no other that has the keys
				notes = append(notes, fmt.Sprintf("node %s was revoked after the backup, and the restored instance runs in its name: enrol another node, then revoke it", f.ID))
			}
			continue
		}
		applied, err := applied(tx.View(), f, act)
		if err != nil {
			return nil, nil, err
		}
		if applied.Note != "" {
			notes = append(notes, applied.Note)
		}
		if applied.Next != nil {
			changes = append(changes, change{store.Kind(f.Kind), f.ID, applied.Next, applied.What})
		}
	}
	return changes, notes, nil
}

func applied(view *store.View, f backup.Fact, act backup.Act) (backup.Applied, error) {
	spec, known := custodian.Schema()[store.Kind(f.Kind)]
	if !known {
		return backup.Applied{Note: fmt.Sprintf("%s %s: this program knows no rows of that kind", f.Kind, f.ID)}, nil
	}
	row, err := view.Get(store.Kind(f.Kind), f.ID)
	if errors.Is(err, store.ErrNotFound) {
		return backup.Recreate(f, act) // all but a few kinds of rows restrict nothing by being there
	}
	if err != nil {
		return backup.Applied{}, err
	}
	value, err := spec.Decode(row.Body) // a copy that may be changed
	if err != nil {
		return backup.Applied{}, err
	}
	return backup.Restrict(value, f, act)
}

// restored puts the backup itself on register, which it cannot be in: it was registered when it was whole.
func (r *run) restored(tx *store.Tx) (change, error) {
	m, sum := r.Session.Manifest, r.file.Sum()
	s, _, err := store.Get[backup.Schedule](tx.View(), custodian.KindBackupSchedule, m.Schedule)
	if err != nil {
		return change{}, fmt.Errorf("reading the schedule of the backup: %w", err)
	}
	c := &backup.Copy{ID: m.ID, Schedule: m.Schedule, File: location.Within(s.Directory, m.FileName()), Bytes: sum.Bytes, SHA256: sum.SHA256,
		Size: r.Session.Head.Size, Root: r.Session.Head.Root.String(), Rows: sum.Rows, ShareSet: m.ShareSet, Epoch: m.Epoch, Threshold: m.Threshold,
		Control: r.Session.Head.ControlCount, ControlLast: r.Session.Head.ControlLast, KeyID: m.KeyID, Sets: sum.Sets, Node: m.Node,
		StartedAt: m.CreatedAt, At: later(m.CreatedAt, tx.View().Time()), Status: backup.CopyPresent}
	return change{custodian.KindBackup, c.ID, c, "the backup that was restored from: on register"}, nil
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// findingTime is how long people have to settle what could not be applied (ours).
const findingTime = oversight.DefaultFindingDays * key.Day

// finding asks for what could not be applied again. Who restored answers for it until it is given to somebody else.
func (r *run) finding(tx *store.Tx, q Quorum, n int) change {
	now := tx.Now()
	f := &oversight.Finding{ID: "f-" + r.Session.ID, Title: fmt.Sprintf("recovery %s could not apply %s again: settle each", r.Session.ID, amount.Of(n, "thing")),
		Source: oversight.FromIncident, About: oversight.Ref{Type: ledger.RecoveryKind, ID: r.Session.ID}, Owner: q.People[0], OpenedAt: now,
		OpenedBy: "node:" + r.node, DueAt: now.Add(findingTime), Ceremony: r.Session.ID}
	return change{custodian.KindFinding, f.ID, f, "opened: " + f.Title}
}

// perEntry bounds the rows that one entry changes; each is named in its detail too.
const perEntry = 64

func (r *run) apply(tx *store.Tx, changes []change) error {
	for len(changes) > 0 {
		part := changes[:min(perEntry, len(changes))]
		changes = changes[len(part):]
		var lines []string
		for _, c := range part {
			if err := tx.Put(c.kind, c.id, c.value); err != nil {
				return err
			}
			lines = append(lines, c.line())
		}
		e := r.entry("recovery.restrict", ledger.Target{Type: ledger.RecoveryKind, ID: r.record.ID}, map[string]any{"restricted": lines})
		ledger.ShrinkDetail(&e)
		if err := tx.Append(e); err != nil {
			return err
		}
	}
	return nil
}
