package client

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"time"

	"conclave/app/api"
)

// How a report that is made in the background is waited for and fetched.
const (
	reportPoll     = 500 * time.Millisecond
	downloadTries  = 6
	downloadResume = time.Second
)

// ErrReportFailed: the service could not make the report; the text says why.
var ErrReportFailed = errors.New("the report could not be made")

// StartReport has a report or register made in the background.
func (c *Client) StartReport(ctx context.Context, req api.ReportRequest, format ReportFormat) (*api.ReportJob, error) {
	out := new(api.ReportJob)
	return out, c.do(ctx, call{method: http.MethodPost, path: "/v1/reports/jobs", query: url.Values{"format": {string(format)}}, body: req}, out)
}

// ReportJob says how a report stands.
func (c *Client) ReportJob(ctx context.Context, id string) (*api.ReportJob, error) {
	out := new(api.ReportJob)
	return out, c.do(ctx, call{method: http.MethodGet, path: "/v1/reports/jobs/" + url.PathEscape(id)}, out)
}

// MakeReport has a report made, tells how far it is, and writes it to a file. A download that breaks goes on where it
// stopped, and what was written is held against the digest that the service gave.
func (c *Client) MakeReport(ctx context.Context, req api.ReportRequest, format ReportFormat, f *os.File, progress func(api.ReportJob)) error {
	job, err := c.StartReport(ctx, req, format)
	if err != nil {
		return err
	}
	for job.State == "running" {
		if progress != nil {
			progress(*job)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(reportPoll):
		}
		if job, err = c.ReportJob(ctx, job.ID); err != nil {
			return err
		}
	}
	if job.State != "done" {
		return fmt.Errorf("%w: %s", ErrReportFailed, job.Error)
	}
	return c.fetchReport(ctx, job, f)
}

// fetchReport downloads a finished report, resuming where a connection broke.
func (c *Client) fetchReport(ctx context.Context, job *api.ReportJob, f *os.File) error {
	at := int64(0)
	var last error
	for try := 0; at < job.Bytes; try++ {
		if try >= downloadTries {
			return fmt.Errorf("receiving report: %d of %d bytes: %w", at, job.Bytes, last)
		}
		if try > 0 {
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(downloadResume):
			}
		}
		before := at
		last = c.fetchFrom(ctx, job, &at, f)
		var refused *Problem
		if errors.As(last, &refused) {
			return last
		}
		if at > before {
			try = 0
		}
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return fmt.Errorf("reading report back: %w", err)
	}
	sum := sha256.New()
	if _, err := io.Copy(sum, f); err != nil {
		return fmt.Errorf("reading report back: %w", err)
	}
	if hex.EncodeToString(sum.Sum(nil)) != job.SHA256 {
		return fmt.Errorf("receiving report: %w", errReportDigest)
	}
	return nil
}

var errReportDigest = errors.New("what arrived is not what the service made")

// fetchFrom asks for the bytes from at on, and moves at by what arrived.
func (c *Client) fetchFrom(ctx context.Context, job *api.ReportJob, at *int64, f *os.File) error {
	r := call{method: http.MethodGet, path: "/v1/reports/jobs/" + url.PathEscape(job.ID) + "/content", accept: "*/*", resume: at}
	return c.send(ctx, r, func(resp *http.Response) error {
		if *at > 0 && resp.StatusCode != http.StatusPartialContent {
			*at = 0 // all of it comes again
		}
		if _, err := f.Seek(*at, io.SeekStart); err != nil {
			return fmt.Errorf("writing report: %w", err)
		}
		n, err := io.Copy(f, io.LimitReader(resp.Body, job.Bytes-*at))
		*at += n
		if err != nil {
			return fmt.Errorf("receiving report: %w", err)
		}
		return nil
	})
}
