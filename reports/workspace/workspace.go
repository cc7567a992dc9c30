// Package workspace is what an assessor works with beside the report: how many there are of everything (populations),
// samples that anybody draws the same again, dossiers that tell the whole life of one key, ceremony or person with a
// proof for every line, and numbers by which all of it is cited. It reads; it never writes.
//
// PCI DSS 4.0.1, section 6 (sampling): the assessor chooses, independently, from a complete population, and documents
// the rationale. What is needed for that is a population whose completeness is shown and a choice that can be repeated.
package workspace

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json"

	"conclave/custodian"
	"conclave/custodian/ledger"
	"conclave/reports"
	"conclave/reports/control"
)

// kindCeremony is the kind of the rows that hold ceremonies. They belong to a sibling package.
const kindCeremony = "ceremony"

// population is one kind of thing that is counted and drawn from.
type population struct{ kind, what string }

// populations are in the order in which they are shown. The kinds are those of the authority rows, so that an item's
// history is in the ledger under the same name.
func populations() []population {
	return []population{
		{string(custodian.KindKey), "keys"},
		{string(custodian.KindKeyVersion), "versions of keys, each with material of its own"},
		{string(custodian.KindKeystore), "keystores"},
		{string(custodian.KindPerson), "people in the register, those who left included"},
		{string(custodian.KindShareSet), "share sets"},
		{string(custodian.KindShare), "shares, of all epochs"},
		{string(custodian.KindShareForm), "physical forms of shares"},
		{string(custodian.KindCustody), "entries of the custody log"},
		{kindCeremony, "ceremonies and direct operations"},
		{string(custodian.KindApplication), "applications"},
		{string(custodian.KindGrant), "grants: which application may use which key"},
		{string(custodian.KindToken), "tokens of applications and auditors"},
		{string(custodian.KindAsset), "registered data assets"},
		{string(custodian.KindHold), "legal holds"},
		{string(custodian.KindCampaign), "campaigns to protect data anew"},
		{string(custodian.KindDuty), "duties that departures and losses opened"},
		{string(custodian.KindReview), "reviews of what one person did alone"},
		{string(custodian.KindAttestation), "signed statements about controls"},
		{string(custodian.KindLogDay), "days of the log, with their reviews"},
		{string(custodian.KindSegment), "segments of the ledger that were archived"},
		{string(custodian.KindFinding), "findings"},
		{string(custodian.KindException), "accepted risks"},
		{string(custodian.KindBreakGlass), "emergency accesses"},
		{string(custodian.KindDrill), "drills"},
		{string(custodian.KindBackup), "backups"},
		{string(custodian.KindNode), "nodes of the service"},
	}
}

// Kinds lists the populations' names.
func Kinds() []string {
	var out []string
	for _, p := range populations() {
		out = append(out, p.kind)
	}
	return out
}

func checkKind(kind string) error {
	if !slices.Contains(Kinds(), kind) {
		return &custodian.InputError{Field: "kind", Problem: fmt.Sprintf("%q is unknown", clip(kind)), Allowed: strings.Join(Kinds(), ", ")}
	}
	return nil
}

// Workspace reads one checkpoint.
type Workspace struct {
	src      reports.Source
	instance control.Instance
}

// New opens the workspace over a source.
func New(src reports.Source) (*Workspace, error) {
	w := &Workspace{src: src}
	for _, body := range src.Rows(string(custodian.KindInstance)) {
		if err := json.Unmarshal(body, &w.instance); err != nil {
			return nil, fmt.Errorf("reading instance: %w", err)
		}
		return w, nil
	}
	return nil, fmt.Errorf("reading instance: %w", reports.ErrNoInstance)
}

// Period is From ≤ entry < To; To is zero for "up to the checkpoint".
type Period struct{ From, To time.Time }

func (p Period) holds(at time.Time) bool {
	return !at.Before(p.From) && (p.To.IsZero() || at.Before(p.To))
}

func (p Period) check(now time.Time) error {
	if p.From.After(now) {
		return &custodian.InputError{Field: "from", Problem: "lies in the future", Allowed: "a time not after " + now.UTC().Format(time.RFC3339)}
	}
	if p.To.After(now) {
		return &custodian.InputError{Field: "to", Problem: "lies in the future", Allowed: "a time not after " + now.UTC().Format(time.RFC3339)}
	}
	if !p.To.IsZero() && !p.To.After(p.From) {
		return &custodian.InputError{Field: "to", Problem: "the period is empty or reversed", Allowed: "a time after from"}
	}
	return nil
}

// changes walks the rows that control-plane entries of the period changed.
func (w *Workspace) changes(ctx context.Context, p Period, fn func(e *ledger.Entry, c ledger.RowChange)) error {
	return w.src.ControlEntries(ctx, w.src.Checkpoint().Size, func(e *ledger.Entry, _ []byte) error {
		if !p.holds(e.At) {
			return nil
		}
		for _, c := range e.Rows {
			fn(e, c)
		}
		return ctx.Err()
	})
}

// clip bounds text from outside that is repeated in an error.
func clip(s string) string {
	const most = 64
	if len(s) > most {
		s = s[:most] + "…"
	}
	return strings.ToValidUTF8(s, "?")
}
