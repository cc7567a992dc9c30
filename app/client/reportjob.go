package client

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"time"

	"conclave/app/api"
)

// How a report that is made in the background is waited for and fetched.
const (
	reportPoll = 500 * time.Millisecond
	// reportPatience is how long a service may not answer, or break off what it sends, before a report is given up: what
	// it was asked for outlasts its restart (ours).
	reportPatience = 5 * time.Minute
	reportResume   = time.Second
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

// AwaitReport waits for a report that was asked for, on whichever replica, tells how far it is, and writes it to a file.
// It outlasts a restart of the service and the loss of a replica. A download that breaks goes on where it stopped, and what
// was written is held against the digest that the service gave.
func (c *Client) AwaitReport(ctx context.Context, job *api.ReportJob, f *os.File, progress func(api.ReportJob)) (err error) {
	tell := func(j api.ReportJob) {
		if progress != nil {
			progress(j)
		}
	}
	for job.State == "running" {
		tell(*job)
		if err := sleep(ctx, reportPoll); err != nil {
			return err
		}
		last := *job
		err := c.patiently(ctx, func() (_ bool, err error) {
			job, err = c.ReportJob(ctx, last.ID)
			if err != nil {
				last.Stage = "is asked for again: the service does not answer"
				tell(last)
			}
			return err == nil, err
		})
		if err != nil {
			return err
		}
	}
	if job.State != "done" {
		return fmt.Errorf("%w: %s", ErrReportFailed, job.Error)
	}
	return c.fetchReport(ctx, job, f)
}

// patiently repeats what fails for want of an answer until it succeeds, is refused for good, or nothing has come for too
// long; step says whether something came.
func (c *Client) patiently(ctx context.Context, step func() (came bool, err error)) error {
	since := c.clock.Elapsed()
	for {
		came, err := step()
		var refused *Problem
		var local *fs.PathError // the file can not be written
		if err == nil || errors.As(err, &refused) && !refused.Retryable || errors.As(err, &local) || ctx.Err() != nil {
			return err
		}
		if now := c.clock.Elapsed(); came {
			since = now
		} else if now-since > reportPatience {
			return err
		}
		if err := sleep(ctx, reportResume); err != nil {
			return err
		}
	}
}

// fetchReport downloads a finished report, resuming where a connection broke.
func (c *Client) fetchReport(ctx context.Context, job *api.ReportJob, f *os.File) error {
	at := int64(0)
	err := c.patiently(ctx, func() (bool, error) {
		before := at
		if err := c.fetchFrom(ctx, job, &at, f); err != nil {
			return at > before, fmt.Errorf("receiving report: %d of %d bytes: %w", at, job.Bytes, err)
		}
		return true, nil
	})
	if err != nil {
		return err
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
		if err == nil && *at < job.Bytes {
			err = io.ErrUnexpectedEOF
		}
		return err
	})
}
