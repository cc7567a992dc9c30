package boot

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"sync"
	"time"

	"conclave/app/api"
	"conclave/app/httpapi"
	"conclave/custodian"
	"conclave/custodian/clock"
	"conclave/custodian/identity"
	"conclave/reports"
)

// Bounds of report jobs (ours). A report is made again from the ledger at any time, so that none is kept for long.
const (
	jobsAtOnce = 1
	jobsKept   = 16
	jobsEach   = 4 // of one asker
	jobLife    = time.Hour
)

// reportJobs makes reports in the background, into files without a name: they take no memory and go with the process.
type reportJobs struct {
	make  func(ctx context.Context, req api.ReportRequest, format string, progress func(read, of uint64), w io.Writer) error
	clock clock.Clock
	log   *slog.Logger

	ctx    context.Context
	cancel context.CancelFunc
	group  sync.WaitGroup
	turn   chan struct{}

	mu     sync.Mutex
	jobs   map[string]*reportJob
	closed bool
}

type reportJob struct {
	api.ReportJob
	owner string
	file  *os.File // nil until it is done
	size  int64
	at    time.Time

	readers   int
	forgotten bool
}

func newReportJobs(r reporter, log *slog.Logger) *reportJobs {
	ctx, cancel := context.WithCancel(context.Background())
	return &reportJobs{make: func(ctx context.Context, req api.ReportRequest, format string, progress func(read, of uint64), w io.Writer) error {
		return r.make(ctx, req, format, progress, w)
	}, clock: r.clock, log: log, ctx: ctx, cancel: cancel, turn: make(chan struct{}, jobsAtOnce), jobs: map[string]*reportJob{}}
}

// Close ends what runs, waits for it, and forgets all.
func (j *reportJobs) Close() {
	j.mu.Lock()
	j.closed = true
	j.mu.Unlock()
	j.cancel()
	j.group.Wait()
	j.mu.Lock()
	defer j.mu.Unlock()
	for id := range j.jobs {
		j.forget(id)
	}
}

// forget drops a job; the lock is held. A download under way goes on.
func (j *reportJobs) forget(id string) {
	job := j.jobs[id]
	job.forgotten = true
	j.closeUnread(job)
	delete(j.jobs, id)
}

// purge forgets what is over its time, and, where there are too many, the oldest that are done; the lock is held.
func (j *reportJobs) purge(now time.Time) {
	for id, job := range j.jobs {
		if job.State != "running" && now.Sub(job.at) > jobLife {
			j.forget(id)
		}
	}
	for len(j.jobs) >= jobsKept {
		oldest := ""
		for id, job := range j.jobs {
			if job.State != "running" && (oldest == "" || job.at.Before(j.jobs[oldest].at)) {
				oldest = id
			}
		}
		if oldest == "" {
			return
		}
		j.forget(oldest)
	}
}

// Start implements httpapi.ReportJobs.
func (j *reportJobs) Start(who identity.Principal, req api.ReportRequest, format string) (api.ReportJob, error) {
	now := j.clock.Now()
	if err := reports.Check(req.Framework, req.Register, req.From, req.To, now); err != nil {
		return api.ReportJob{}, err
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.purge(now)
	mine := 0
	for _, job := range j.jobs {
		if job.owner == who.String() && job.State == "running" {
			mine++
		}
	}
	if j.closed || mine >= jobsEach || len(j.jobs) >= jobsKept {
		return api.ReportJob{}, httpapi.ErrReportsBusy
	}
	job := &reportJob{owner: who.String(), at: now, ReportJob: api.ReportJob{ID: "r-" + strings.ToLower(rand.Text()), State: "running", Format: format, Stage: "waits for its turn"}}
	j.jobs[job.ID] = job
	j.group.Go(func() { j.run(job, req, format) })
	return job.ReportJob, nil
}

// run makes one report when its turn comes.
func (j *reportJobs) run(job *reportJob, req api.ReportRequest, format string) {
	select {
	case j.turn <- struct{}{}:
		defer func() { <-j.turn }()
	case <-j.ctx.Done():
		return
	}
	j.update(job, func() { job.Stage = "reads the ledger" })
	file, size, digest, err := j.fill(job, req, format)
	j.update(job, func() {
		job.at, job.Stage = j.clock.Now(), ""
		job.ExpiresAt = job.at.Add(jobLife)
		if err != nil {
			job.State, job.Error = "failed", publicError(err)
			j.log.Warn("report failed", "job", job.ID, "error", err)
			return
		}
		job.State, job.file, job.size, job.Bytes, job.SHA256 = "done", file, size, size, digest
	})
}

// publicError is what an asker is told: what they can mend, and otherwise that it failed; the log has the rest.
func publicError(err error) string {
	var input *custodian.InputError
	if errors.As(err, &input) {
		return input.Error()
	}
	return "the report could not be made; the log of the service says why"
}

func (j *reportJobs) update(job *reportJob, change func()) {
	j.mu.Lock()
	defer j.mu.Unlock()
	change()
}

func (j *reportJobs) fill(job *reportJob, req api.ReportRequest, format string) (f *os.File, size int64, digest string, err error) {
	if f, err = os.CreateTemp("", "conclave-report-*"); err != nil {
		return nil, 0, "", fmt.Errorf("making room for a report: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, f.Close())
		}
	}()
	if err := os.Remove(f.Name()); err != nil {
		return nil, 0, "", fmt.Errorf("making room for a report: %w", err)
	}
	sum := sha256.New()
	progress := func(read, of uint64) { j.update(job, func() { job.Read, job.Of = read, of }) }
	if err := j.make(j.ctx, req, format, progress, io.MultiWriter(f, sum)); err != nil {
		return nil, 0, "", err
	}
	if size, err = f.Seek(0, io.SeekCurrent); err != nil {
		return nil, 0, "", fmt.Errorf("reading the report back: %w", err)
	}
	return f, size, hex.EncodeToString(sum.Sum(nil)), nil
}

// theirs finds a job of somebody; the lock is held.
func (j *reportJobs) theirs(who identity.Principal, id string) (*reportJob, error) {
	j.purge(j.clock.Now())
	job := j.jobs[id]
	if job == nil || job.owner != who.String() {
		return nil, httpapi.ErrNoReport
	}
	return job, nil
}

// Get implements httpapi.ReportJobs.
func (j *reportJobs) Get(who identity.Principal, id string) (api.ReportJob, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	job, err := j.theirs(who, id)
	if err != nil {
		return api.ReportJob{}, err
	}
	return job.ReportJob, nil
}

// download is one reading of a finished report.
type download struct {
	*io.SectionReader
	once sync.Once
	done func()
}

// Close ends the reading.
func (d *download) Close() error {
	d.once.Do(d.done)
	return nil
}

// release ends a reading; the last one of a job that is forgotten closes its file.
func (j *reportJobs) release(job *reportJob) {
	j.mu.Lock()
	defer j.mu.Unlock()
	job.readers--
	j.closeUnread(job)
}

// closeUnread closes the file of a job that is forgotten and that nobody reads any more; the lock is held.
func (j *reportJobs) closeUnread(job *reportJob) {
	if !job.forgotten || job.readers > 0 || job.file == nil {
		return
	}
	if err := job.file.Close(); err != nil {
		j.log.Debug("closing a report", "error", err)
	}
	job.file = nil
}

// Content implements httpapi.ReportJobs.
func (j *reportJobs) Content(who identity.Principal, id string) (httpapi.ReportContent, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	job, err := j.theirs(who, id)
	if err != nil {
		return httpapi.ReportContent{}, err
	}
	if job.file == nil {
		return httpapi.ReportContent{}, httpapi.ErrNoReport
	}
	job.readers++
	return httpapi.ReportContent{ReadSeekCloser: &download{SectionReader: io.NewSectionReader(job.file, 0, job.size), done: func() { j.release(job) }}, Type: httpapi.ContentType(job.Format), ETag: `"` + job.SHA256 + `"`, At: job.at}, nil
}
