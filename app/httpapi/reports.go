package httpapi

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"

	"conclave/app/api"
	"conclave/custodian"
)

// maxReports are made at once: each reads the ledger of its period, and the data plane goes first (ours).
const maxReports = 2

// reportRequest reads and judges what is asked for.
func (s *server) reportRequest(x *exchange) (in api.ReportRequest, format, contentType string, err error) {
	q, err := x.query("format")
	if err != nil {
		return in, "", "", err
	}
	if format, contentType, err = reportFormat(q.Get("format")); err != nil {
		return in, "", "", err
	}
	if err := x.decode(&in); err != nil {
		return in, "", "", err
	}
	if (in.Framework == "") == (in.Register == "") {
		return in, "", "", &custodian.InputError{Field: "framework", Problem: "neither or both of framework and register are given", Allowed: "one of them"}
	}
	if in.Register != "" && format == FormatBundle {
		return in, "", "", &custodian.InputError{Field: "query.format", Problem: "a register has no bundle", Allowed: "json, html, pdf, xlsx, csv"}
	}
	return in, format, contentType, x.authorise(createReport, "report", cmp.Or(in.Framework, in.Register))
}

func (s *server) report(x *exchange) error {
	if s.cfg.Reports == nil {
		return errNoRoute
	}
	in, format, contentType, err := s.reportRequest(x)
	if err != nil {
		return err
	}
	select {
	case s.reporting <- struct{}{}:
		defer func() { <-s.reporting }()
	default:
		return errReports
	}
	return x.spooled(contentType, func(w io.Writer) error { return s.cfg.Reports.Report(x.ctx(), in, format, w) })
}

func (s *server) startReport(x *exchange) error {
	if s.cfg.ReportJobs == nil {
		return errNoRoute
	}
	in, format, _, err := s.reportRequest(x)
	if err != nil {
		return err
	}
	job, err := s.cfg.ReportJobs.Start(x.ctx(), x.who, in, format)
	if err != nil {
		return err
	}
	return x.json(http.StatusAccepted, job)
}

func (s *server) reportJob(x *exchange) error {
	if s.cfg.ReportJobs == nil {
		return errNoRoute
	}
	if _, err := x.query(); err != nil {
		return err
	}
	job, err := s.cfg.ReportJobs.Get(x.ctx(), x.who, x.c.Param("id"))
	if err != nil {
		return err
	}
	return x.json(http.StatusOK, job)
}

// reportContent answers with a finished report, or with the part of it that is asked for (RFC 9110, 14.2). That its maker
// may take evidence out was judged when it was asked for, and is judged again.
func (s *server) reportContent(x *exchange) error {
	if s.cfg.ReportJobs == nil {
		return errNoRoute
	}
	if _, err := x.query(); err != nil {
		return err
	}
	if err := x.authorise(createReport, "report", x.c.Param("id")); err != nil {
		return err
	}
	content, err := s.cfg.ReportJobs.Content(x.ctx(), x.who, x.c.Param("id"))
	if err != nil {
		return err
	}
	h := x.c.Writer.Header()
	h["Content-Type"] = []string{content.Type}
	h["Etag"] = []string{content.ETag}
	http.ServeContent(x.c.Writer, x.c.Request, "", content.At, content)
	return nil
}

// ContentType is the media type of a format.
func ContentType(format string) string {
	_, contentType, err := reportFormat(format)
	if err != nil {
		return typeBytes
	}
	return contentType
}

// reportFormat reads the format asked for, JSON where none is.
func reportFormat(name string) (format, contentType string, err error) {
	switch name {
	case "", FormatJSON:
		return FormatJSON, typeJSON, nil
	case FormatHTML:
		return name, "text/html; charset=utf-8", nil
	case FormatPDF:
		return name, "application/pdf", nil
	case FormatXLSX:
		return name, "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet", nil
	case FormatBundle, FormatCSV:
		return name, "application/zip", nil
	}
	return "", "", &custodian.InputError{Field: "query.format", Problem: "unknown", Allowed: "json, html, pdf, xlsx, csv, bundle"}
}

// spooled answers with what fill writes, whole or not at all: it goes to a nameless file first, so that a
// report of any size takes no memory and a failure halfway is still answered as one.
func (x *exchange) spooled(contentType string, fill func(io.Writer) error) (err error) {
	f, err := os.CreateTemp("", "conclave-report-*")
	if err != nil {
		return fmt.Errorf("making room for a report: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if err := os.Remove(f.Name()); err != nil {
		return fmt.Errorf("making room for a report: %w", err)
	}
	if err := fill(f); err != nil {
		return err
	}
	size, err := f.Seek(0, io.SeekCurrent)
	if err != nil {
		return fmt.Errorf("reading the report back: %w", err)
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return fmt.Errorf("reading the report back: %w", err)
	}
	h := x.c.Writer.Header()
	h["Content-Type"] = []string{contentType}
	h["Content-Length"] = []string{strconv.FormatInt(size, 10)}
	x.c.Writer.WriteHeader(http.StatusOK)
	if _, err := io.Copy(x.c.Writer, f); err != nil {
		x.s.log.Debug("report could not be sent", "request", x.id, "error", err)
	}
	return nil
}
