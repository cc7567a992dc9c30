package reports

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json"

	"conclave/custodian"
	"conclave/custodian/key"
	"conclave/custodian/oversight"
	"conclave/reports/control"
	"conclave/reports/control/judge"
)

// Format names the report's JSON; it changes when a member changes its meaning.
const Format = "conclave-report-1"

// Request asks for a report.
type Request struct {
	Framework string    // a catalogue, e.g. "pci-dss-4.0.1"
	From, To  time.Time // the period: From ≤ entry < To
	Progress  Progress  // told how far reading is; may be nil
	// ReadAtMost is how many entries a period may have to be read one by one; of a longer one the daily counts are read.
	// 0: DefaultReadAtMost.
	ReadAtMost uint64
}

// Progress is told, now and then, how many of the period's entries were read.
type Progress func(read, of uint64)

// Report is one framework judged for one period. For a checkpoint and a period it is always the same, but for
// GeneratedAt.
type Report struct {
	Format           string           `json:"format"`
	Instance         control.Instance `json:"instance"`
	Framework        string           `json:"framework"`
	FrameworkName    string           `json:"framework_name"`
	CatalogueVersion string           `json:"catalogue_version"`
	From             time.Time        `json:"from"`
	To               time.Time        `json:"to"`
	AsOf             time.Time        `json:"as_of"` // state is judged as of this instant
	GeneratedAt      time.Time        `json:"generated_at"`
	Checkpoint       Checkpoint       `json:"checkpoint"`
	Counts           map[string]int   `json:"counts"` // controls by verdict; every verdict is listed
	// Parts names the parts of the framework, by what the ids of their controls begin with.
	Parts    map[string]string `json:"parts,omitempty"`
	Controls []Judgement       `json:"controls"`
	// Who says who the people and applications are whose ids stand in rows.
	Who     control.Table  `json:"who"`
	Entries map[string]int `json:"entries"` // the period's ledger entries by type
	// Counted is how many uses of keys were taken from daily counts, because the period is long; their entries are
	// among Entries as control.CountedByDay. 0: every entry was read.
	Counted int `json:"counted"`
	// Retention is how long records are kept, by class, as governed and never under what the standards demand.
	Retention []Retention `json:"retention"`
}

// Retention is the period in force for one class of records.
type Retention struct {
	Class         string `json:"class"`
	Days          int    `json:"days"`
	ImmediateDays int    `json:"immediate_days"`       // of these, at hand without a restore
	ChangedBy     string `json:"changed_by,omitempty"` // ceremony; none: the default
}

// retention is the period in force for every class.
func retention(ev *control.Evidence) []Retention {
	hipaa := slices.ContainsFunc(ev.Keys, func(k control.Record[key.Key]) bool { return oversight.HIPAA(&k.Value) })
	var out []Retention
	for _, class := range oversight.Classes() {
		r := oversight.DefaultRetention(class)
		for _, governed := range ev.Retentions {
			if governed.Value.Class == class {
				r = governed.Value
			}
		}
		r = r.Effective(hipaa)
		out = append(out, Retention{Class: string(class), Days: r.Days, ImmediateDays: r.ImmediateDays, ChangedBy: r.ChangedBy})
	}
	return out
}

// Judgement is one control with its result.
type Judgement struct {
	control.Control
	Result control.Result `json:"result"`
	// Conclusion is the verdict in the words of the framework's assessors, with what people signed about it taken in.
	Conclusion string `json:"conclusion"`
	// Attested says that the conclusion rests on people's word and not on the verdict alone.
	Attested bool `json:"attested"`
}

// Development says that the report is about an instance made for trying out; every page of it says so.
func (r *Report) Development() bool { return r.Instance.Development() }

// Cited lists the ledger entries that prove the report's rows, ascending.
func (r *Report) Cited() []uint64 {
	seen := map[uint64]bool{}
	for _, row := range r.rows() {
		for _, seq := range row.Ledger {
			seen[seq] = true
		}
	}
	return slices.Sorted(maps.Keys(seen))
}

// Rows lists the authority rows that the report was read from, in order of kind and id.
func (r *Report) Rows() []control.Ref {
	seen := map[control.Ref]bool{}
	for _, row := range r.rows() {
		for _, ref := range row.Rows {
			seen[ref] = true
		}
	}
	return slices.SortedFunc(maps.Keys(seen), func(a, b control.Ref) int {
		return cmp.Or(strings.Compare(a.Kind, b.Kind), strings.Compare(a.ID, b.ID), cmp.Compare(a.Revision, b.Revision))
	})
}

func (r *Report) rows() []control.Row {
	out := slices.Clone(r.Who.Rows)
	for _, c := range r.Controls {
		for _, t := range c.Result.Tables {
			out = append(out, t.Rows...)
		}
	}
	return out
}

// JSON is the report as canonical JSON (RFC 8785).
func (r *Report) JSON() ([]byte, error) { return canonicalJSON(r) }

// Parse reads a report's JSON strictly.
func Parse(data []byte) (*Report, error) {
	r := new(Report)
	if err := json.Unmarshal(data, r, json.RejectUnknownMembers(true)); err != nil {
		return nil, fmt.Errorf("reading report: %w", err)
	}
	if r.Format != Format {
		return nil, fmt.Errorf("reading report: format: %q; allowed: %s", r.Format, Format)
	}
	return r, nil
}

// Generate judges a framework. now is when the report is asked for; it bounds the period and is printed, and
// decides nothing. Bad requests are a [*custodian.InputError] that names the field.
func Generate(ctx context.Context, src Source, req Request, now time.Time) (*Report, error) {
	catalogue, evaluators, err := frameworkOf(req.Framework)
	if err != nil {
		return nil, err
	}
	if err := checkPeriod(req.From, req.To, now); err != nil {
		return nil, err
	}
	ev, err := collect(ctx, src, req.From.UTC(), req.To.UTC(), reading{progress: req.Progress, atMost: req.ReadAtMost})
	if err != nil {
		return nil, fmt.Errorf("collecting evidence: %w", err)
	}
	ev.Framework, ev.Scope = catalogue.Framework, catalogue.Scope
	r := &Report{
		Format: Format, Instance: ev.Instance, Framework: catalogue.Framework, FrameworkName: catalogue.Name,
		CatalogueVersion: catalogue.Version, From: ev.From, To: ev.To, AsOf: ev.Now, GeneratedAt: now.UTC(),
		Checkpoint: src.Checkpoint(), Counts: map[string]int{}, Entries: ev.Events.Counts(), Counted: ev.Events.Rolled(), Retention: retention(ev),
		Parts: catalogue.Parts, Who: *judge.WhoIsWho(ev),
	}
	for _, v := range control.Verdicts() {
		r.Counts[string(v)] = 0
	}
	for i, c := range catalogue.Controls {
		if err := ctx.Err(); err != nil {
			return nil, fmt.Errorf("judging control %s: %w", c.ID, err)
		}
		result := doubtDamaged(evaluators[i](ctx, ev), ev.Damaged)
		r.Counts[string(result.Verdict)]++
		r.Controls = append(r.Controls, conclude(ev, catalogue, Judgement{Control: c, Result: result}))
	}
	return r, nil
}

// doubtDamaged takes back a verdict that rests on rows being absent or in order where rows were left out because
// they contradict the ledger: what such a row should say is not known.
func doubtDamaged(r control.Result, damaged []control.Ref) control.Result {
	if len(damaged) == 0 || r.Verdict == control.Violated {
		return r
	}
	r.Verdict = control.NeedsHuman
	question := fmt.Sprintf("Rows in the database that contradict the ledger, and were left out of what was judged here: %d (3.7.7 names them). What do they say once they are restored from the ledger?", len(damaged))
	if r.Question != "" {
		question = r.Question + " " + question
	}
	r.Question = question
	return r
}

// frameworkOf finds the catalogue of a framework, and the evaluator of each of its controls.
func frameworkOf(name string) (*control.Catalogue, []control.Evaluator, error) {
	catalogue, err := control.Load(name)
	var unknown *control.UnknownFrameworkError
	if errors.As(err, &unknown) {
		return nil, nil, &custodian.InputError{Field: "framework", Problem: fmt.Sprintf("%q is unknown", clip(name)), Allowed: strings.Join(unknown.Known, ", ")}
	}
	if err != nil {
		return nil, nil, err
	}
	evaluators := make([]control.Evaluator, len(catalogue.Controls))
	for i, c := range catalogue.Controls {
		if evaluators[i], err = judge.For(c); err != nil {
			return nil, nil, fmt.Errorf("catalogue %s: %w", name, err)
		}
	}
	return catalogue, evaluators, nil
}

// Check finds what is wrong with a request for a report or a register before anything is done. A zero to stands for now.
func Check(framework, register string, from, to, now time.Time) error {
	if to.IsZero() {
		to = now
	}
	if register != "" && !slices.Contains(Registers(), register) {
		return &custodian.InputError{Field: "register", Problem: fmt.Sprintf("%q is unknown", clip(register)), Allowed: strings.Join(Registers(), ", ")}
	}
	if register == "" {
		if _, _, err := frameworkOf(framework); err != nil {
			return err
		}
	}
	return checkPeriod(from, to, now)
}

func checkPeriod(from, to, now time.Time) error {
	const allowed = "a time in RFC 3339, e.g. 2026-01-01T00:00:00Z"
	switch {
	case from.IsZero():
		return &custodian.InputError{Field: "from", Problem: "missing", Allowed: allowed}
	case to.IsZero():
		return &custodian.InputError{Field: "to", Problem: "missing", Allowed: allowed}
	case from.After(now):
		return &custodian.InputError{Field: "from", Problem: "lies in the future", Allowed: "a time not after " + now.UTC().Format(time.RFC3339)}
	case to.After(now):
		return &custodian.InputError{Field: "to", Problem: "lies in the future", Allowed: "a time not after " + now.UTC().Format(time.RFC3339)}
	case to.Equal(from):
		return &custodian.InputError{Field: "to", Problem: "the period is empty", Allowed: "a time after from"}
	case to.Before(from):
		return &custodian.InputError{Field: "to", Problem: "the period is reversed", Allowed: "a time after from"}
	}
	return nil
}

// clip bounds text from outside that is repeated in an error.
func clip(s string) string {
	const most = 64
	if len(s) > most {
		s = s[:most] + "…"
	}
	return strings.ToValidUTF8(s, "?")
}
