package ceremony

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"conclave/ceremony/operation"
	"conclave/ceremony/quorum"
	"conclave/custodian"
	"conclave/custodian/identity"
	"conclave/custodian/ledger"
	"conclave/custodian/people"
	"conclave/custodian/store"
	"conclave/policies"
)

// KindQuorumWatch is the one row that remembers which quorums were short when it was last looked: what has been
// told once is not told again, by any replica.
const KindQuorumWatch store.Kind = "quorum_watch"

const quorumWatchRow = "levels"

// quorumWatch is its content: matters without a spare, and those out of reach.
type quorumWatch struct {
	Levels map[string]quorum.Level `json:"levels"`
}

// batchName is the operation that takes what the operation of its items takes, and nothing of its own.
const batchName = "batch"

const (
	// watchEvery is how long the watch rests between two looks.
	watchEvery = 20 * time.Second
	// assessWithin bounds an assessment. It takes tens of milliseconds, many times that on a machine at its limit, and
	// must not be called impossible there; each question of it is bounded by the policy engine besides.
	assessWithin = time.Minute
)

// healthCache keeps the last assessment: it holds while no control-plane entry is written, within the same minute.
type healthCache struct {
	turn   chan struct{} // holds one token while somebody computes
	key    string
	health *quorum.Health
}

// QuorumHealth is how every share set and every operation would stand losses and pressure now. What it returns is
// shared and must not be changed.
func (e *Engine) QuorumHealth(ctx context.Context) (*quorum.Health, error) {
	return e.healthOf(ctx, e.store.View(), e.clock.Now())
}

func (e *Engine) healthOf(ctx context.Context, view *store.View, now time.Time) (*quorum.Health, error) {
	f := e.quorumFacts(view, now)
	key := fmt.Sprintf("%d %d %s %d", view.Head().ControlCount, view.Generation(), f.Digest, now.Unix()/60)
	select { // one computes, the others wait for it as long as they like
	case e.health.turn <- struct{}{}:
		defer func() { <-e.health.turn }()
	case <-ctx.Done():
		return nil, fmt.Errorf("waiting for an assessment of quorums: %w", ctx.Err())
	}
	if e.health.key == key {
		return e.health.health, nil
	}
	ctx, cancel := context.WithTimeout(ctx, assessWithin)
	defer cancel()
	h, err := quorum.Assess(ctx, f)
	if err != nil {
		return nil, fmt.Errorf("assessing quorums: %w", err)
	}
	e.health.key, e.health.health = key, h
	return h, nil
}

// OperationHealth is one operation with everybody who could take part in it. ErrNotFound for one that this program
// does not know.
func (e *Engine) OperationHealth(ctx context.Context, name string) ([]quorum.Outlook, error) {
	if e.ops[name] == nil || name == batchName {
		return nil, fmt.Errorf("operation %q: %w", clip(name), ErrNotFound)
	}
	return quorum.Detail(ctx, e.quorumFacts(e.store.View(), e.clock.Now()), name)
}

// quorumFacts reads what health is computed from. Rows that contradict the ledger are nobody's.
func (e *Engine) quorumFacts(view *store.View, now time.Time) quorum.Facts {
	engine := e.door.PoliciesOf(view)
	names := slices.DeleteFunc(slices.Sorted(maps.Keys(e.ops)), func(name string) bool { return name == batchName })
	f := quorum.Facts{Operations: names, Mode: policies.Mode(e.door.Instance().Mode),
		Policy: engine, Digest: engine.Digest(), Now: now, Drills: operation.DrillRegister(view, now)}
	for _, p := range store.All[people.Person](view, custodian.KindPerson) {
		f.People = append(f.People, p)
	}
	for _, set := range store.All[people.ShareSet](view, custodian.KindShareSet) {
		if set.InForce() { // one that is pending, or replaced, opens nothing
			f.Sets = append(f.Sets, set)
		}
	}
	for _, s := range store.All[people.Share](view, custodian.KindShare) {
		f.Shares = append(f.Shares, s)
	}
	return f
}

// SimulateQuorum says what a supposition would come to and why it would be refused. Nothing is changed. Errors:
// *key.FieldError.
func (e *Engine) SimulateQuorum(ctx context.Context, p identity.Principal, s *quorum.Supposition) (*quorum.Simulation, error) {
	view, now := e.store.View(), e.clock.Now()
	f := e.quorumFacts(view, now)
	if err := s.Check(f.People, f.Sets); err != nil {
		return nil, err
	}
	var then *policies.Engine
	if s.Policy != "" {
		var err error
		if then, err = e.door.StoredPolicies(view, s.Policy); err != nil {
			return nil, &custodian.InputError{Field: "policy", Problem: "not a bundle that can be judged by", Allowed: "the digest of a bundle that the instance has stored"}
		}
		f.Then = then
	}
	out, err := quorum.Simulate(ctx, f, s)
	if err != nil {
		return nil, fmt.Errorf("simulating: %w", err)
	}
	refused, err := operation.LockOut(ctx, e.environment(view), view, operation.Input{Requester: p, Now: now, Instance: e.door.Instance()}, s, then)
	if err != nil {
		return nil, err
	}
	out.Refused = append(out.Refused, refused...)
	return out, nil
}

// errWatched: another replica told of it first.
var errWatched = errors.New("quorums were looked at meanwhile")

// watchQuorums records when a quorum is lost or loses its last spare, and when it has one again: once per change. What
// others commit during the look does not outdate it, since nothing is decided by it: the next look sees that.
func (e *Engine) watchQuorums(ctx context.Context) error {
	if e.clock.Elapsed() < e.watchAgain {
		return nil
	}
	e.watchAgain = e.clock.Elapsed() + watchEvery
	view := e.store.View()
	h, err := e.healthOf(ctx, view, e.clock.Now())
	if err != nil {
		return err
	}
	now := h.Levels()
	before, _, err := store.Get[quorumWatch](view, KindQuorumWatch, quorumWatchRow)
	if errors.Is(err, store.ErrNotFound) {
		before, err = nil, nil
	}
	if err != nil {
		return err
	}
	worse, better := compareLevels(before, now, h.Matters())
	if len(worse)+len(better) == 0 {
		return nil
	}
	entry := e.quorumEntry(worse, better)
	_, err = e.store.Control(ctx, func(tx *store.Tx) error {
		if tx.View().Revision(KindQuorumWatch, quorumWatchRow) != view.Revision(KindQuorumWatch, quorumWatchRow) {
			return errWatched
		}
		if err := tx.Put(KindQuorumWatch, quorumWatchRow, &quorumWatch{Levels: now}); err != nil {
			return err
		}
		return tx.Append(entry)
	})
	if errors.Is(err, errWatched) {
		return nil
	}
	return err
}

// compareLevels says what changed among the matters that there are. An instance that has not been looked at yet has
// nobody who could act: nothing is worse than that.
func compareLevels(before *quorumWatch, now map[string]quorum.Level, matters []string) (worse, better []string) {
	rank := map[quorum.Level]int{quorum.Lost: 2, quorum.NoSpare: 1}
	for _, matter := range matters {
		was := quorum.Lost
		if before != nil {
			was = before.Levels[matter]
		}
		is := now[matter]
		words := matter + ": " + string(cmp.Or(is, quorum.Spare))
		switch {
		case rank[is] > rank[was]:
			worse = append(worse, words)
		case rank[is] < rank[was]:
			better = append(better, words)
		}
	}
	if before != nil { // what no longer exists lacks nobody
		for _, matter := range slices.Sorted(maps.Keys(before.Levels)) {
			if rank[before.Levels[matter]] > 0 && !slices.Contains(matters, matter) {
				better = append(better, matter+": no longer there")
			}
		}
	}
	return worse, better
}

// maxTold is how many matters one entry names; the row holds them all.
const maxTold = 100

func (e *Engine) quorumEntry(worse, better []string) ledger.Entry {
	entry := ledger.Entry{Type: "quorum.better", Actor: e.self(), Target: ledger.Target{Type: "instance", ID: e.door.Instance().ID},
		Outcome: ledger.Done, Policy: e.door.Mark(),
		Detail: custodian.Detail(map[string]any{"worse": worse[:min(len(worse), maxTold)], "better": better[:min(len(better), maxTold)],
			"worse_count": len(worse), "better_count": len(better)})}
	if len(worse) > 0 {
		entry.Type, entry.Outcome = "quorum.worse", ledger.Failed
		e.log.Warn("quorums are lost or have lost their last spare", "matters", worse[:min(len(worse), maxTold)], "count", len(worse))
	}
	ledger.ShrinkDetail(&entry)
	return entry
}
