package boot

import (
	"context"
	"fmt"
	"io"

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
	source, err := reports.FromStore(ctx, r.store, r.logKey.VerifierKey)
	if err != nil {
		return fmt.Errorf("opening the evidence: %w", err)
	}
	now := r.clock.Now()
	if req.To.IsZero() {
		req.To = now
	}
	report, err := reports.Generate(ctx, source, reports.Request{Framework: req.Framework, From: req.From, To: req.To}, now)
	if err != nil {
		return err
	}
	if err := r.recordReport(ctx, report, format); err != nil {
		return err
	}
	switch format {
	case httpapi.FormatHTML:
		return render.HTML(w, report)
	case httpapi.FormatBundle:
		return bundle.Build(ctx, w, source, report, bundle.Identity{Node: r.cfg.Node.ID, Key: r.node.pinned, Signer: r.node.signer})
	default:
		return render.JSON(w, report)
	}
}

// recordReport records that evidence was taken out, before it is given.
func (r reporter) recordReport(ctx context.Context, report *reports.Report, format string) error {
	_, err := r.store.Control(ctx, func(tx *store.Tx) error {
		return tx.Append(ledger.Entry{Type: "report.generate", Actor: identity.Principal{Kind: identity.Node, ID: r.cfg.Node.ID},
			Target: ledger.Target{Type: "report", ID: report.Framework}, Outcome: ledger.Done,
			Policy: r.door.Mark(),
			Detail: custodian.Detail(map[string]any{"format": format, "from": report.From, "to": report.To,
				"checkpoint_size": report.Checkpoint.Size, "checkpoint_root": report.Checkpoint.Root})})
	})
	if err != nil {
		return fmt.Errorf("recording the report: %w", err)
	}
	return nil
}
