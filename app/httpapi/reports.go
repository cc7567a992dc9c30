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

func (s *server) report(x *exchange) error {
	if s.cfg.Reports == nil {
		return errNoRoute
	}
	q, err := x.query("format")
	if err != nil {
		return err
	}
	format, contentType, err := reportFormat(q.Get("format"))
	if err != nil {
		return err
	}
	var in api.ReportRequest
	if err := x.decode(&in); err != nil {
		return err
	}
	if (in.Framework == "") == (in.Register == "") {
		return &custodian.InputError{Field: "framework", Problem: "neither or both of framework and register are given", Allowed: "one of them"}
	}
	if in.Register != "" && format == FormatBundle {
		return &custodian.InputError{Field: "query.format", Problem: "a register has no bundle", Allowed: "json, html, pdf, xlsx, csv"}
	}
	if err := x.authorise(createReport, "report", cmp.Or(in.Framework, in.Register)); err != nil {
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
