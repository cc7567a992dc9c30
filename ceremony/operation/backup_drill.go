package operation

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"

	"github.com/go-json-experiment/json/jsontext"

	restore "conclave/ceremony/recovery"
	"conclave/custodian"
	"conclave/custodian/backup"
	"conclave/custodian/ledger"
	"conclave/custodian/people"
	"conclave/custodian/store"
	"conclave/policies"
)

type backupDrillParams struct {
	Record restore.Drill `json:"record"`
}

// backupDrill records a restore test: a quorum opened a copy and restored it whole into a scratch instance. What makes
// it evidence are the signatures of those who took part, which are verified here against the register.
type backupDrill struct{}

func (backupDrill) Name() string { return "backup.drill" }

func (backupDrill) read(env Env, view *store.View, in Input) (*restore.Drill, restore.Quorum, *backup.Copy, error) {
	var none restore.Quorum
	p, err := decode[backupDrillParams](in)
	if err != nil {
		return nil, none, nil, err
	}
	c, _, err := lookup[backup.Copy](view, custodian.KindBackup, "record.backup", p.Record.Backup, "backup")
	if err != nil {
		return nil, none, nil, err
	}
	find := register(view)
	q, err := p.Record.Judge(c, env.Custodian.Instance(), restore.Register{Person: find, Share: func(set string, epoch uint32, index int) *people.Share {
		s, _, err := store.Get[people.Share](view, custodian.KindShare, people.ShareID(set, epoch, index))
		if err != nil {
			return nil
		}
		return s
	}})
	if err != nil {
		return nil, none, nil, &custodian.InputError{Field: "record", Problem: err.Error(), Allowed: "what `conclave restore finish` wrote of a drill on this backup"}
	}
	return &p.Record, q, c, nil
}

func (o backupDrill) Prepare(_ context.Context, env Env, view *store.View, in Input) (Plan, error) {
	d, q, c, err := o.read(env, view, in)
	if err != nil {
		return Plan{}, err
	}
	plan := Plan{Target: Target{Type: "backup", ID: c.ID}, Title: fmt.Sprintf("Record that backup %s was opened and restored in a drill", c.ID),
		Lines: []Line{{Label: "opened by", After: list(q.People)}, {Label: "witnessed by", After: list(q.Witnesses)},
			{Label: "restored", After: fmt.Sprintf("%d entries, %d rows", d.Entries, d.Rows)}},
		Quorum: policies.QuorumInput{Target: policies.QuorumTarget{Type: "backup", ID: c.ID}}}
	if slices.ContainsFunc(c.Drills, func(x backup.Drill) bool { return x.Record == d.SessionSHA256 }) {
		plan.Deny = append(plan.Deny, refusal("already_recorded", "this drill is on record already", "nothing to do"))
	}
	return plan, nil
}

func (o backupDrill) Execute(_ context.Context, env Env, tx *store.Tx, in Input) (Result, error) {
	d, q, c, err := o.read(env, tx.View(), in)
	if err != nil {
		return Result{}, err
	}
	a := act(env, tx, in, in.Reason)
	c.Drills = append(c.Drills, backup.Drill{At: a.at, Record: d.SessionSHA256, People: q.People, Witness: q.Witnesses[0], Entries: d.Entries, Rows: d.Rows, Ceremony: in.Ceremony})
	c.Drills = c.Drills[max(0, len(c.Drills)-backup.MaxDrills):]
	var envelopes []string
	for _, e := range d.Envelopes {
		envelopes = append(envelopes, digestOf(e))
	}
	e := a.event("backup.drill", ledger.Target{Type: "backup", ID: c.ID}, map[string]any{"session_sha256": d.SessionSHA256, "people": q.People,
		"witnesses": q.Witnesses, "entries": d.Entries, "rows": d.Rows, "envelope_sha256": envelopes})
	if err := a.put(tx, custodian.KindBackup, c.ID, c, e); err != nil {
		return Result{}, err
	}
	return result(map[string]any{"backup": c.ID, "people": q.People, "witnesses": q.Witnesses}), nil
}

func digestOf(v jsontext.Value) string {
	sum := sha256.Sum256(v)
	return hex.EncodeToString(sum[:])
}
