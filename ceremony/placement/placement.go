// Package placement asks where keys may live: each of them, all at once, and under facts that are only supposed. The
// statement of a change of a keystore, the back-test of a policy, what-if and the watch for drift all ask here.
package placement

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"conclave/custodian"
	"conclave/custodian/key"
	"conclave/custodian/store"
	"conclave/policies"
)

// Demands are what data sets ask of the custody of their keys, by key.
type Demands map[string][]policies.CustodyDemand

// DemandsOf reads the register of data assets. One whose row contradicts the ledger might demand something: then it is
// a *store.TamperedError.
func DemandsOf(view *store.View) (Demands, error) {
	if bad := view.Tampered(custodian.KindAsset); len(bad) > 0 {
		return nil, &store.TamperedError{Kind: custodian.KindAsset, ID: bad[0].ID}
	}
	out := Demands{}
	for row := range view.List(custodian.KindAsset) {
		if a, ok := row.Value.(*key.Asset); ok && a.Status == key.StatusActive && len(a.Custody) > 0 {
			out[a.Key] = append(out[a.Key], policies.CustodyDemand{By: a.ID, Custody: texts(a.Custody)})
		}
	}
	return out, nil
}

// KeyOf is what a key asks of the keystore it lives in.
func (d Demands) KeyOf(k *key.Key) policies.PlacementKey {
	return policies.PlacementKey{ID: k.ID, Type: string(k.Type), Classification: string(k.Classification), Impact: string(k.Impact),
		Frameworks: k.Frameworks, Jurisdiction: k.Jurisdiction, Environment: k.Environment, Custody: texts(k.Custody), Demands: d[k.ID],
		Algorithm: string(k.Specification()), StrengthBits: k.Specification().StrengthBits()}
}

func texts[T ~string](in []T) []string {
	var out []string
	for _, s := range in {
		out = append(out, string(s))
	}
	return out
}

// Answer is one decision, or why there is none.
type Answer struct {
	Decision policies.PlacementDecision
	Problem  string
}

// Asker answers questions in their order. An error is one of asking: nothing was answered.
type Asker func(ctx context.Context, questions []policies.PlacementInput) ([]Answer, error)

// By asks a bundle in this process.
func By(engine *policies.Engine) Asker {
	return func(ctx context.Context, questions []policies.PlacementInput) ([]Answer, error) {
		out := make([]Answer, len(questions))
		for i, in := range questions {
			d, err := engine.Place(ctx, in)
			if err != nil && ctx.Err() != nil {
				return nil, err
			}
			if out[i].Decision = d; err != nil {
				out[i].Problem = err.Error()
			}
		}
		return out, nil
	}
}

// World is what keys are judged against: keystores and accepted risks as they are or are supposed to be, and who judges.
type World struct {
	Facts policies.PlacementInput // its key is not looked at
	Ask   Asker
}

// Group are keys that ask the same of a keystore, and all keystores in which versions of them with material are.
type Group struct {
	Key   policies.PlacementKey
	homes map[home][]string // ids of keys
}

// home is where versions of a key are, and whether new ones would be made there: it is the key's keystore, and the key
// still has a version to rotate from.
type home struct {
	keystore string
	grows    bool
}

// Groups sorts all keys, by what they ask. A key that an accepted risk names stands alone.
func Groups(view *store.View, exceptions []policies.ExceptionFacts) ([]*Group, error) {
	var all []*key.Key
	for _, k := range store.All[key.Key](view, custodian.KindKey) {
		all = append(all, k)
	}
	return GroupsOf(view, exceptions, all)
}

// GroupsOf sorts some keys, which may be as they are only supposed to be.
func GroupsOf(view *store.View, exceptions []policies.ExceptionFacts, keys []*key.Key) ([]*Group, error) {
	demands, err := DemandsOf(view)
	if err != nil {
		return nil, err
	}
	named := map[string]bool{}
	for _, x := range exceptions {
		named[x.Key] = true
	}
	living := homes(view)
	var out []*Group
	seen := map[string]*Group{}
	for _, k := range keys {
		in := demands.KeyOf(k)
		if !named[k.ID] {
			in.ID = "" // keys of the same facts are judged once
		}
		id := fmt.Sprintf("%q", []any{in})
		g := seen[id]
		if g == nil {
			g = &Group{Key: in, homes: map[home][]string{}}
			seen[id], out = g, append(out, g)
		}
		for keystore, rotates := range living[k.ID] {
			h := home{keystore, rotates && keystore == k.Keystore}
			g.homes[h] = append(g.homes[h], k.ID)
		}
	}
	return out, nil
}

// homes are the keystores in which versions with material are, by key, and whether one of them is still in use: versions
// that no longer protect are followed by none.
func homes(view *store.View) map[string]map[string]bool {
	out := map[string]map[string]bool{}
	for row := range view.List(custodian.KindKeyVersion) {
		v, ok := row.Value.(*key.Version)
		if !ok || !v.State.HasMaterial() {
			continue
		}
		if out[v.Key] == nil {
			out[v.Key] = map[string]bool{}
		}
		used := v.State == key.PreActivation || v.State == key.Active || v.State == key.Suspended
		out[v.Key][v.Keystore] = out[v.Key][v.Keystore] || used
	}
	return out
}

// State is how keys stand in a keystore.
type State string

const (
	Fits     State = "fits"     // could be placed there today
	Stays    State = "stays"    // may stay; no new version can be made there
	Stranded State = "stranded" // would not be let stay
)

// Standing is how the keys of one group stand in one keystore.
type Standing struct {
	Group    *Group
	Keystore string
	Grows    bool     // new versions of them would be made there
	Keys     []string // ascending
	State    State
	Reasons  []policies.Reason // against a new version, or, of stranded keys, against their staying
	MayLive  []string          // keystores in which such a key could be placed today, best first
}

// Codes are those of the reasons, sorted, each once.
func (s Standing) Codes() []string {
	out := make([]string, 0, len(s.Reasons))
	for _, r := range s.Reasons {
		out = append(out, r.Code)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// Words say how the keys stand, in one line.
func (s Standing) Words() string {
	stands := string(s.State)
	switch s.State {
	case Stays:
		stands = "stays, without new versions"
	case Stranded:
		stands = "must move"
	}
	if len(s.Reasons) > 0 {
		stands += " (" + strings.Join(s.Codes(), ", ") + ")"
	}
	if len(s.MayLive) == 0 {
		return stands + "; may live nowhere today"
	}
	may := slices.Clone(s.MayLive)
	slices.Sort(may)
	return fmt.Sprintf("%s; may live in: %s", stands, strings.Join(may, ", "))
}

// noAnswer is a refusal: whatever gives none lets nothing live anywhere.
func noAnswer(problem string) []policies.Reason {
	return []policies.Reason{{Rule: "place", Code: "no_decision", Message: "no answer, which is a refusal: " + problem, Remedy: "have the policy put right"}}
}

// Judge asks how the keys of every group stand wherever they live, in a fixed order.
func (w World) Judge(ctx context.Context, groups []*Group) ([]Standing, error) {
	var out []Standing
	for chunk := range slices.Chunk(groups, policies.MaxQuestions/2) {
		var questions []policies.PlacementInput
		for _, g := range chunk {
			in := w.Facts
			in.Key, in.Existing = g.Key, false
			questions = append(questions, in)
			in.Existing = true
			questions = append(questions, in)
		}
		answers, err := w.Ask(ctx, questions)
		if err != nil {
			return nil, err
		}
		if len(answers) != len(questions) {
			return nil, errors.New("placement: not every question was answered")
		}
		for i, g := range chunk {
			out = append(out, g.stand(answers[2*i], answers[2*i+1])...)
		}
	}
	return out, nil
}

// stand reads how a group stands out of what was answered about new and about existing keys like it.
func (g *Group) stand(anew, existing Answer) []Standing {
	var may []string
	for _, v := range anew.Decision.Keystores {
		if v.Allow && anew.Problem == "" {
			may = append(may, v.Keystore)
		}
	}
	var out []Standing
	for h, keys := range g.homes {
		s := Standing{Group: g, Keystore: h.keystore, Grows: h.grows, Keys: keys, State: Fits, MayLive: may}
		slices.Sort(s.Keys)
		if allow, reasons := verdict(anew, h.keystore); !allow && h.grows {
			s.State, s.Reasons = Stays, reasons
		}
		if allow, reasons := verdict(existing, h.keystore); !allow {
			s.State, s.Reasons = Stranded, reasons
		}
		out = append(out, s)
	}
	slices.SortFunc(out, func(a, b Standing) int {
		return cmp.Or(strings.Compare(a.Keystore, b.Keystore), strings.Compare(fmt.Sprint(a.Grows), fmt.Sprint(b.Grows)))
	})
	return out
}

func verdict(a Answer, keystore string) (bool, []policies.Reason) {
	if a.Problem != "" {
		return false, noAnswer(a.Problem)
	}
	v, known := a.Decision.Verdict(keystore)
	if !known {
		return false, []policies.Reason{{Rule: "place", Code: "keystore_unknown", Message: "keystore " + keystore + " is not registered", Remedy: "register it, or move the key"}}
	}
	return v.Allow, v.Reasons
}

// Change is what would become of keys that stand otherwise afterwards.
type Change struct {
	Before, After Standing
}

// Facts describe the keys of a change: where they live, and what they ask.
func (c Change) Facts() string {
	k := c.Before.Group.Key
	return fmt.Sprintf("%s: %s%s, %s, %s, %s, %s", c.Before.Keystore, strings.TrimPrefix(k.ID+", ", ", "), k.Classification, k.Impact, k.Jurisdiction,
		k.Environment, strings.Join(k.Frameworks, " "))
}

// Compare says what would change between two worlds for the keys of some groups.
func Compare(ctx context.Context, before, after World, groups []*Group) ([]Change, error) {
	was, err := before.Judge(ctx, groups)
	if err != nil {
		return nil, err
	}
	then, err := after.Judge(ctx, groups)
	if err != nil {
		return nil, err
	}
	return changes(was, then), nil
}

// CompareGroups says what would change in one world for keys that would ask something else: groups of the same keys,
// in the same order.
func CompareGroups(ctx context.Context, w World, before, after []*Group) ([]Change, error) {
	was, err := w.Judge(ctx, before)
	if err != nil {
		return nil, err
	}
	then, err := w.Judge(ctx, after)
	if err != nil || len(then) != len(was) {
		return nil, cmp.Or(err, errors.New("placement: other keys before and after"))
	}
	return changes(was, then), nil
}

// changes pairs standings of the same keys.
func changes(was, then []Standing) []Change {
	var out []Change
	for i := range was {
		if was[i].Words() != then[i].Words() {
			out = append(out, Change{Before: was[i], After: then[i]})
		}
	}
	return out
}

// Rank orders states by how bad they are.
func (s State) Rank() int { return slices.Index([]State{Fits, Stays, Stranded}, s) }

// Worse reports whether the keys would stand worse than they do.
func (c Change) Worse() bool { return cmp.Compare(c.After.State.Rank(), c.Before.State.Rank()) > 0 }
