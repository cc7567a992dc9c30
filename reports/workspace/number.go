package workspace

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"conclave/custodian"
)

// Number is an evidence number: what an assessor writes into a report on compliance so that the item is found again.
// "EV-86636ccc-627-key-demo-cards" is the dossier of key demo-cards of the instance whose id begins with 86636ccc, as
// of the checkpoint of 627 entries; "EV-86636ccc-627-entry-213" is ledger entry 213, proven in that checkpoint.
type Number struct {
	Instance string // first eight hex digits of the instance's id
	Size     uint64 // entries in the checkpoint
	Kind     string // a population's kind, or "entry"
	ID       string
}

// EntryKind is the kind of the numbers of ledger entries.
const EntryKind = "entry"

const numberForm = "EV-INSTANCE-SIZE-KIND-ID, as EV-86636ccc-627-key-demo-cards or EV-86636ccc-627-entry-213"

func (n Number) String() string {
	return fmt.Sprintf("EV-%s-%d-%s-%s", n.Instance, n.Size, n.Kind, n.ID)
}

// ParseNumber reads an evidence number in exactly the form that String gives.
func ParseNumber(s string) (Number, error) {
	bad := &custodian.InputError{Field: "number", Problem: fmt.Sprintf("%q is no evidence number", clip(s)), Allowed: numberForm}
	parts := strings.SplitN(s, "-", 5)
	if len(parts) != 5 || parts[0] != "EV" || len(parts[1]) != instanceDigits || parts[4] == "" || len(s) > 256 {
		return Number{}, bad
	}
	size, err := strconv.ParseUint(parts[2], 10, 64)
	if err != nil || size == 0 {
		return Number{}, bad
	}
	n := Number{Instance: parts[1], Size: size, Kind: parts[3], ID: parts[4]}
	if n.Kind != EntryKind && !slices.Contains(Kinds(), n.Kind) {
		return Number{}, bad
	}
	if _, err := n.entry(); n.Kind == EntryKind && err != nil {
		return Number{}, bad
	}
	if n.String() != s {
		return Number{}, bad
	}
	return n, nil
}

func (n Number) entry() (uint64, error) {
	seq, err := strconv.ParseUint(n.ID, 10, 64)
	if err == nil && seq >= n.Size {
		return 0, fmt.Errorf("entry %d is not in a checkpoint of %d entries", seq, n.Size)
	}
	return seq, err
}

const instanceDigits = 8

// number names an item of this checkpoint.
func (w *Workspace) number(kind, id string) string {
	return Number{Instance: w.instance.ID[:instanceDigits], Size: w.src.Checkpoint().Size, Kind: kind, ID: id}.String()
}

func (w *Workspace) entryNumber(seq uint64) string {
	return w.number(EntryKind, strconv.FormatUint(seq, 10))
}
