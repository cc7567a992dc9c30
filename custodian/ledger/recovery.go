package ledger

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"

	"github.com/go-json-experiment/json"
	"golang.org/x/mod/sumdb/tlog"
)

// A ledger that was restored from a backup goes on after the backup's last entry with an entry of type
// [RecoveryType]. Whoever saw entries that the backup did not hold sees a fork; this entry explains it.
const (
	RecoveryType = "recovery.begin"
	// RecoveryKind is the kind of the row that the entry binds: the document with everybody's signatures.
	RecoveryKind = "recovery"
	// MaxKnown bounds the heads that one recovery names.
	MaxKnown = 16
)

// Known is a head that somebody had seen of the ledger that was lost: its size and root.
type Known struct {
	Size uint64 `json:"size"`
	Root string `json:"root"` // base64
}

// Recovery is what an entry of [RecoveryType] says.
type Recovery struct {
	Seq      uint64   `json:"seq"`      // where it stands: entries before it are the backup's
	ID       string   `json:"id"`       // of the recovery
	Document string   `json:"document"` // SHA-256 of the row that holds the signed approvals, hex
	Backup   string   `json:"backup"`
	Lost     []Known  `json:"lost"` // heads beyond Seq that were known; empty: nothing known was lost
	People   []string `json:"people,omitempty"`
}

type recoveryDetail struct {
	Backup string   `json:"backup"`
	Known  []Known  `json:"known"`
	People []string `json:"people"`
}

// RecoveryDetail is the detail of the entry that begins a recovery, besides what the caller adds.
func RecoveryDetail(backup string, known []Known, people []string) map[string]any {
	return map[string]any{"backup": backup, "known": known, "people": people}
}

// ReadRecovery reads an entry that begins a recovery; false for any other entry.
func ReadRecovery(e *Entry) (*Recovery, bool, error) {
	if e.Type != RecoveryType || e.Link == nil || e.Outcome != Done {
		return nil, false, nil
	}
	r := &Recovery{Seq: e.Seq, ID: e.Target.ID}
	for _, row := range e.Rows {
		if row.Kind == RecoveryKind && row.ID == r.ID {
			r.Document = hex.EncodeToString(row.Hash[:])
		}
	}
	var d recoveryDetail
	if err := json.Unmarshal(e.Detail, &d); err != nil || r.Document == "" || len(d.Known) > MaxKnown {
		return nil, true, fmt.Errorf("entry %d begins a recovery and does not say which", e.Seq)
	}
	for _, k := range d.Known {
		if _, err := tlog.ParseHash(k.Root); err != nil {
			return nil, true, fmt.Errorf("entry %d begins a recovery and names a head without a root", e.Seq)
		}
	}
	r.Backup, r.Lost, r.People = d.Backup, d.Known, d.People
	return r, true, nil
}

// Explains says whether a head that somebody saw belongs to what this recovery says was lost: one that it names, or
// one smaller than the largest that it names. Of the latter only the size can be judged: what could prove more is
// what was lost.
func (r *Recovery) Explains(h Head) bool {
	if h.Size <= r.Seq {
		return false
	}
	most := uint64(0)
	same := false
	for _, k := range r.Lost {
		most = max(most, k.Size)
		if k.Size == h.Size {
			if k.Root == h.Root.String() {
				return true
			}
			same = true
		}
	}
	return !same && h.Size < most
}

// Bound says whether a document is the one that the entry binds.
func (r *Recovery) Bound(document []byte) bool {
	sum := sha256.Sum256(document)
	return hex.EncodeToString(sum[:]) == r.Document
}

// excused says whether one of the recoveries that were accepted, and that the log holds, explains a head.
func excused(accepted []Recovery, found []*Recovery, h Head) bool {
	return slices.ContainsFunc(found, func(r *Recovery) bool {
		return r.Explains(h) && slices.ContainsFunc(accepted, func(a Recovery) bool {
			return a.Seq == r.Seq && a.ID == r.ID && a.Document == r.Document
		})
	})
}

// hint names the recovery that would explain a head, for whoever has not accepted it.
func hint(found []*Recovery, h Head) string {
	for _, r := range found {
		if r.Explains(h) {
			return fmt.Sprintf("; recovery %s at entry %d says that it was lost: see `conclave ledger accept-recovery`", r.ID, r.Seq)
		}
	}
	return ""
}
