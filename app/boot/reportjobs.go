package boot

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"time"

	"conclave/app/api"
	"conclave/app/httpapi"
	"conclave/custodian/clock"
	"conclave/custodian/identity"
	"conclave/custodian/store"
	"conclave/reports"
)

// Bounds of report jobs (ours). A report is made again from the ledger at any time, so that none is kept for long.
const (
	reportsEach  = 4 // of one asker
	reportsAll   = 64
	reportBytes  = 512 << 20 // of one
	reportsBytes = 1 << 30   // of all that are kept
	reportWait   = 6 * time.Hour
	reportLife   = time.Hour
	// reportTries is how often a report is begun whose maker died: one that kills its makers must not do so for ever.
	reportTries = 3

	reportsTidy  = time.Minute     // looks for what is over
	reportsEvery = time.Second     // looks for what other replicas were asked for, or left behind
	reportBeat   = 2 * time.Second // a sign of life while one is made, and word of how far it is
	reportsLease = "reports"
)

func reportBounds() store.ReportBounds {
	return store.ReportBounds{Each: reportsEach, All: reportsAll, Bytes: reportsBytes, Wait: reportWait, Keep: reportLife}
}

// reportJobs makes reports in the background. What was asked for, how it stands and what became of it is in the database:
// every replica answers, and what one left behind another makes. One replica at a time makes them, one after the other.
type reportJobs struct {
	make  func(ctx context.Context, req api.ReportRequest, format string, progress reports.Progress, w io.Writer) (reports.Checkpoint, error)
	store *store.Store
	node  string
	clock clock.Clock
	log   *slog.Logger
	asked chan struct{} // a report was asked for here

	tidyAt time.Duration // when to look for what is over, by the monotonic clock; the worker's own
}

func newReportJobs(r reporter) *reportJobs {
	return &reportJobs{make: r.make, store: r.store, node: r.cfg.Node.ID, clock: r.clock, log: r.log, asked: make(chan struct{}, 1)}
}

// Start implements httpapi.ReportJobs.
func (j *reportJobs) Start(ctx context.Context, who identity.Principal, req api.ReportRequest, format string) (api.ReportJob, error) {
	now := j.clock.Now()
	if err := reports.Check(req.Framework, req.Register, req.From, req.To, now); err != nil {
		return api.ReportJob{}, err
	}
	if req.To.IsZero() {
		req.To = now // of the asking, whenever it is made
	}
	raw, err := json.Marshal(req)
	if err != nil {
		return api.ReportJob{}, fmt.Errorf("encoding a report job: %w", err)
	}
	job, err := j.store.AddReport(ctx, who.String(), format, raw, reportBounds())
	if errors.Is(err, store.ErrReportsFull) {
		return api.ReportJob{}, httpapi.ErrReportsBusy
	}
	if err != nil {
		return api.ReportJob{}, err
	}
	select {
	case j.asked <- struct{}{}:
	default: // it was told already
	}
	return shownJob(job), nil
}

func shownJob(j *store.ReportJob) api.ReportJob {
	out := api.ReportJob{ID: j.ID, State: j.State, Format: j.Format, Stage: j.Stage, Read: uint64(j.ReadEntries), Of: uint64(j.OfEntries),
		Bytes: j.Bytes, SHA256: j.SHA256, Checkpoint: uint64(j.CheckpointSize), Error: j.Error}
	if j.State != store.ReportRunning {
		out.ExpiresAt = time.UnixMicro(j.ExpiresAt).UTC()
	}
	return out
}

// theirs finds a job of somebody.
func (j *reportJobs) theirs(ctx context.Context, who identity.Principal, id string) (*store.ReportJob, error) {
	job, err := j.store.Report(ctx, id)
	if errors.Is(err, store.ErrNotFound) || err == nil && job.Owner != who.String() {
		return nil, httpapi.ErrNoReport
	}
	return job, err
}

// Get implements httpapi.ReportJobs.
func (j *reportJobs) Get(ctx context.Context, who identity.Principal, id string) (api.ReportJob, error) {
	job, err := j.theirs(ctx, who, id)
	if err != nil {
		return api.ReportJob{}, err
	}
	return shownJob(job), nil
}

// Content implements httpapi.ReportJobs.
func (j *reportJobs) Content(ctx context.Context, who identity.Principal, id string) (httpapi.ReportContent, error) {
	job, err := j.theirs(ctx, who, id)
	if err != nil {
		return httpapi.ReportContent{}, err
	}
	if job.State != store.ReportDone {
		return httpapi.ReportContent{}, httpapi.ErrNoReport
	}
	content := &partReader{size: job.Bytes, part: func(idx int64) ([]byte, error) { return j.store.ReportPart(ctx, job, idx) }}
	return httpapi.ReportContent{ReadSeeker: content, Type: httpapi.ContentType(job.Format), ETag: `"` + job.SHA256 + `"`, At: time.UnixMicro(job.EndedAt)}, nil
}

// partReader reads what stands in the database in parts of store.ReportChunk bytes, one at a time.
type partReader struct {
	part     func(idx int64) ([]byte, error)
	size, at int64
	held     []byte // the part that at is in, where it was read
	idx      int64
}

// Read implements io.Reader.
func (r *partReader) Read(p []byte) (int, error) {
	if r.at >= r.size {
		return 0, io.EOF
	}
	if idx := r.at / store.ReportChunk; r.held == nil || idx != r.idx {
		held, err := r.part(idx)
		if err != nil {
			return 0, err
		}
		r.held, r.idx = held, idx
	}
	within := r.at % store.ReportChunk
	if within >= int64(len(r.held)) {
		return 0, io.ErrUnexpectedEOF
	}
	n := copy(p, r.held[within:])
	r.at += int64(n)
	return n, nil
}

// Seek implements io.Seeker.
func (r *partReader) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekCurrent:
		offset += r.at
	case io.SeekEnd:
		offset += r.size
	}
	if offset < 0 {
		return 0, fmt.Errorf("reading a report from %d: %w", offset, os.ErrInvalid)
	}
	r.at = offset
	return offset, nil
}
