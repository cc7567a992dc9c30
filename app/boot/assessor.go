package boot

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/go-json-experiment/json"

	"conclave/app/api"
	"conclave/app/httpapi"
	"conclave/ceremony"
	"conclave/custodian"
	"conclave/custodian/identity"
	"conclave/custodian/ledger"
	"conclave/custodian/store"
	"conclave/reports"
	"conclave/reports/control"
	"conclave/reports/render"
	"conclave/reports/workspace"
)

// controlTitle gives the title of a control of the catalogues that reports are made by.
func controlTitle(name string) (string, error) {
	c, err := control.Find(name)
	if err != nil {
		return "", err
	}
	return c.Title, nil
}

// assessor answers the auditor's workspace from the newest checkpoint.
type assessor struct{ *service }

// Assess implements httpapi.Assessor.
func (a assessor) Assess(ctx context.Context, what string, in api.AuditRequest, format string, w io.Writer) error {
	source, err := reports.FromStore(ctx, a.store)
	if err != nil {
		return fmt.Errorf("opening the evidence: %w", err)
	}
	answer, err := a.answer(ctx, source, what, in)
	if err != nil {
		return err
	}
	if err := a.record(ctx, what, in, source.Checkpoint(), answer); err != nil {
		return err
	}
	if d, ok := answer.(*workspace.Dossier); ok && format == httpapi.FormatHTML {
		return render.Dossier(w, d)
	}
	if err := json.MarshalWrite(w, answer, json.Deterministic(true)); err != nil {
		return fmt.Errorf("writing the answer: %w", err)
	}
	return nil
}

func (a assessor) answer(ctx context.Context, source reports.Source, what string, in api.AuditRequest) (any, error) {
	now := a.clock.Now()
	if what == httpapi.AuditReadiness {
		if in.On.IsZero() {
			in.On = now
		}
		if err := a.pass.CatchUp(ctx); err != nil {
			return nil, fmt.Errorf("counting usage: %w", err)
		}
		inactive, err := a.engine.InactiveBy(ctx, in.On)
		if err != nil {
			return nil, fmt.Errorf("looking ahead at people: %w", err)
		}
		return reports.Ready(ctx, source, in.Framework, inactive, in.On, now)
	}
	desk, err := workspace.New(source)
	if err != nil {
		return nil, err
	}
	period := workspace.Period{From: in.From, To: in.To}
	draw := workspace.Draw{Kind: in.Kind, Basis: workspace.Basis(in.Basis), Period: period, Seed: in.Seed, Want: in.Want}
	if draw.Basis == "" {
		draw.Basis = workspace.Existing
	}
	beside := workspace.Beside{Uses: a.uses, UsesTo: a.store.UsageCursor, Transcript: a.transcript}
	switch what {
	case httpapi.AuditPopulations:
		return desk.Populations(ctx, period, now)
	case httpapi.AuditMembers:
		return desk.Members(ctx, draw, in.After, now)
	case httpapi.AuditSample:
		return desk.Sample(ctx, draw, now)
	case httpapi.AuditDossier:
		return desk.Dossier(ctx, in.Kind, in.ID, beside, now)
	case httpapi.AuditOpen:
		return desk.Open(ctx, in.Number, beside, now)
	}
	return nil, &custodian.InputError{Field: "what", Problem: "unknown", Allowed: "populations, members, sample, dossier, open, readiness"}
}

// record records what an assessor took out, before it is given: for a sample, all that it takes to draw it again.
func (a assessor) record(ctx context.Context, what string, in api.AuditRequest, at reports.Checkpoint, answer any) error {
	detail := map[string]any{"checkpoint_size": at.Size, "checkpoint_root": at.Root}
	target := ledger.Target{Type: "report", ID: what}
	switch x := answer.(type) {
	case *reports.Readiness:
		detail["framework"], detail["on"] = x.Framework, x.On
	case *workspace.Sample:
		detail["kind"], detail["basis"], detail["seed"], detail["want"] = x.Kind, string(x.Basis), x.Seed, x.Want
		detail["population"], detail["population_digest"] = x.Population, x.Digest
	case *workspace.Members:
		detail["kind"], detail["basis"], detail["after"] = x.Kind, string(x.Basis), in.After
	case *workspace.Dossier:
		detail["number"] = x.Number
	case *workspace.Opened:
		detail["number"] = in.Number
	}
	_, err := a.store.Control(ctx, func(tx *store.Tx) error {
		return tx.Append(ledger.Entry{Type: "audit." + what, Actor: identity.Principal{Kind: identity.Node, ID: a.cfg.Node.ID}, Target: target, Outcome: ledger.Done,
			Policy: a.door.Mark(), Detail: custodian.Detail(detail)})
	})
	if err != nil {
		return fmt.Errorf("recording what was taken out: %w", err)
	}
	return nil
}

// uses counts what was done with a version, ever.
func (a assessor) uses(ctx context.Context, key string, version uint32) ([]workspace.Use, error) {
	rows, err := a.store.Usage(ctx, key, version, time.Time{})
	if err != nil {
		return nil, err
	}
	out := make([]workspace.Use, len(rows))
	for i, r := range rows {
		out[i] = workspace.Use{Version: version, Actor: r.Actor, Operation: r.Operation, Outcome: r.Outcome, Uses: r.Uses,
			FirstAt: time.UnixMicro(r.FirstAt).UTC(), LastAt: time.UnixMicro(r.LastAt).UTC(), FirstSeq: r.FirstSeq, LastSeq: r.LastSeq}
	}
	return out, nil
}

// transcript is the signed document of a ceremony that has ended.
func (a assessor) transcript(ctx context.Context, id string) ([]byte, error) {
	c, err := a.engine.Get(id)
	if errors.Is(err, ceremony.ErrNotFound) || err == nil && !c.State.Ended() {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return a.engine.Transcript(ctx, id)
}
