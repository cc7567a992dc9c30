package boot

import (
	"context"
	"fmt"
	"io"
	"time"

	"conclave/app/api"
	"conclave/app/httpapi"
	"conclave/custodian"
	"conclave/custodian/identity"
	"conclave/custodian/ledger"
	"conclave/custodian/store"
	"conclave/reports"
	"conclave/reports/bundle"
	"conclave/reports/render"
)

// reporter makes reports from the newest checkpoint and signs bundles with the node key.
type reporter struct{ *service }

// Report implements httpapi.Reporter. That somebody asked was recorded just before (report.create), so the newest
// checkpoint, as of which state is judged, is of now even where nothing else happened for days.
func (r reporter) Report(ctx context.Context, req api.ReportRequest, format string, w io.Writer) error {
	_, err := r.make(ctx, req, format, nil, w)
	return err
}

// make is Report, with word of how far it is. It returns the checkpoint that the report is of.
func (r reporter) make(ctx context.Context, req api.ReportRequest, format string, progress reports.Progress, w io.Writer) (at reports.Checkpoint, err error) {
	// A long period is read from daily counts: they are brought up to the ledger first.
	if err := r.pass.CatchUp(ctx); err != nil {
		return at, fmt.Errorf("counting usage: %w", err)
	}
	source, err := reports.FromStore(ctx, r.store)
	if err != nil {
		return at, fmt.Errorf("opening the evidence: %w", err)
	}
	now := r.clock.Now()
	if req.To.IsZero() {
		req.To = now
	}
	if req.Register != "" {
		return source.Checkpoint(), r.register(ctx, source, req, format, now, progress, w)
	}
	report, err := reports.Generate(ctx, source, reports.Request{Framework: req.Framework, From: req.From, To: req.To, Progress: progress}, now)
	if err != nil {
		return at, err
	}
	if err := r.recordReport(ctx, report.Framework, format, report.From, report.To, report.Checkpoint); err != nil {
		return at, err
	}
	return report.Checkpoint, r.write(ctx, source, report, format, w)
}

// write writes a report in a format.
func (r reporter) write(ctx context.Context, source reports.Source, report *reports.Report, format string, w io.Writer) error {
	if format == httpapi.FormatBundle {
		return bundle.Build(ctx, w, source, report, bundle.Identity{Node: r.cfg.Node.ID, Key: r.node.pinned, Signer: r.node.signer})
	}
	return forms[*reports.Report]{render.HTML, render.PDF, render.XLSX, render.CSV, render.JSON}.write(w, report, format)
}

// forms write one kind of document, in each format.
type forms[T any] struct{ html, pdf, xlsx, csv, json func(io.Writer, T) error }

func (f forms[T]) write(w io.Writer, document T, format string) error {
	switch format {
	case httpapi.FormatHTML:
		return f.html(w, document)
	case httpapi.FormatPDF:
		return f.pdf(w, document)
	case httpapi.FormatXLSX:
		return f.xlsx(w, document)
	case httpapi.FormatCSV:
		return f.csv(w, document)
	default:
		return f.json(w, document)
	}
}

// register makes a list that judges nothing.
func (r reporter) register(ctx context.Context, source reports.Source, req api.ReportRequest, format string, now time.Time, progress reports.Progress, w io.Writer) error {
	list, err := reports.MakeRegister(ctx, source, req.Register, req.From, req.To, now, progress)
	if err != nil {
		return err
	}
	if err := r.recordReport(ctx, list.Register, format, list.From, list.To, list.Checkpoint); err != nil {
		return err
	}
	return forms[*reports.Register]{render.RegisterHTML, render.RegisterPDF, render.RegisterXLSX, render.RegisterCSV, render.RegisterJSON}.write(w, list, format)
}

// recordReport records that evidence was taken out, before it is given.
func (r reporter) recordReport(ctx context.Context, what, format string, from, to time.Time, at reports.Checkpoint) error {
	_, err := r.store.Control(ctx, func(tx *store.Tx) error {
		return tx.Append(ledger.Entry{Type: "report.generate", Actor: identity.Principal{Kind: identity.Node, ID: r.cfg.Node.ID},
			Target: ledger.Target{Type: "report", ID: what}, Outcome: ledger.Done,
			Policy: r.door.Mark(),
			Detail: custodian.Detail(map[string]any{"format": format, "from": from, "to": to,
				"checkpoint_size": at.Size, "checkpoint_root": at.Root})})
	})
	if err != nil {
		return fmt.Errorf("recording the report: %w", err)
	}
	return nil
}
