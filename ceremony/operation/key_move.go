package operation

import (
	"context"
	"fmt"
	"time"

	"conclave/ceremony/placement"
	"conclave/custodian"
	"conclave/custodian/amount"
	"conclave/custodian/key"
	"conclave/custodian/store"
	"conclave/hsm"
	"conclave/hsm/secret"
	"conclave/policies"
)

// moveRewrapDays is how long the campaigns last that a move opens unless it says otherwise (ours), in days.
const moveRewrapDays = 90

type keyMoveParams struct {
	Key      string `json:"key"`
	Keystore string `json:"keystore"`    // that it moves to
	Days     int    `json:"rewrap_days"` // until what is under earlier versions is to be protected anew; 0: moveRewrapDays
	Reason   string `json:"reason"`
}

// keyMove lets a key live in another keystore from now on: a version is made inside that one and protects, earlier
// versions stay where they are and process. Nothing is exported, so no class of key is too high for it and the keystore
// that is left need not even serve.
type keyMove struct{}

func (keyMove) Name() string { return "key.move" }

// keyMoving is what a move is about, read under one view.
type keyMoving struct {
	keyMoveParams
	before, key *key.Key // as it is, and as it would be
	current     *key.Version
	from, to    *key.Keystore
	leave       []*key.Version // with material, not in the keystore that it moves to
	deny        []policies.Reason
}

// read checks the parameters, and what stands against the move by the register and policy of this view.
func (keyMove) read(ctx context.Context, env Env, view *store.View, in Input) (*keyMoving, error) {
	p, err := decode[keyMoveParams](in)
	if err != nil {
		return nil, err
	}
	m := &keyMoving{keyMoveParams: p}
	if m.Reason, err = why("reason", p.Reason, in); err != nil {
		return nil, err
	}
	if err := key.CheckRange("rewrap_days", p.Days, 0, 730, fmt.Sprintf("days, 0 for %d", moveRewrapDays)); err != nil {
		return nil, err
	}
	if m.Days == 0 {
		m.Days = moveRewrapDays
	}
	if m.before, err = keyRow(view, "key", p.Key); err != nil {
		return nil, err
	}
	if m.to, err = keystoreRow(view, "keystore", p.Keystore); err != nil {
		return nil, err
	}
	if m.from, err = keystoreRow(view, "keystore", m.before.Keystore); err != nil {
		return nil, err
	}
	if m.to.ID == m.from.ID {
		return nil, &custodian.InputError{Field: "keystore", Problem: fmt.Sprintf("key %s lives there", m.before.ID), Allowed: "another keystore; a new version in the same one is key.rotate"}
	}
	versions, err := versionRows(view, m.before, 0)
	if err != nil {
		return nil, err
	}
	for _, v := range versions {
		if v.State.HasMaterial() && v.Keystore != m.to.ID {
			m.leave = append(m.leave, v)
		}
	}
	own := *m.before
	m.key = &own
	m.key.Keystore, m.key.Origin = m.to.ID, key.OriginGenerated
	m.current = versions[m.before.Current-1]
	m.deny = notRotatable(m.before, m.current, versions[m.before.Versions-1])
	misfits, err := misplaced(ctx, env, view, m.key)
	if err != nil {
		return nil, err
	}
	m.deny = append(m.deny, misfits...)
	missing, err := unacknowledged(view, m.to, in)
	if err != nil {
		return nil, err
	}
	if len(missing) > 0 {
		m.deny = append(m.deny, refusal(key.CodeAcknowledgement, "custodians of keystore "+m.to.ID+" have not acknowledged their duty: "+list(missing),
			"they sign it (acknowledgement.sign)"))
	}
	return m, nil
}

func (o keyMove) Prepare(ctx context.Context, env Env, view *store.View, in Input) (Plan, error) {
	m, err := o.read(ctx, env, view, in)
	if err != nil {
		return Plan{}, err
	}
	next := m.key.Versions + 1
	plan := Plan{Target: keyTarget(m.before), Title: fmt.Sprintf("Move key %s from keystore %s to %s: version %d, made there, protects from now on", m.key.ID, m.from.ID, m.to.ID, next),
		Quorum: keyQuorum(m.before), Deny: append(m.deny, inactive(env, m.to)...),
		Lines: []Line{keyLine(m.before),
			{Label: "keystore", Before: describeKeystore(m.from, in.Now), After: describeKeystore(m.to, in.Now)},
			stateLine(m.current, fmt.Sprintf("deactivated: stays in %s, processes until %s", m.current.Keystore, m.current.RUPEnd.Format(time.DateOnly))),
			{Label: fmt.Sprintf("version %d", next), After: "active: " + describePeriods(m.key.OUPDays, m.key.RUPDays, m.key.RotateDays)},
			{Label: "boundary", After: "no key leaves a keystore: what is under earlier versions is opened where they are, and protected anew"}}}
	if m.key.Specification().Pair() {
		plan.Lines = append(plan.Lines, Line{Label: "public half", After: fmt.Sprintf("version %d has another: hand it out to whoever verifies or encrypts with it", next)})
	}
	for _, add := range []func(context.Context, Env, *store.View) ([]Line, error){m.placementLines, m.holdLines, m.campaignLines} {
		lines, err := add(ctx, env, view)
		if err != nil {
			return Plan{}, err
		}
		plan.Lines = append(plan.Lines, lines...)
	}
	plan.Lines = append(plan.Lines, Line{Label: "reason", After: m.Reason})
	return plan, nil
}

// describeKeystore is what decides about a keystore, in one line.
func describeKeystore(r *key.Keystore, now time.Time) string {
	level := "no FIPS claim"
	if r.FIPSLevel > 0 {
		level = fmt.Sprintf("FIPS %s level %d, certificate %s %s", r.FIPSStandard, r.FIPSLevel, r.Certificate, r.StatusAt(now))
	}
	return fmt.Sprintf("%s: %s, %s, %s, %s, %s", r.ID, r.Driver, level, r.Custody, r.Jurisdiction, r.Environment)
}

// placementLines say why the key may live where it goes, and how the versions stand that stay behind.
func (m *keyMoving) placementLines(ctx context.Context, env Env, view *store.View) ([]Line, error) {
	decision, err := placed(ctx, env, view, m.key)
	if err != nil {
		return nil, err
	}
	verdict, _ := decision.Verdict(m.to.ID)
	out := []Line{{Label: "placement in " + m.to.ID, After: "refused"}}
	if verdict.Allow {
		out[0].After = fmt.Sprintf("allowed: every rule of policy is met; level that counts: %d", verdict.EffectiveLevel)
	}
	risks, err := acceptedRisks(ctx, env, view, m.key)
	if err != nil {
		return nil, err
	}
	out = append(out, risks...)
	facts, err := env.Custodian.PlacementInput(view, policies.PlacementKey{})
	if err != nil {
		return nil, err
	}
	groups, err := placement.GroupsOf(view, facts.Exceptions, []*key.Key{m.key})
	if err != nil {
		return nil, err
	}
	standings, err := placement.World{Facts: facts, Ask: placement.By(env.Policies)}.Judge(ctx, groups)
	if err != nil {
		return nil, fmt.Errorf("judging the versions of key %s that stay behind: %w", m.key.ID, err)
	}
	for _, s := range standings {
		if s.Keystore != m.to.ID {
			out = append(out, Line{Label: "versions left in " + s.Keystore, After: s.Words()})
		}
	}
	return out, nil
}

// holdLines name legal holds: they keep on meaning the versions that stay.
func (m *keyMoving) holdLines(_ context.Context, _ Env, view *store.View) ([]Line, error) {
	var out []Line
	for _, v := range m.leave {
		refs, err := holdsOn(view, m.before, v)
		if err != nil {
			return nil, err
		}
		ids, err := held(view, refs...)
		if err != nil {
			return nil, err
		}
		if len(ids) > 0 {
			out = append(out, Line{Label: fmt.Sprintf("legal hold on version %d", v.Version), After: list(ids) + ": it stays, and what is under it can be read"})
		}
	}
	return out, nil
}

// rewrapped are the versions for which the move opens a campaign: data may be under them, and none is under way.
func (m *keyMoving) rewrapped(view *store.View) ([]*key.Version, error) {
	if m.key.Specification().Kind() == hsm.Signs { // nothing is under a signature key
		return nil, nil
	}
	var out []*key.Version
	for _, v := range m.leave {
		open, err := openCampaign(view, v.Key, v.Version)
		if err != nil {
			return nil, err
		}
		if open == "" && !neverActive(v) {
			out = append(out, v)
		}
	}
	return out, nil
}

func (m *keyMoving) campaignLines(_ context.Context, _ Env, view *store.View) ([]Line, error) {
	versions, err := m.rewrapped(view)
	if err != nil {
		return nil, err
	}
	var out []Line
	for _, v := range versions {
		out = append(out, Line{Label: fmt.Sprintf("campaign for version %d", v.Version), After: "what is under it is protected anew within " + amount.Of(m.Days, "day")})
	}
	return out, nil
}

func (o keyMove) Effect(ctx context.Context, env Env, in Input, effectID string, _ *secret.Bytes) (Effect, error) {
	m, err := o.read(ctx, env, env.Custodian.View(), in)
	if err != nil {
		return Effect{}, err
	}
	if err := refused(m.deny); err != nil { // decided otherwise since the intent: nothing is made
		return Effect{}, err
	}
	return makeMaterial(ctx, env, m.key, m.key.Versions+1, effectID)
}

func (keyMove) Recover(ctx context.Context, env Env, in Input, effectID string) (Effect, bool, error) {
	p, err := decode[keyMoveParams](in)
	if err != nil {
		return Effect{}, false, err
	}
	return findMaterial(ctx, env, p.Keystore, effectID)
}

// Complete judges once more: what was decided between intent and record may have made it another matter, and a key is
// never left half moved.
func (o keyMove) Complete(ctx context.Context, env Env, tx *store.Tx, in Input, effect Effect) (Result, error) {
	m, err := o.read(ctx, env, tx.View(), in)
	if err != nil {
		return Result{}, err
	}
	if err := refused(m.deny); err != nil {
		return Result{}, fmt.Errorf("moving key %s: %w", m.key.ID, err)
	}
	driver, err := Driver(env, m.to)
	if err != nil {
		return Result{}, err
	}
	a := act(env, tx, in, m.Reason)
	campaigns, err := m.rewrapped(tx.View())
	if err != nil {
		return Result{}, err
	}
	// Material made for another number, because another version came first, is refused here.
	v, err := newVersion(a, driver, m.key, m.key.Versions+1, effect, time.Time{})
	if err != nil {
		return Result{}, err
	}
	m.key.GovRevision++
	made, err := recordMoved(ctx, env, tx, in, m, v)
	if err != nil {
		return Result{}, err
	}
	var opened []string
	for i, old := range campaigns {
		c, err := newCampaign(tx.View(), fmt.Sprintf("%s-%d-%d", idFrom("w", in.Ceremony), in.Item, i+1), old, key.CauseMove, m.Days, in.Ceremony, a.at)
		if err != nil {
			return Result{}, err
		}
		if err := putCampaign(a, tx, "campaign.start", c); err != nil {
			return Result{}, err
		}
		opened = append(opened, c.ID)
	}
	made["from"], made["keystore"] = m.from.ID, m.to.ID
	if len(opened) > 0 {
		made["campaigns"] = opened
	}
	return result(made), nil
}

// recordMoved stores the version and brings it into use. One that may not come into use now takes the whole move back.
func recordMoved(ctx context.Context, env Env, tx *store.Tx, in Input, m *keyMoving, v *key.Version) (map[string]any, error) {
	detail := madeDetail(v)
	detail["from"] = m.from.ID
	out, err := recordVersion(ctx, env, tx, in, "key.move", m.key, v, detail)
	if err == nil && out["not_activated"] != nil {
		err = fmt.Errorf("moving key %s: version %d can not come into use: %v", m.key.ID, v.Version, out["not_activated"])
	}
	return out, err
}

// Undo destroys what was made in the keystore that it was to move to.
func (keyMove) Undo(ctx context.Context, env Env, in Input, effect Effect) error {
	p, err := decode[keyMoveParams](in)
	if err != nil {
		return err
	}
	return destroyMaterial(ctx, env, p.Keystore, effect)
}
