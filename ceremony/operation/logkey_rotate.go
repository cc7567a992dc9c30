package operation

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json"

	"conclave/custodian"
	"conclave/custodian/amount"
	"conclave/custodian/key"
	"conclave/custodian/ledger"
	"conclave/custodian/store"
	"conclave/hsm/secret"
	"conclave/policies"
)

// LogKeys makes and keeps the log keys of this process, each in a file of its own.
type LogKeys interface {
	// Make makes a new log key under the id of an effect, durably, has the store know it, and gives it, sealed, to the nodes
	// that ask, of which it returns the ids.
	Make(ctx context.Context, effectID string) (verifierKey string, given []string, err error)
	// Find finds what Make made, and false where this process made nothing under that id.
	Find(effectID string) (verifierKey string, found bool, err error)
	// Forget takes away what Make made, which is not in force.
	Forget(effectID string) error
	// Keep puts the key in force in the place of the one before, which is gone then.
	Keep() error
}

type logKeyRotateParams struct {
	Cause string `json:"cause"`
	// Days is the cryptoperiod of the new key; 0 for custodian.LogKeyDays.
	Days   int    `json:"days,omitzero"`
	Reason string `json:"reason,omitzero"`
}

// logKeyRotate replaces the key that signs the ledger's heads. The old key signs the head that names the new one, and
// nothing after it.
type logKeyRotate struct{}

func (logKeyRotate) Name() string { return ledger.RotationType }

func (logKeyRotate) read(view *store.View, in Input) (p logKeyRotateParams, row store.Row, err error) {
	if p, err = decode[logKeyRotateParams](in); err != nil {
		return p, row, err
	}
	causes := []string{custodian.LogKeyScheduled, custodian.LogKeyCompromise, custodian.LogKeyNodeRevoked}
	if !slices.Contains(causes, p.Cause) {
		return p, row, &custodian.InputError{Field: "cause", Problem: fmt.Sprintf("%q", clean(p.Cause)), Allowed: strings.Join(causes, ", ")}
	}
	if p.Days != 0 {
		if err := key.CheckRange("days", p.Days, 1, custodian.MostLogKeyDays, "days (NIST SP 800-57 part 1: one to three years at most)"); err != nil {
			return p, row, err
		}
	}
	if p.Reason, err = why("reason", p.Reason, in); err != nil {
		return p, row, err
	}
	row, err = view.Get(custodian.KindLogKey, custodian.LogKeyRow)
	if errors.Is(err, store.ErrNotFound) {
		err = nil
	}
	if err != nil {
		err = fmt.Errorf("reading the log key's row: %w", err)
	}
	return p, row, err
}

func (o logKeyRotate) Prepare(_ context.Context, env Env, view *store.View, in Input) (Plan, error) {
	p, row, err := o.read(view, in)
	if err != nil {
		return Plan{}, err
	}
	serving, err := custodian.NodeKeys(view, false)
	if err != nil {
		return Plan{}, err
	}
	var names []string
	for _, n := range serving {
		names = append(names, n.Kid)
	}
	plan := Plan{Target: Target{Type: "logkey", ID: custodian.LogKeyRow, GovRevision: row.Revision},
		Title: "Replace the key that signs the ledger: the old one signs the new one, and nothing after it",
		Lines: []Line{{Label: "log key", Before: env.Custodian.Store().LogKeys().Newest(), After: "a new one, made by the node that executes this"},
			{Label: "nodes that are given it, sealed", After: strings.Join(names, ", ")},
			{Label: "to be replaced after", After: amount.Of(cmp.Or(p.Days, custodian.LogKeyDays), "day")},
			{Label: "cause", After: p.Cause}, {Label: "reason", After: p.Reason}},
		Quorum: policies.QuorumInput{Target: policies.QuorumTarget{Type: "logkey", ID: custodian.LogKeyRow}}}
	if env.LogKeys == nil {
		plan.Deny = append(plan.Deny, refusal("no_log_keys", "this process keeps no key files", "ask another node"))
	}
	return plan, nil
}

// rotation is what Complete must know of the effect.
type rotation struct {
	Key   string   `json:"key"`
	Given []string `json:"given,omitempty"`
}

func (r rotation) effect(id string) (Effect, error) {
	data, err := json.Marshal(r, json.Deterministic(true))
	return Effect{ID: id, Data: data}, err
}

func (logKeyRotate) Effect(ctx context.Context, env Env, _ Input, effectID string, _ *secret.Bytes) (Effect, error) {
	made, given, err := env.LogKeys.Make(ctx, effectID)
	if err != nil {
		return Effect{}, fmt.Errorf("making a new log key: %w", err)
	}
	return rotation{Key: made, Given: given}.effect(effectID)
}

func (logKeyRotate) Recover(_ context.Context, env Env, _ Input, effectID string) (Effect, bool, error) {
	if env.LogKeys == nil {
		return Effect{}, false, errors.New("this process keeps no key files")
	}
	made, found, err := env.LogKeys.Find(effectID)
	if err != nil || !found {
		return Effect{}, false, err
	}
	effect, err := rotation{Key: made}.effect(effectID)
	return effect, true, err
}

func (o logKeyRotate) Complete(_ context.Context, env Env, tx *store.Tx, in Input, effect Effect) (Result, error) {
	p, _, err := o.read(tx.View(), in)
	if err != nil {
		return Result{}, err
	}
	var r rotation
	if err := json.Unmarshal(effect.Data, &r, json.RejectUnknownMembers(true)); err != nil {
		return Result{}, fmt.Errorf("reading the effect: %w", err)
	}
	a := act(env, tx, in, p.Reason)
	old := env.Custodian.Store().LogKeys().Newest()
	k := &custodian.LogKey{Key: r.Key, Previous: old, Since: a.at, Days: cmp.Or(p.Days, custodian.LogKeyDays), Cause: p.Cause, Reason: p.Reason, Ceremony: in.Ceremony, Node: env.Custodian.Node(), Given: r.Given}
	detail := ledger.RotationDetail(old, r.Key)
	detail["cause"], detail["given"], detail["days"] = p.Cause, len(r.Given), k.Days
	if err := a.put(tx, custodian.KindLogKey, custodian.LogKeyRow, k, a.event(ledger.RotationType, ledger.Target{Type: "logkey", ID: custodian.LogKeyRow}, detail)); err != nil {
		return Result{}, err
	}
	tx.HandOver(r.Key)
	return result(map[string]any{"key": r.Key, "previous": old, "given": r.Given}), nil
}

// Settle implements [Settling]. A process that dies before does so when it starts again.
func (logKeyRotate) Settle(_ context.Context, env Env, _ Input, _ Effect) error {
	return env.LogKeys.Keep()
}

func (logKeyRotate) Undo(_ context.Context, env Env, _ Input, effect Effect) error {
	return env.LogKeys.Forget(effect.ID)
}

// AlertLogKey: the key that signs the ledger; 30, 7 days before the end of its cryptoperiod (ours), 0 days when it should be
// replaced.
const AlertLogKey AlertKind = "log-key"

// LogKeyAlerts lists why the log key should be looked at; began is when the instance did. Where rows that tell are not to be
// believed there is none: the alert about those rows stands.
func LogKeyAlerts(view *store.View, began, now time.Time) []Alert {
	term, err := custodian.LogKeyTermOf(view, began, now)
	if err != nil {
		return nil
	}
	var out []Alert
	for _, why := range term.Due {
		out = append(out, Alert{Kind: AlertLogKey, Message: "replace the key that signs the ledger (logkey.rotate): " + why})
	}
	if len(out) > 0 {
		return out
	}
	for _, days := range []int{7, 30} {
		if term.Until.Sub(now) <= time.Duration(days)*key.Day {
			return []Alert{{Kind: AlertLogKey, Days: days, Message: fmt.Sprintf("the key that signs the ledger is to be replaced by %s (logkey.rotate): within %d days", term.Until.UTC().Format(time.DateOnly), days)}}
		}
	}
	return nil
}
