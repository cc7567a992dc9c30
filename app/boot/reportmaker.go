package boot

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"sync"
	"time"

	"conclave/app/api"
	"conclave/custodian"
	"conclave/custodian/segment"
	"conclave/custodian/store"
	"conclave/reports"
)

// work makes the reports that wait, and now and then forgets what is over, if no other replica is at it.
func (j *reportJobs) work(ctx context.Context) (err error) {
	waits, err := j.store.ReportWaits(ctx)
	if err != nil {
		return err
	}
	tidy := j.clock.Elapsed() >= j.tidyAt
	if !waits && !tidy {
		return nil
	}
	ours, err := j.store.Lease(ctx, reportsLease, j.node, tickLease)
	if err != nil || !ours {
		return err
	}
	defer func() {
		err = errors.Join(err, j.last(ctx, func(ctx context.Context) error { return j.store.Release(ctx, reportsLease, j.node) }))
	}()
	if tidy {
		if err := j.tidy(ctx); err != nil {
			return err
		}
		j.tidyAt = j.clock.Elapsed() + reportsTidy
	}
	for ours && ctx.Err() == nil {
		job, err := j.store.TakeReport(ctx)
		if errors.Is(err, store.ErrNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		if ours, err = j.attempt(ctx, job); err != nil {
			return err
		}
	}
	return nil
}

// last does what must be done although the process stops, if the database answers.
func (j *reportJobs) last(ctx context.Context, do func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTimeout)
	defer cancel()
	return do(ctx)
}

// tidy deletes what nobody needs any more, giving way to whoever writes to the ledger.
func (j *reportJobs) tidy(ctx context.Context) error {
	for ctx.Err() == nil {
		pace := j.store.Pace()
		more, err := j.store.PurgeReports(ctx, reportBounds())
		if err != nil || !more {
			return err
		}
		pace.Rest(ctx, 1)
		if ours, err := j.store.Lease(ctx, reportsLease, j.node, tickLease); err != nil || !ours {
			return err
		}
	}
	return nil
}

// attempt makes one report. It says whether the lease is still this replica's.
func (j *reportJobs) attempt(ctx context.Context, job *store.ReportJob) (ours bool, err error) {
	if job.Tries > reportTries {
		return true, j.end(ctx, job, fmt.Errorf("%w %d times, and the node that made it stopped each time", errReportTries, reportTries))
	}
	making, cancel := context.WithCancelCause(ctx)
	var state progressNote
	var beat sync.WaitGroup
	beat.Go(func() { j.beat(making, cancel, job, &state) })
	err = j.fill(making, job, &state)
	taken := errors.Is(context.Cause(making), store.ErrReportTaken) || errors.Is(err, store.ErrReportTaken)
	cancel(nil)
	beat.Wait()
	switch {
	case taken:
		j.log.Warn("report is left to another replica", "job", job.ID)
		return false, nil
	case ctx.Err() != nil: // this node stops: another goes on at once
		return true, j.last(ctx, func(ctx context.Context) error { return j.store.ReturnReport(ctx, job) })
	case err != nil && job.Tries < reportTries && (errors.Is(err, store.ErrUnavailable) || errors.Is(err, reports.ErrOvertaken)):
		j.log.Info("report is begun again", "job", job.ID, "error", err)
		return true, nil
	}
	return true, j.end(ctx, job, err)
}

// end notes what became of a report.
func (j *reportJobs) end(ctx context.Context, job *store.ReportJob, failure error) error {
	job.State = store.ReportDone
	if failure != nil {
		job.State, job.Error = store.ReportFailed, publicError(failure)
		job.Bytes, job.SHA256 = 0, ""
		j.log.Warn("report failed", "job", job.ID, "error", failure)
	}
	err := j.store.EndReport(ctx, job, reportBounds())
	if errors.Is(err, store.ErrReportTaken) {
		return nil // it was given up meanwhile
	}
	return err
}

// progressNote is how far an attempt is.
type progressNote struct {
	mu       sync.Mutex
	stage    string
	read, of uint64
}

func (p *progressNote) set(stage string, read, of uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stage, p.read, p.of = stage, read, of
}

func (p *progressNote) get() (stage string, read, of uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.stage, p.read, p.of
}

// beat keeps the lease and tells how far the attempt is, and ends it once it is another's.
func (j *reportJobs) beat(ctx context.Context, cancel context.CancelCauseFunc, job *store.ReportJob, state *progressNote) {
	ticker := time.NewTicker(reportBeat)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		ours, err := j.store.Lease(ctx, reportsLease, j.node, tickLease)
		if err == nil && !ours {
			err = store.ErrReportTaken
		}
		if err == nil {
			stage, read, of := state.get()
			err = j.store.NoteReport(ctx, job, stage, read, of)
		}
		if errors.Is(err, store.ErrReportTaken) {
			cancel(err)
			return
		}
		// A database that does not answer now may by the next time; who else took the report meanwhile is found then.
	}
}

// fill makes a report and puts it into the database, part by part.
func (j *reportJobs) fill(ctx context.Context, job *store.ReportJob, state *progressNote) (err error) {
	var req api.ReportRequest
	if err := json.Unmarshal(job.Request, &req); err != nil {
		return fmt.Errorf("reading a report job: %w", err)
	}
	state.set(job.Stage, 0, 0)
	file, err := newSpool()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	at, err := j.make(ctx, req, job.Format, func(read, of uint64) { state.set(job.Stage, read, of) }, file)
	if err != nil {
		return err
	}
	_, read, of := state.get()
	state.set("is put where every replica finds it", read, of)
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		return fmt.Errorf("reading a report back: %w", err)
	}
	if err := j.store.ReportRoom(ctx, file.size, reportBounds()); err != nil {
		return err
	}
	part := make([]byte, store.ReportChunk)
	for idx := int64(0); idx*store.ReportChunk < file.size; idx++ {
		n, err := io.ReadFull(file.File, part)
		if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
			return fmt.Errorf("reading a report back: %w", err)
		}
		pace := j.store.Pace()
		if err := j.store.AddReportChunk(ctx, job.Claim, idx, part[:n]); err != nil {
			return err
		}
		pace.Rest(ctx, 1)
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
	job.Bytes, job.SHA256 = file.size, file.digest()
	job.SetCheckpoint(at.Size)
	return nil
}

// publicError is what an asker is told: what they can mend, and otherwise that it failed; the log has the rest.
func publicError(err error) string {
	var input *custodian.InputError
	switch {
	case errors.As(err, &input):
		return input.Error()
	case errors.Is(err, errReportSize), errors.Is(err, errReportTries), errors.Is(err, reports.ErrOvertaken):
		return err.Error()
	case errors.Is(err, segment.ErrUnreachable):
		return "archived entries that it needs can not be read from the node that made it; its log says which file is missing"
	case errors.Is(err, segment.ErrAltered), errors.Is(err, segment.ErrFormat):
		return "an archived segment that it needs is not what was recorded; the log of the service says which"
	}
	return "the log of the service says why"
}

var errReportTries = errors.New("the report was begun")

var errReportSize = fmt.Errorf("the report is larger than %d MiB: ask for a shorter period", reportBytes>>20)

// spool is a file without a name that holds what is made, with its digest.
type spool struct {
	*os.File
	sum  hash.Hash
	size int64
}

func newSpool() (*spool, error) {
	f, err := os.CreateTemp("", "conclave-report-*")
	if err != nil {
		return nil, fmt.Errorf("making room for a report: %w", err)
	}
	if err := os.Remove(f.Name()); err != nil {
		return nil, errors.Join(fmt.Errorf("making room for a report: %w", err), f.Close())
	}
	return &spool{File: f, sum: sha256.New()}, nil
}

// Write implements io.Writer.
func (s *spool) Write(p []byte) (int, error) {
	if s.size+int64(len(p)) > reportBytes {
		return 0, errReportSize
	}
	n, err := s.File.Write(p)
	s.sum.Write(p[:n])
	s.size += int64(n)
	return n, err
}

func (s *spool) digest() string { return hex.EncodeToString(s.sum.Sum(nil)) }
