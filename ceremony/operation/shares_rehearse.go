package operation

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/go-json-experiment/json"

	"conclave/custodian/key"
	"conclave/custodian/people"
	"conclave/custodian/store"
	"conclave/hsm"
	"conclave/hsm/secret"
	"conclave/policies"
)

// sharesRehearse is a full reconstruction: a quorum brings its shares, they are put together, the secret opens a
// scratch keystore that nobody else has, the check values of the keys in it are compared with the register, and
// everything is forgotten. The keystore in use is not touched, and may be active or not. A token is there once, and whoever
// logs out of it logs out everybody: of a keystore that holds its keys the secret is held against the verifier alone. Whether it passed is on record
// either way: a drill that fails is what drills are for.
type sharesRehearse struct{}

func (sharesRehearse) Name() string { return "shares.rehearse" }

type rehearseParams struct {
	Set         string `json:"set"`
	MissingSite string `json:"missing_site"` // "" or a site of which nobody may bring a share: the drill without it too
}

// maxCompared is how many key versions are opened in a rehearsal (ours): enough to know the secret for the right one.
const maxCompared = 1000

type rehearsing struct {
	rehearseParams
	set      *people.ShareSet
	row      store.Row
	keystore *key.Keystore
}

func (sharesRehearse) read(view *store.View, in Input) (*rehearsing, error) {
	p, err := decode[rehearseParams](in)
	if err != nil {
		return nil, err
	}
	r := &rehearsing{rehearseParams: p}
	if r.set, r.row, err = setInForce(view, p.Set); err != nil {
		return nil, err
	}
	if err := opensKeystore(view, r.set); err != nil {
		return nil, err
	}
	if p.MissingSite != "" {
		if err := key.First([]error{key.CheckText("missing_site", p.MissingSite, 64, false), checkSite(view, r.set, p.MissingSite)}); err != nil {
			return nil, err
		}
	}
	r.keystore, err = keystoreRow(view, "keystore", r.set.Keystore)
	return r, err
}

// proof says in words what is done with the secret.
func (r *rehearsing) proof() string {
	if r.keystore.Capabilities.StoresKeys {
		return "hold the secret against the keystore's verifier, forget all"
	}
	return "open a scratch keystore with the secret, compare check values, forget all"
}

func (o sharesRehearse) Prepare(_ context.Context, env Env, view *store.View, in Input) (Plan, error) {
	r, err := o.read(view, in)
	if err != nil {
		return Plan{}, err
	}
	plan := Plan{Target: setTarget(r.set, r.row), ShareSet: r.set.ID, ShareEpoch: r.set.Epoch,
		Title: fmt.Sprintf("Rehearse: put the shares of set %s together, %s; nothing changes", r.set.ID, r.proof()),
		Quorum: policies.QuorumInput{Target: policies.QuorumTarget{Type: "share_set", ID: r.set.ID, Owner: r.keystore.Controller,
			Threshold: r.set.Threshold, Total: r.set.Total}},
		Lines: []Line{{Label: "keystore", After: r.keystore.ID}, {Label: "quorum", After: quorumOf(r.set)},
			{Label: "key versions compared", After: fmt.Sprint(min(len(wrappedIn(view, r.keystore)), maxCompared))},
			{Label: "recovery takes at most", After: rtoWords(drillPlan(view, r.set.ID))}}}
	if r.MissingSite != "" {
		plan.Lines = append(plan.Lines, Line{Label: "missing site", After: r.MissingSite})
	}
	if _, plan.Deny, err = rekeyable(env, r.keystore); err != nil {
		return Plan{}, err
	}
	return plan, nil
}

// rehearsed is what the effect leaves for the record: nothing in it is secret.
type rehearsed struct {
	Epoch   uint32 `json:"epoch"` // whose shares were tried
	Keys    int    `json:"keys"`
	Problem string `json:"problem,omitempty"`
}

// Effect opens a keystore of its own with the secret. That the secret is wrong is an outcome; that nothing could be
// tried is an error.
func (o sharesRehearse) Effect(ctx context.Context, env Env, in Input, effectID string, shares *secret.Bytes) (Effect, error) {
	if shares == nil {
		return Effect{}, errors.New("a rehearsal takes shares")
	}
	view := env.Custodian.View()
	r, err := o.read(view, in)
	if err != nil {
		return Effect{}, err
	}
	out := rehearsed{Epoch: r.set.Epoch}
	var wrong error // what was found
	if r.keystore.Capabilities.StoresKeys {
		driver, err := rekeyer(env, r.keystore.ID)
		if err != nil {
			return Effect{}, err
		}
		wrong = driver.CheckActivation(shares)
	} else {
		scratch, err := env.Drivers(r.keystore)
		if err != nil {
			return Effect{}, fmt.Errorf("making a scratch keystore: %w", err)
		}
		out.Keys, wrong = reopen(ctx, view, scratch, r.keystore, shares)
		if closed := scratch.Deactivate(ctx); ctx.Err() != nil || closed != nil {
			return Effect{}, errors.Join(ctx.Err(), closed)
		}
	}
	if wrong != nil {
		out.Problem = shorten(wrong.Error())
	}
	data, err := json.Marshal(out)
	if err != nil {
		return Effect{}, fmt.Errorf("encoding the outcome: %w", err)
	}
	return Effect{ID: effectID, Data: data}, nil
}

// reopen activates the scratch keystore and compares the check values of the keys in it with the register.
func reopen(ctx context.Context, view *store.View, scratch hsm.Keystore, keystore *key.Keystore, shares *secret.Bytes) (int, error) {
	if err := scratch.Activate(ctx, shares); err != nil {
		return 0, fmt.Errorf("the shares do not open the keystore: %w", err)
	}
	keys := 0
	for _, v := range wrappedIn(view, keystore) {
		if keys == maxCompared {
			break
		}
		id := key.VersionID(v.Key, v.Version)
		m := v.Material
		m.CheckValue = v.CheckValue // the register's: a driver opens no key that has another
		h, err := scratch.Open(ctx, m)
		if err != nil {
			return keys, fmt.Errorf("key %s does not open with the check value of the register: %w", id, err)
		}
		h.Close()
		keys++
	}
	return keys, nil
}

// Recover: what was not recorded left nothing; the shares are gone and must be brought again.
func (sharesRehearse) Recover(context.Context, Env, Input, string) (Effect, bool, error) {
	return Effect{}, false, nil
}

func (o sharesRehearse) Complete(_ context.Context, env Env, tx *store.Tx, in Input, effect Effect) (Result, error) {
	var out rehearsed
	if err := json.Unmarshal(effect.Data, &out, json.RejectUnknownMembers(true)); err != nil {
		return Result{}, fmt.Errorf("reading the outcome: %w", err)
	}
	r, err := o.read(tx.View(), in)
	if err != nil {
		return Result{}, err
	}
	if r.set.Epoch != out.Epoch { // what was tried says nothing about the shares of now
		return Result{}, fmt.Errorf("share set %s went over to epoch %d meanwhile; rehearse again", r.set.ID, r.set.Epoch)
	}
	a := act(env, tx, in, in.Reason)
	d, err := r.drill(tx.View(), a, out)
	if err != nil {
		return Result{}, err
	}
	if err := a.putDrill(tx, r.set, d, 0); err != nil {
		return Result{}, err
	}
	return result(map[string]any{"drill": d.ID, "set": r.set.ID, "keystore": r.keystore.ID, "result": string(d.Result), "counts_for": d.Kinds, "keys": d.Keys,
		"shares": d.Shares, "seconds": int(d.FinishedAt.Sub(d.StartedAt) / time.Second), "problem": d.Problem, "finding": d.Finding}), nil
}

// drill makes the record. What the ceremony's own row says of who was there, and from when on, is the evidence. A
// reconstruction is a rehearsal too, where it was in time.
func (r *rehearsing) drill(view *store.View, a acting, out rehearsed) (*people.Drill, error) {
	s, err := sessionOf(view, a.ceremony)
	if err != nil {
		return nil, err
	}
	began, indices := s.began()
	if began.IsZero() {
		began = a.at
	}
	d := &people.Drill{Set: r.set.ID, Epoch: r.set.Epoch, Kinds: []people.DrillKind{people.DrillReconstruction}, Result: people.DrillPassed, StartedAt: began.UTC(),
		FinishedAt: a.at.UTC(), Attendance: s.voted("approve"), Witnesses: s.voted("attend"), Evidence: a.ceremony, Shares: indices, Keys: out.Keys,
		Steps: "put the shares together, " + r.proof(), Site: r.MissingSite, Problem: out.Problem}
	if plan := drillPlan(view, r.set.ID); plan != nil {
		d.RTOMinutes = plan.RTOMinutes
	}
	if out.Problem != "" {
		d.Result = people.DrillFailed
		return d, nil
	}
	if slow := tooSlow(d); slow != "" {
		d.Deviations = append(d.Deviations, "no rehearsal within its time: "+slow)
	} else {
		d.Kinds = append(d.Kinds, people.DrillRehearsal)
	}
	if r.MissingSite == "" {
		return d, nil
	}
	find := register(view)
	if i := slices.IndexFunc(s.Shares, func(x brought) bool { return siteOf(find, x.Person, r.MissingSite) }); i >= 0 {
		d.Deviations = append(d.Deviations, fmt.Sprintf("no drill without %s: %s brought a share", r.MissingSite, s.Shares[i].Person))
	} else {
		d.Kinds = append(d.Kinds, people.DrillSite)
	}
	return d, nil
}

// Undo: nothing was left.
func (sharesRehearse) Undo(context.Context, Env, Input, Effect) error { return nil }
