package store

import (
	"crypto/rand"
	"fmt"
	"time"

	"conclave/custodian/ledger"
)

// Tx is one control-plane change under way. It is valid only inside the function that it was passed to.
type Tx struct {
	schema  Schema
	node    string
	view    *View
	at      time.Time
	next    uint64 // Seq that the next appended entry will have
	entries []ledger.Entry
	pending []*Row          // changed since the last Append
	changed map[rowKey]*Row // every row's last state
	bump    bool            // a kind with authority changed
	// handover is the log key that signs what is committed after this change; "" for the same as before.
	handover string
	stall    *stall
}

// View is the state before this change with its own puts applied. Head, Epoch and Time are those before it.
func (tx *Tx) View() *View { return tx.view }

// Now is the time that this change's entries will carry.
func (tx *Tx) Now() time.Time { return tx.at }

// Put stores a row: value's canonical JSON, one revision up. It must be followed by an Append.
func (tx *Tx) Put(kind Kind, id string, value any) error {
	body, err := canonicalBody(value)
	if err != nil {
		return fmt.Errorf("putting %s %q: %w", kind, id, err)
	}
	row, err := tx.schema.makeRow(kind, id, tx.revision(kind, id), tx.next, body)
	if err != nil {
		return fmt.Errorf("putting %w", err)
	}
	tx.set(row)
	return nil
}

// Delete removes a row; [ErrNotFound] when there is none. It must be followed by an Append.
func (tx *Tx) Delete(kind Kind, id string) error {
	if _, err := tx.view.Get(kind, id); err != nil {
		return fmt.Errorf("deleting: %w", err)
	}
	tx.set(&Row{Kind: kind, ID: id, Revision: tx.revision(kind, id), Seq: tx.next})
	return nil
}

// revision of the next change of a row: several changes before one entry are one.
func (tx *Tx) revision(kind Kind, id string) uint64 {
	for _, r := range tx.pending {
		if r.Kind == kind && r.ID == id {
			return r.Revision
		}
	}
	return tx.view.bound(rowKey{kind, id}).revision + 1
}

func (tx *Tx) set(row *Row) {
	k := rowKey{row.Kind, row.ID}
	kept := tx.pending[:0]
	for _, r := range tx.pending {
		if r.Kind != row.Kind || r.ID != row.ID {
			kept = append(kept, r)
		}
	}
	tx.stall.progress()
	tx.pending = append(kept, row)
	tx.changed[k] = row
	tx.view = tx.view.with(row)
	if tx.schema[row.Kind].Authority {
		tx.bump = true
	}
}

// Append records an entry. The rows changed since the last Append are attached to it, at most
// [ledger.MaxRows]; Seq, At, Epoch and Link are set when the change is committed.
func (tx *Tx) Append(e ledger.Entry) error {
	if len(e.Rows) > 0 {
		return fmt.Errorf("appending %s: entry lists rows itself, allowed are those put before it", e.Type)
	}
	for _, r := range tx.pending {
		e.Rows = append(e.Rows, ledger.RowChange{Kind: string(r.Kind), ID: r.ID, Revision: r.Revision, Hash: r.Hash})
	}
	if err := fillEntry(&e, tx.node); err != nil {
		return err
	}
	tx.pending = nil
	tx.entries = append(tx.entries, e)
	tx.next++
	return nil
}

// HandOver makes this change the last that the log key in force signs: its head names the new one, a note verifier key,
// and both sign it. The entry that announces it ([ledger.RotationType]) is the caller's to append. The store must have the
// new key: see [Store.OfferLogKey].
func (tx *Tx) HandOver(verifierKey string) { tx.handover = verifierKey }

// fillEntry sets what the caller may leave out and checks the rest.
func fillEntry(e *ledger.Entry, node string) error {
	if e.Node == "" {
		e.Node = node
	}
	if e.Salt == ([16]byte{}) {
		rand.Read(e.Salt[:])
	}
	e.Seq, e.At, e.Epoch, e.Link = 0, time.Time{}, 0, nil
	if err := ledger.Validate(e); err != nil {
		return fmt.Errorf("recording %s: %w", e.Type, err)
	}
	return nil
}
