package operation

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	"conclave/ceremony/placement"
	"conclave/ceremony/quorum"
	"conclave/custodian"
	"conclave/custodian/amount"
	"conclave/custodian/key"
	"conclave/custodian/store"
	"conclave/policies"
)

// keysNamed bounds the keys that a statement names; all of them are under its digest.
const keysNamed = 20

// strands is what approvers sign of the keys that stand worse after a change: counts, the first names, and the digest
// of the whole list.
type strands struct {
	Stranded int      `json:"stranded"`         // would not be let stay where they are
	NoNew    int      `json:"no_new_versions"`  // stay, and get no new version there
	Keys     []string `json:"keys,omitempty"`   // the first 20, in order of their ids
	SHA256   string   `json:"sha256,omitempty"` // of the list: one line "key keystore state code,code" each
}

// strandedBy is how keys would stand that stand otherwise once a keystore's record is another.
func strandedBy(ctx context.Context, env Env, view *store.View, after *key.Keystore) ([]placement.Change, error) {
	changes, err := supposing(ctx, env, view, func(id string) (*policies.PlacementKeystore, error) {
		switch id {
		case after.ID:
			c := env.Custodian.Candidate(view, after)
			return &c, nil
		case after.MemberOf: // the group is what its weakest member is
			record, err := keystoreRow(view, "keystore", id)
			if err != nil {
				return nil, err
			}
			c := env.Custodian.CandidateWith(view, record, after)
			return &c, nil
		}
		return nil, nil
	})
	if err != nil {
		return nil, fmt.Errorf("judging which keys keystore %s would strand: %w", after.ID, err)
	}
	return changes, nil
}

// supposing is how keys would stand that stand otherwise once keystores are as change has them; nil for those that stay.
func supposing(ctx context.Context, env Env, view *store.View, change func(id string) (*policies.PlacementKeystore, error)) ([]placement.Change, error) {
	facts, err := env.Custodian.PlacementInput(view, policies.PlacementKey{})
	if err != nil {
		return nil, err
	}
	groups, err := placement.Groups(view, facts.Exceptions)
	if err != nil {
		return nil, err
	}
	would := facts
	would.Keystores = slices.Clone(facts.Keystores)
	for i := range would.Keystores {
		after, err := change(would.Keystores[i].ID)
		if err != nil {
			return nil, err
		}
		if after != nil {
			would.Keystores[i] = *after
		}
	}
	ask := placement.By(env.Policies)
	return placement.Compare(ctx, placement.World{Facts: facts, Ask: ask}, placement.World{Facts: would, Ask: ask}, groups)
}

// summarise counts what stands worse.
func summarise(changes []placement.Change) *strands {
	out := &strands{}
	var lines []string
	for _, c := range changes {
		if !c.Worse() {
			continue
		}
		if n := len(c.After.Keys); c.After.State == placement.Stranded {
			out.Stranded += n
		} else {
			out.NoNew += n
		}
		for _, k := range c.After.Keys {
			lines = append(lines, fmt.Sprintf("%s %s %s %s", k, c.After.Keystore, c.After.State, strings.Join(c.After.Codes(), ",")))
		}
	}
	if len(lines) == 0 {
		return out
	}
	slices.Sort(lines)
	for _, l := range lines[:min(len(lines), keysNamed)] {
		id, _, _ := strings.Cut(l, " ")
		out.Keys = append(out.Keys, id)
	}
	sum := sha256.Sum256([]byte(strings.Join(lines, "\n") + "\n"))
	out.SHA256 = hex.EncodeToString(sum[:])
	return out
}

func (s *strands) equal(o *strands) bool {
	return s.Stranded == o.Stranded && s.NoNew == o.NoNew && s.SHA256 == o.SHA256
}

// pinStrands writes what would stand worse into parameters. Who gave it beforehand gave what is so.
func pinStrands(changes []placement.Change, given *strands, params func(*strands) any) ([]byte, error) {
	s := summarise(changes)
	if given != nil && !given.equal(s) {
		return nil, &custodian.InputError{Field: "strands", Problem: "not what would be so now", Allowed: "nothing: it is filled in"}
	}
	return custodian.Detail(params(s)), nil
}

// strandLines shows what becomes of keys, the worst first, and refuses where it is not what was pinned any more.
func strandLines(changes []placement.Change, pinned *strands) ([]Line, []policies.Reason) {
	s := summarise(changes)
	var deny []policies.Reason
	if pinned != nil && !pinned.equal(s) {
		deny = append(deny, refusal("strands_differ", "other keys would stand worse now than when it was proposed", "propose it again"))
	}
	changes = slices.Clone(changes)
	slices.SortStableFunc(changes, func(a, b placement.Change) int {
		return cmp.Compare(b.After.State.Rank(), a.After.State.Rank())
	})
	out := []Line{{Label: "keys that must move", After: fmt.Sprint(s.Stranded)}, {Label: "keys without new versions there", After: fmt.Sprint(s.NoNew)}}
	for i, c := range changes {
		if i == linesShown {
			out = append(out, Line{Label: "more", After: amount.Of(len(changes)-i, "further group") + " of keys: conclave policy what-if"})
			break
		}
		ids := c.After.Keys[:min(len(c.After.Keys), keysNamed)]
		out = append(out, Line{Label: "keys " + list(ids) + more(len(c.After.Keys)), Before: c.Before.Words(), After: c.After.Words()})
	}
	return out, deny
}

func quorumTable(env Env, in Input) *quorum.Table {
	return quorum.NewTable(env.Policies, policies.Mode(in.Instance.Mode), in.Now)
}
