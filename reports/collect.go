package reports

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/go-json-experiment/json"

	"conclave/custodian"
	"conclave/custodian/ledger"
	"conclave/reports/control"
)

// kindCeremony is the kind of the rows that hold ceremonies. They belong to a sibling package, which this one
// does not import; [control.Ceremony] reads what matters here.
const kindCeremony = "ceremony"

// rowKinds are the kinds of rows that evidence is read from.
func rowKinds() []string {
	return []string{
		string(custodian.KindInstance), string(custodian.KindKey), string(custodian.KindKeyVersion), string(custodian.KindKeystore),
		string(custodian.KindPerson), string(custodian.KindShareSet), string(custodian.KindShare), string(custodian.KindApplication),
		string(custodian.KindGrant), string(custodian.KindHold), string(custodian.KindReview), string(custodian.KindFinding),
		string(custodian.KindException), string(custodian.KindDrift), string(custodian.KindBreakGlass), string(custodian.KindRetention), string(custodian.KindBackup), kindCeremony,
		string(custodian.KindToken), string(custodian.KindActivity), string(custodian.KindDuty), string(custodian.KindAsset), string(custodian.KindShareForm),
		string(custodian.KindCustody), string(custodian.KindDrill), string(custodian.KindBackupSchedule), string(custodian.KindPolicy), string(custodian.KindAttestation),
		string(custodian.KindLogDay), string(custodian.KindSegment),
	}
}

// ErrNoInstance: the source has no readable instance row, so nothing is known of what the report is about.
var ErrNoInstance = errors.New("no instance row")

// collect reads everything that evaluators look at.
func collect(ctx context.Context, src Source, from, to time.Time, o reading) (*control.Evidence, error) {
	ev := &control.Evidence{From: from, To: to, Now: to, Damaged: src.Damaged()}
	if at := src.Checkpoint().At; at.Before(to) {
		ev.Now = at
	}
	instance, err := read[control.Instance](src, custodian.KindInstance)
	if err != nil {
		return nil, err
	}
	if len(instance) != 1 {
		return nil, fmt.Errorf("reading instance: %w", ErrNoInstance)
	}
	ev.Instance = instance[0].Value
	genesis, _, err := src.Entry(ctx, 0)
	if err != nil {
		return nil, fmt.Errorf("reading entry 0: %w", err)
	}
	if ev.Instance.Begins = genesis.At.UTC(); to.Before(ev.Instance.Begins) {
		return nil, &custodian.InputError{Field: "to", Problem: "the period ends before the record begins", Allowed: "a time after " + ev.Instance.Begins.Format(time.RFC3339)}
	}
	if err := errors.Join(
		into(src, custodian.KindKey, &ev.Keys), into(src, custodian.KindKeyVersion, &ev.Versions),
		into(src, custodian.KindKeystore, &ev.Keystores), into(src, custodian.KindPerson, &ev.People),
		into(src, custodian.KindShareSet, &ev.ShareSets), into(src, custodian.KindShare, &ev.Shares),
		into(src, custodian.KindApplication, &ev.Applications), into(src, custodian.KindGrant, &ev.Grants),
		into(src, custodian.KindHold, &ev.Holds), into(src, custodian.KindReview, &ev.Reviews), into(src, custodian.KindFinding, &ev.Findings),
		into(src, custodian.KindException, &ev.Exceptions), into(src, custodian.KindDrift, &ev.Drifts), into(src, custodian.KindBreakGlass, &ev.BreakGlass),
		into(src, custodian.KindRetention, &ev.Retentions),
		into(src, custodian.KindBackup, &ev.Backups), into(src, kindCeremony, &ev.Ceremonies),
		into(src, custodian.KindToken, &ev.Tokens), into(src, custodian.KindActivity, &ev.Activities), into(src, custodian.KindDuty, &ev.Duties),
		into(src, custodian.KindAsset, &ev.Assets), into(src, custodian.KindShareForm, &ev.ShareForms), into(src, custodian.KindCustody, &ev.Custody),
		into(src, custodian.KindDrill, &ev.Drills), into(src, custodian.KindBackupSchedule, &ev.Schedules), into(src, custodian.KindPolicy, &ev.Policies),
		into(src, custodian.KindAttestation, &ev.Attestations), into(src, custodian.KindLogDay, &ev.LogDays), into(src, custodian.KindSegment, &ev.Segments), src.Err()); err != nil {
		return nil, err
	}
	ev.Events = control.NewEvents(ev.Versions)
	return ev, observe(ctx, src, ev, o)
}

// observe reads the ledger once: the control plane up to the period, then every entry of the period; of a long period its
// control plane, and the daily counts of the data plane.
func observe(ctx context.Context, src Source, ev *control.Evidence, o reading) error {
	first, end, err := Range(ctx, src, ev.From, ev.To)
	if err != nil {
		return err
	}
	if counts, ok := src.(Rollups); ok && end-first > o.most() {
		return observeCounts(ctx, src, counts, ev, first, end)
	}
	err = src.ControlEntries(ctx, first, func(e *ledger.Entry, _ []byte) error {
		ev.Events.Before(e)
		return nil
	})
	if err != nil {
		return fmt.Errorf("reading control entries before the period: %w", err)
	}
	const every = 1 << 14
	err = src.Entries(ctx, first, end, func(e *ledger.Entry, _ []byte) error {
		ev.Events.Observe(e)
		if o.progress != nil && (e.Seq-first)%every == 0 {
			o.progress(e.Seq-first, end-first)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("reading the period's entries: %w", err)
	}
	return nil
}

func into[K ~string, T any](src Source, kind K, out *[]control.Record[T]) error {
	records, err := read[T](src, kind)
	*out = records
	return err
}

// read decodes the rows of a kind. Their bodies were decoded strictly by their owner when they were loaded;
// here members that reports do not know are passed over.
func read[T any, K ~string](src Source, kind K) ([]control.Record[T], error) {
	var out []control.Record[T]
	for ref, body := range src.Rows(string(kind)) {
		record := control.Record[T]{Ref: ref}
		if err := json.Unmarshal(body, &record.Value); err != nil {
			return nil, fmt.Errorf("reading %s %q: %w", kind, ref.ID, err)
		}
		out = append(out, record)
	}
	return out, nil
}
