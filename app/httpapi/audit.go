package httpapi

import (
	"context"
	"io"

	"conclave/app/api"
	"conclave/custodian"
)

// Assessor answers for the auditor's workspace.
type Assessor interface {
	// Assess writes what was asked for, AuditPopulations to AuditReadiness, in FormatJSON or, a dossier, in FormatHTML. A
	// request that cannot be met is a *custodian.InputError; what was written before an error is dropped.
	Assess(ctx context.Context, what string, in api.AuditRequest, format string, w io.Writer) error
}

// What the workspace is asked for.
const (
	AuditPopulations = "populations"
	AuditMembers     = "members"
	AuditSample      = "sample"
	AuditDossier     = "dossier"
	AuditOpen        = "open"
	AuditReadiness   = "readiness"
)

// audit answers one question of an assessor. Each is judged and recorded as a report is, since it takes evidence out.
func (s *server) audit(what string) func(x *exchange) error {
	return func(x *exchange) error {
		if s.cfg.Assessor == nil {
			return errNoRoute
		}
		q, err := x.query("format")
		if err != nil {
			return err
		}
		format, contentType := FormatJSON, typeJSON
		switch {
		case q.Get("format") == "" || q.Get("format") == FormatJSON:
		case q.Get("format") == FormatHTML && what == AuditDossier:
			format, contentType = FormatHTML, "text/html; charset=utf-8"
		default:
			return &custodian.InputError{Field: "query.format", Problem: "unknown", Allowed: "json; html for a dossier"}
		}
		var in api.AuditRequest
		if err := x.decode(&in); err != nil {
			return err
		}
		if err := x.authorise(createReport, "report", what); err != nil {
			return err
		}
		select {
		case s.reporting <- struct{}{}:
			defer func() { <-s.reporting }()
		default:
			return errReports
		}
		return x.spooled(contentType, func(w io.Writer) error { return s.cfg.Assessor.Assess(x.ctx(), what, in, format, w) })
	}
}
