package operation

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"conclave/custodian"
	"conclave/custodian/backup"
	"conclave/custodian/key"
	"conclave/custodian/ledger"
	"conclave/custodian/people"
	"conclave/custodian/store"
	"conclave/hsm"
	"conclave/policies"
)

// setRow reads the share set that a parameter names.
func setRow(view *store.View, field, id string) (*people.ShareSet, store.Row, error) {
	return lookup[people.ShareSet](view, custodian.KindShareSet, field, id, "share set")
}

func setTarget(set *people.ShareSet, row store.Row) Target {
	return Target{Type: "share_set", ID: set.ID, GovRevision: row.Revision}
}

func setEventTarget(id string) ledger.Target { return ledger.Target{Type: "share_set", ID: id} }

// checkHolders checks who is to hold an epoch's shares: who may, and who stands in for whom.
func checkHolders(view *store.View, set *people.ShareSet, holders []string) error {
	find := register(view)
	if err := people.CheckAssignment(set, holders, find); err != nil {
		return err
	}
	for _, c := range people.BackupConflicts(set, people.Assigned(set, holders, time.Time{}), find) {
		return &custodian.InputError{Field: "holders", Problem: c.Problem, Allowed: "holders whose backups hold no share of the set and stand in for one of them only; or name other backups first (custodian.alter)"}
	}
	return nil
}

// strongHolders refuses holders of whom one reporting line, its manager counted, makes a quorum (ceremony practice,
// independence check), unless the same line has the quorum of the set now: who re-issues after a loss is not stopped
// by what was so before. old is nil for a set that takes no other's place.
func strongHolders(view *store.View, old, next *people.ShareSet, holders []string) []policies.Reason {
	find := register(view)
	var had []string
	if old != nil {
		had = people.StrongLines(old, shareRows(view, old.ID), find)
	}
	return newLines(next, had, people.StrongLines(next, people.Assigned(next, holders, time.Time{}), find))
}

// rekeyable returns the driver of a keystore whose activation secret this service makes and can replace.
func rekeyable(env Env, record *key.Keystore) (hsm.Rekeyer, []policies.Reason, error) {
	driver, err := Driver(env, record)
	if err != nil {
		return nil, nil, err
	}
	r, ok := driver.(hsm.Rekeyer)
	if !ok {
		return nil, []policies.Reason{refusal("not_rekeyable", fmt.Sprintf("the activation secret of a %s keystore is not made here", record.Driver),
			"change it as the maker of the keystore says")}, nil
	}
	return r, nil, nil
}

// rekeyer is the driver of a keystore as its newest record has it, for replacing its secret.
func rekeyer(env Env, keystore string) (hsm.Rekeyer, error) {
	driver, err := Current(env, keystore)
	if err != nil {
		return nil, err
	}
	r, ok := driver.(hsm.Rekeyer)
	if !ok {
		return nil, fmt.Errorf("replacing the activation secret of keystore %s: %w", keystore, hsm.ErrUnsupported)
	}
	return r, nil
}

// opensKeystore refuses a set that opens something else: its secret is made anew where what it opens is decided on.
func opensKeystore(view *store.View, set *people.ShareSet) error {
	if set.Purpose != people.PurposeBackup {
		return nil
	}
	schedule := "SCHEDULE"
	for _, s := range store.All[backup.Schedule](view, custodian.KindBackupSchedule) {
		if s.ShareSet == set.ID {
			schedule = s.ID
		}
	}
	return &custodian.InputError{Field: "set", Problem: clean(set.ID) + " opens backups, not a keystore",
		Allowed: fmt.Sprintf("for other holders or another quorum make a new backup key: backup.schedule of %s with share_set %s. Copies that exist are opened by the shares of their time", schedule, set.ID)}
}

// quorumOf describes the size of a set and its epoch for a line.
func quorumOf(set *people.ShareSet) string {
	return fmt.Sprintf("epoch %d: %d of %d shares", set.Epoch, set.Threshold, set.Total)
}

// holdersOf are the holders of a set's epoch, in the order of the shares.
func holdersOf(view *store.View, set *people.ShareSet) []string {
	var lines []*people.Share
	for _, s := range shareRows(view, set.ID) {
		if s.Epoch == set.Epoch {
			lines = append(lines, s)
		}
	}
	slices.SortFunc(lines, func(a, b *people.Share) int { return a.Index - b.Index })
	var out []string
	for _, s := range lines {
		out = append(out, s.Custodian)
	}
	return out
}

// rowSink stores many rows of one kind of change under as few entries as the ledger allows: an entry holds so many
// rows, and so many bytes.
type rowSink struct {
	tx    *store.Tx
	event func(rows int) ledger.Entry // of the rows put since the one before
	open  int
	bytes int
}

// What rows may take of an entry, in bytes, so that half of it is left for everything else; and what one takes besides
// its kind and id: hash, revision, names of members.
const (
	sinkBytes = ledger.MaxEntry / 2
	rowBytes  = 144
)

func (s *rowSink) put(kind store.Kind, id string, value any) error {
	size := rowBytes + len(kind) + len(id)
	if s.open == ledger.MaxRows || s.bytes+size > sinkBytes {
		if err := s.flush(); err != nil {
			return err
		}
	}
	s.open, s.bytes = s.open+1, s.bytes+size
	return s.tx.Put(kind, id, value)
}

func (s *rowSink) flush() error {
	if s.open == 0 {
		return nil
	}
	n := s.open
	s.open, s.bytes = 0, 0
	return s.tx.Append(s.event(n))
}

// part is the acting of the entries that only hold rows of a large change: who approved it and why stands once, in the
// entry that names the change.
func (a acting) part() acting {
	a.approvers, a.reason = nil, ""
	return a
}

// endPending ends the shares of a pending epoch that will not come into force: they open nothing and never did.
func endPending(a acting, tx *store.Tx, set *people.ShareSet) error {
	sink := rowSink{tx: tx, event: func(n int) ledger.Entry {
		return a.part().event("share.retire", setEventTarget(set.ID), map[string]any{"epoch": set.Pending.Epoch, "shares": n})
	}}
	for _, s := range shareRows(tx.View(), set.ID) {
		if s.Epoch != set.Pending.Epoch {
			continue
		}
		s.Status = people.ShareRetired
		if err := sink.put(custodian.KindShare, people.ShareID(s.Set, s.Epoch, s.Index), s); err != nil {
			return err
		}
	}
	return sink.flush()
}

// keystoreSet reads the set that opens a keystore now.
func keystoreSet(view *store.View, record *key.Keystore) (*people.ShareSet, store.Row, error) {
	set, row, err := store.Get[people.ShareSet](view, custodian.KindShareSet, record.ShareSet)
	if errors.Is(err, store.ErrNotFound) {
		return nil, row, &custodian.InputError{Field: "keystore", Problem: record.ID + " has no share set", Allowed: "a keystore that shares open"}
	}
	return set, row, err
}

// usableHolders are the holders of shares that can be brought for a set's epoch.
func usableHolders(view *store.View, set *people.ShareSet) []string {
	var out []string
	for _, s := range shareRows(view, set.ID) {
		if s.Usable(set) {
			out = append(out, s.Custodian)
		}
	}
	return out
}
