package policies

import (
	"encoding/binary"
	"errors"
	"slices"
	"sync"

	"github.com/open-policy-agent/opa/v1/ast"
)

// maxKept bounds how many answers an engine keeps (ours): an assessment of all quorums asks some hundreds of
// questions, a ceremony one or two.
const maxKept = 8192

// kept are answers of the quorum point by what the bundle's rules were shown. A bundle is immutable and its builtins
// are pure, so the same question has the same answer for as long as the engine lives. Time and the target's id are part
// of a question only for a bundle whose rules read them. Safe for concurrent use.
type kept struct {
	readsNow, readsTarget bool

	mu      sync.Mutex
	answers map[string]keptAnswer
}

// keptAnswer is a decision, or why there is none: ErrUndefined or ErrBelowFloor.
type keptAnswer struct {
	decision QuorumDecision
	err      error
}

func newKept(compiler *ast.Compiler) *kept {
	whole := []string{"mode", "operation", "precedent", "requester"}
	return &kept{
		readsNow: readsBeyond(compiler, append([]string{"target"}, whole...)),
		readsTarget: readsBeyond(compiler, append([]string{"now", "target.classifications", "target.owner", "target.raising",
			"target.threshold", "target.total", "target.type"}, whole...)),
		answers: make(map[string]keptAnswer),
	}
}

// readsBeyond reports whether a rule that decides quorums reads an input path that is not listed.
func readsBeyond(compiler *ast.Compiler, listed []string) bool {
	m := memo{reads: listed}
	return slices.ContainsFunc(reachable(compiler, PointQuorum), func(rule *ast.Rule) bool { return m.undeclared(rule) != "" })
}

// get answers from what was kept, or asks and keeps the answer. Trouble of this one evaluation (ErrTimeout, a failure
// of OPA) is not kept. What it returns shares lists with other answers: they must not be changed.
func (k *kept) get(in *QuorumInput, ask func() (QuorumDecision, error)) (QuorumDecision, error) {
	key := string(k.key(in))
	k.mu.Lock()
	a, known := k.answers[key]
	k.mu.Unlock()
	if known {
		return a.decision, a.err
	}
	a.decision, a.err = ask()
	if a.err != nil && !errors.Is(a.err, ErrUndefined) && !errors.Is(a.err, ErrBelowFloor) {
		return a.decision, a.err
	}
	a.decision.clip()
	k.mu.Lock()
	if len(k.answers) >= maxKept {
		clear(k.answers)
	}
	k.answers[key] = a
	k.mu.Unlock()
	return a.decision, a.err
}

// key is unambiguous, and covers all that the rules and the floor read.
func (k *kept) key(in *QuorumInput) []byte {
	key := memoKey{make([]byte, 0, 192)}
	key.text(string(in.Mode), in.Operation, in.Precedent, in.Requester.Kind, in.Requester.ID, in.Target.Type, in.Target.Owner)
	key.list(in.Requester.Roles)
	key.list(in.Target.Classifications)
	key.flags(in.Target.Raising)
	key.bytes = binary.AppendVarint(key.bytes, int64(in.Target.Threshold))
	key.bytes = binary.AppendVarint(key.bytes, int64(in.Target.Total))
	if k.readsNow {
		key.time(in.Now)
	}
	if k.readsTarget {
		key.text(in.Target.ID)
	}
	return key.bytes
}

// clip lets no append to a copy of the decision write where another copy reads.
func (d *QuorumDecision) clip() {
	for _, list := range []*[]string{&d.ApproverRoles, &d.ProposerKinds, &d.ProposerRoles, &d.CancelRoles} {
		*list = slices.Clip(*list)
	}
	d.Roles, d.Denials, d.Reasons = slices.Clip(d.Roles), slices.Clip(d.Denials), slices.Clip(d.Reasons)
}
