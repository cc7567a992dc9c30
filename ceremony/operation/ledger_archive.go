package operation

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"time"

	"github.com/go-json-experiment/json"

	"conclave/custodian"
	"conclave/custodian/amount"
	"conclave/custodian/key"
	"conclave/custodian/ledger"
	"conclave/custodian/location"
	"conclave/custodian/oversight"
	"conclave/custodian/segment"
	"conclave/custodian/store"
	"conclave/hsm/secret"
	"conclave/policies"
)

type ledgerArchiveParams struct {
	Until     string `json:"until"` // the day (UTC) before which entries are archived
	Directory string `json:"directory"`
	Reason    string `json:"reason"`
}

// maxSegments bounds what one ceremony archives: some tens of millions of entries. The next one goes on (ours).
const maxSegments = 64

// ledgerArchive moves entries of past days out of the database into segments, files that prove by themselves that they
// hold these entries and all of them. Each is read back and verified before it counts; entries are read from there from
// then on, and proofs stay what they were. Entries of the control plane stay in the database as well.
type ledgerArchive struct{}

func (ledgerArchive) Name() string { return "ledger.archive" }

// archival is what the parameters ask for.
type archival struct {
	until     time.Time
	directory string
	reason    string
	retention oversight.Retention
}

func (ledgerArchive) read(view *store.View, in Input) (*archival, error) {
	p, err := decode[ledgerArchiveParams](in)
	if err != nil {
		return nil, err
	}
	out := &archival{directory: p.Directory}
	if out.reason, err = why("reason", p.Reason, in); err != nil {
		return nil, err
	}
	if out.until, err = time.Parse(time.DateOnly, p.Until); err != nil {
		return nil, &key.FieldError{Field: "until", Problem: fmt.Sprintf("%.40q is no day", p.Until), Allowed: "a day as 2026-03-01: the entries before it (UTC)"}
	}
	if err := location.Check("directory", p.Directory); err != nil {
		return nil, err
	}
	out.retention, err = ledgerRetention(view)
	return out, err
}

// ledgerRetention is how long the ledger is kept, as it holds now.
func ledgerRetention(view *store.View) (oversight.Retention, error) {
	hipaa, err := fallsUnderHIPAA(view)
	if err != nil {
		return oversight.Retention{}, err
	}
	kept, _, err := store.Get[oversight.Retention](view, custodian.KindRetention, string(oversight.ClassLedger))
	if errors.Is(err, store.ErrNotFound) {
		return oversight.DefaultRetention(oversight.ClassLedger).Effective(hipaa), nil
	}
	if err != nil {
		return oversight.Retention{}, fmt.Errorf("reading retention of the ledger: %w", err)
	}
	return kept.Effective(hipaa), nil
}

func (o ledgerArchive) Prepare(_ context.Context, env Env, view *store.View, in Input) (Plan, error) {
	a, err := o.read(view, in)
	if err != nil {
		return Plan{}, err
	}
	from := custodian.ArchivedTo(view)
	plan := Plan{Target: Target{Type: "ledger", ID: "archive"},
		Title: fmt.Sprintf("Archive the ledger's entries of before %s to %s", a.until.Format(time.DateOnly), a.directory),
		Lines: []Line{{Label: "entries", After: fmt.Sprintf("from %d on, those of before %s 00:00 UTC, in whole groups of %d", from, a.until.Format(time.DateOnly), ledger.TileWidth)},
			{Label: "where they are read from", Before: "the database", After: a.directory},
			{Label: "at hand in the database", After: "at least the last " + amount.Of(a.retention.ImmediateDays, "day")},
			{Label: "reason", After: a.reason}},
		Quorum: policies.QuorumInput{Target: policies.QuorumTarget{Type: "ledger", ID: "archive"}}}
	plan.Deny = noArchive(env, a.directory)
	if hand := in.Now.AddDate(0, 0, -a.retention.ImmediateDays); a.until.After(hand) {
		plan.Deny = append(plan.Deny, refusal("at_hand", fmt.Sprintf("the last %d days of the ledger stay at hand: a day up to %s is possible",
			a.retention.ImmediateDays, hand.Format(time.DateOnly)), fmt.Sprintf("name an earlier day, or decide on how much stays at hand (retention.change; least %d days)", oversight.LeastImmediate)))
	}
	return plan, nil
}

// Examine says at the proposal whether there is anything to archive.
func (o ledgerArchive) Examine(ctx context.Context, env Env, view *store.View, in Input) ([]policies.Reason, error) {
	a, err := o.read(view, in)
	if err != nil {
		return nil, err
	}
	from, end, err := o.span(ctx, env, view, a)
	if err != nil || end > from {
		return nil, err
	}
	return []policies.Reason{refusal("nothing_to_archive", fmt.Sprintf("behind entry %d no whole group of %d entries is of before %s", from, ledger.TileWidth, a.until.Format(time.DateOnly)), "nothing to do")}, nil
}

// span is the entries to archive, from ≤ seq < end.
func (ledgerArchive) span(ctx context.Context, env Env, view *store.View, a *archival) (from, end uint64, err error) {
	from = custodian.ArchivedTo(view)
	if end, err = env.Custodian.Store().FirstAt(ctx, a.until); err != nil {
		return 0, 0, fmt.Errorf("looking for the first entry of %s: %w", a.until.Format(time.DateOnly), err)
	}
	end -= end % ledger.TileWidth
	return from, min(max(from, end), from+maxSegments*segment.MaxEntries), nil
}

// Effect writes the segments. Each has a name of its own, by which it is found again.
func (o ledgerArchive) Effect(ctx context.Context, env Env, in Input, effectID string, _ *secret.Bytes) (Effect, error) {
	view := env.Custodian.View()
	a, err := o.read(view, in)
	if err != nil {
		return Effect{}, err
	}
	from, end, err := o.span(ctx, env, view, a)
	if err != nil {
		return Effect{}, err
	}
	archive := segment.Archive{Directory: a.directory, Objects: env.Archives, Writer: segment.Writer(in.Instance.ID, env.Custodian.Node())}
	if err := archive.Mark(ctx, in.Instance.ID); err != nil {
		return Effect{}, fmt.Errorf("the archive can not be written to (a directory must exist; an absent mount is not made up for): %w", err)
	}
	var made []*segment.Segment
	for _, run := range segment.Runs(from, end) {
		g, err := archiveRun(ctx, env, archive, in, run[0], run[1])
		if err != nil {
			return Effect{}, err
		}
		made = append(made, g)
	}
	data, err := json.Marshal(made)
	return Effect{ID: effectID, Data: data}, err
}

// archiveRun writes one segment, or takes one of its name that is there already, and verifies what then stands there.
func archiveRun(ctx context.Context, env Env, archive segment.Archive, in Input, from, to uint64) (*segment.Segment, error) {
	st := env.Custodian.Store()
	_, note, _ := st.Published()
	name := segment.FileName(in.Instance.ID, from, to)
	head, err := st.OpenCheckpoint(note)
	if err != nil {
		return nil, err
	}
	err = archive.Create(ctx, name, func(w io.Writer) error {
		return segment.Write(ctx, w, segment.Content{Instance: in.Instance.ID, From: from, To: to, Checkpoint: note, Head: head, Entries: st,
			Hashes: ledger.HashReader(ctx, st.Tree(), st)})
	})
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, err
	}
	file, closer, err := archive.Open(ctx, name)
	if err != nil {
		return nil, fmt.Errorf("reading the segment back: %w", err)
	}
	defer closer.Close()
	if head, err = st.OpenCheckpoint(file.Checkpoint); err != nil {
		return nil, fmt.Errorf("reading segment %s back: %w", name, err)
	}
	if err := file.Verify(ctx, head); err != nil {
		return nil, fmt.Errorf("reading segment %s back: %w", name, err)
	}
	m := file.Manifest
	if m.Instance != in.Instance.ID || m.From != from || m.To != to {
		return nil, fmt.Errorf("%w: %s holds entries %d to %d of instance %.12s", segment.ErrAltered, name, m.From, m.To, m.Instance)
	}
	sum, size, err := archive.Sum(ctx, name)
	if err != nil {
		return nil, err
	}
	return &segment.Segment{ID: segment.ID(from, to), From: from, To: to, FirstAt: m.FirstAt, LastAt: m.LastAt, Control: m.Control, Directory: archive.Directory,
		File: name, Bytes: size, SHA256: sum, Node: env.Custodian.Node(), Status: segment.Kept}, nil
}

// Recover writes what is missing and adopts what is there: making a segment twice is making it once.
func (o ledgerArchive) Recover(ctx context.Context, env Env, in Input, effectID string) (Effect, bool, error) {
	effect, err := o.Effect(ctx, env, in, effectID, nil)
	return effect, err == nil, err
}

// errArchivedMeanwhile: another ceremony archived these entries first.
var errArchivedMeanwhile = errors.New("the entries were archived by another ceremony meanwhile")

func (o ledgerArchive) Complete(_ context.Context, env Env, tx *store.Tx, in Input, effect Effect) (Result, error) {
	x, err := o.read(tx.View(), in)
	if err != nil {
		return Result{}, err
	}
	var made []*segment.Segment
	if err := json.Unmarshal(effect.Data, &made, json.RejectUnknownMembers(true)); err != nil {
		return Result{}, fmt.Errorf("reading what was archived: %w", err)
	}
	a := act(env, tx, in, x.reason)
	next, ids, entries := custodian.ArchivedTo(tx.View()), []string{}, uint64(0)
	for _, g := range made {
		if g.From != next {
			return Result{}, errArchivedMeanwhile
		}
		next, entries = g.To, entries+g.To-g.From
		g.ArchivedAt, g.ArchivedBy = a.at, in.Ceremony
		e := a.event("ledger.archive", ledger.Target{Type: ledger.SegmentTarget, ID: g.ID}, map[string]any{"from": g.From, "to": g.To, "first_at": g.FirstAt, "last_at": g.LastAt,
			"directory": g.Directory, "file": g.File, "bytes": g.Bytes, "sha256": g.SHA256, "immediate_days": x.retention.ImmediateDays})
		if err := a.put(tx, custodian.KindSegment, g.ID, g, e); err != nil {
			return Result{}, err
		}
		ids = append(ids, g.ID)
	}
	if len(made) == 0 {
		if err := tx.Append(a.event("ledger.archive", ledger.Target{Type: "ledger", ID: "archive"}, map[string]any{"segments": 0})); err != nil {
			return Result{}, err
		}
	}
	return result(map[string]any{"segments": ids, "entries": entries}), nil
}

// Undo removes what was written and is not on record.
func (o ledgerArchive) Undo(ctx context.Context, env Env, _ Input, effect Effect) error {
	var made []*segment.Segment
	if err := json.Unmarshal(effect.Data, &made, json.RejectUnknownMembers(true)); err != nil {
		return fmt.Errorf("reading what was archived: %w", err)
	}
	var errs []error
	for _, g := range made {
		kept, _, err := store.Get[segment.Segment](env.Custodian.View(), custodian.KindSegment, g.ID)
		if err == nil && kept.Directory == g.Directory { // made by the ceremony that was first
			continue
		}
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			errs = append(errs, err)
			continue
		}
		_, err = segment.Archive{Directory: g.Directory, Objects: env.Archives}.Remove(ctx, g.File)
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// noArchive refuses a place in an object store that this process can not reach.
func noArchive(env Env, directory string) []policies.Reason {
	if _, _, object := location.Object(directory); !object || env.Archives != nil {
		return nil
	}
	return []policies.Reason{noObjectStore(directory)}
}
