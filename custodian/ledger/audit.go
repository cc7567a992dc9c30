package ledger

import (
	"fmt"

	"golang.org/x/mod/sumdb/tlog"
)

// Audit judges a whole log whose entries are given one after the other, as [Verify] judges one that it reads: form,
// sequence, time, epoch, control chain, every hash up to the signed root, the genesis entry, and that it contains the
// heads known before. It serves where a log comes as a stream.
type Audit struct {
	trust  *TrustFile
	tree   *Tree
	rules  rules
	report VerifyReport
	pins   []*pin
	found  []*Recovery
	chain  *KeyChain
	turns  []*Rotation
}

// NewAudit begins an audit against a trust file. known are heads seen before; those larger than the log are not
// held against it: see [Audit.Lost].
func NewAudit(trust *TrustFile, known []Head) (*Audit, error) {
	a := &Audit{trust: trust, tree: NewTree(), report: VerifyReport{Origin: trust.Origin, Signed: true, Anchored: true, Contains: []uint64{}}}
	least, pinned, err := trust.LeastHead()
	if err != nil {
		return nil, fmt.Errorf("reading trust file: %w", err)
	}
	if pinned {
		known = append([]Head{least}, known...)
	}
	if a.chain, err = trust.Chain(); err != nil {
		return nil, fmt.Errorf("reading trust file: %w", err)
	}
	handed, err := a.chain.heads()
	if err != nil {
		return nil, fmt.Errorf("reading trust file: %w", err)
	}
	for _, h := range known {
		a.pins = append(a.pins, &pin{head: h})
	}
	for _, h := range handed {
		a.pins = append(a.pins, &pin{head: h, handed: true})
	}
	return a, nil
}

// Add takes the next entry. An error is a [VerifyError].
func (a *Audit) Add(raw []byte) (*Entry, error) {
	pos := a.tree.Size()
	e, err := Decode(raw)
	if err != nil {
		return nil, at(ErrRules, pos, "%s", err)
	}
	if err := a.rules.check(pos, e, &a.report); err != nil {
		return nil, at(ErrRules, pos, "%s", err)
	}
	if r, is, err := ReadRecovery(e); err != nil {
		return nil, at(ErrRules, pos, "%s", err)
	} else if is {
		a.found = append(a.found, r)
	}
	if r, is, err := ReadRotation(e); err != nil {
		return nil, at(ErrRules, pos, "%s", err)
	} else if is {
		a.turns = append(a.turns, r)
	}
	a.AddLeaf(LeafHash(raw))
	return e, nil
}

// AddLeaf takes the next entry where only its leaf hash is known. The caller answers for why the entry itself is not
// there: of it nothing is judged but that the signed root covers the hash. A control entry can not be passed over this
// way, since the chain of those after it, or the signed head, counts it.
func (a *Audit) AddLeaf(leaf tlog.Hash) {
	a.tree.Append(leaf)
	for _, p := range a.pins {
		if p.head.Size == a.tree.Size() {
			p.match = a.tree.Root() == p.head.Root
		}
	}
}

// Tree is the tree of the entries so far. Take its full tiles; change nothing else.
func (a *Audit) Tree() *Tree { return a.tree }

// Finish judges the whole against the signed head. A known head that the log neither contains nor, by a recovery of
// its own, explains, is [ErrFork].
func (a *Audit) Finish(head Head) (*VerifyReport, error) {
	if a.tree.Size() != head.Size {
		return nil, at(ErrTruncated, a.tree.Size(), "%d entries of the %d that the checkpoint covers", a.tree.Size(), head.Size)
	}
	if a.tree.Root() != head.Root {
		return nil, somewhere(ErrEdited, "the entries hash to another root than the one signed")
	}
	if err := a.rules.finish(head); err != nil {
		return nil, somewhere(ErrRules, "%s", err)
	}
	if a.report.Instance != a.trust.Instance {
		return nil, at(ErrForeign, 0, "genesis of instance %s, want %s", a.report.Instance, a.trust.Instance)
	}
	for _, p := range a.pins {
		switch {
		case p.match && !p.handed:
			a.report.Contains = append(a.report.Contains, p.head.Size)
		case p.match || p.head.Size > head.Size || p.head.Size == 0:
		case a.explained(p.head):
		default:
			return nil, somewhere(ErrFork, "its first %d entries are not those of the checkpoint known before", p.head.Size)
		}
	}
	if err := a.chain.CheckRotations(a.turns, head); err != nil {
		return nil, err
	}
	a.report.Size, a.report.Root, a.report.Epoch, a.report.ControlCount = head.Size, head.Root.String(), head.Epoch, head.ControlCount
	a.report.Recoveries = a.found
	return &a.report, nil
}

func (a *Audit) explained(h Head) bool {
	for _, r := range a.found {
		if r.Explains(h) {
			return true
		}
	}
	return false
}

// Lost are the known heads beyond the end of the log: what was recorded up to them is not in it.
func (a *Audit) Lost(head Head) []Head {
	var out []Head
	for _, p := range a.pins {
		if p.head.Size > head.Size && !p.handed {
			out = append(out, p.head)
		}
	}
	return out
}
