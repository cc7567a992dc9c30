package store

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"time"

	"gorm.io/gorm"
)

// States of a report.
const (
	ReportRunning = "running" // waits to be made, or is being made
	ReportDone    = "done"
	ReportFailed  = "failed"
)

// ReportChunk is how many bytes of a report stand in one row, but for its last: each row is one commit, for which the
// data plane waits at most (ours).
const ReportChunk = 256 << 10

// Refusals of report jobs.
var (
	// ErrReportsFull: as many reports as may be are kept or wait.
	ErrReportsFull = errors.New("too many reports are kept or wait to be made")
	// ErrReportTaken: somebody else makes the report by now, or it was given up.
	ErrReportTaken = errors.New("report is not this process's to make any more")
)

// ReportJob is a report that somebody asked for. Times are microseconds since 1970 UTC.
type ReportJob struct {
	ID        string `gorm:"primaryKey"`
	Owner     string // who asked
	Format    string
	Request   []byte // what was asked; its meaning is the caller's
	CreatedAt int64  `gorm:"autoCreateTime:false"`
	Seal      []byte // the log key's over all of the above

	State          string
	Claim          string // names the attempt, and the chunks that it made
	Tries          int
	Stage          string
	ReadEntries    number
	OfEntries      number
	CheckpointSize number
	Bytes          int64
	SHA256         string `gorm:"column:sha256"`
	Error          string
	EndedAt        int64
	ExpiresAt      int64
	ResultSeal     []byte // the log key's over what became of it
}

// SetCheckpoint notes the size of the ledger that the report is of.
func (j *ReportJob) SetCheckpoint(size uint64) { j.CheckpointSize = number(size) }

// TableName implements gorm's Tabler.
func (ReportJob) TableName() string { return "report_jobs" }

// ReportBounds bound what is kept of reports.
type ReportBounds struct {
	Each  int           // of one owner; a further one takes the place of their oldest that has ended
	All   int           // in all; likewise
	Bytes int64         // of all content
	Wait  time.Duration // from asking on, then it is given up
	Keep  time.Duration // from its end on
}

const (
	reportObject = "report"
	reportJobs   = "conclave report job v1"
	reportEnds   = "conclave report result v1"
	reportChunks = "conclave report chunk v1"
)

func (s *Store) sealedReport(j *ReportJob) []byte {
	return binary.BigEndian.AppendUint64(s.framed(reportJobs, []byte(j.ID), []byte(j.Owner), []byte(j.Format), j.Request), uint64(j.CreatedAt))
}

func (s *Store) sealedResult(j *ReportJob) []byte {
	out := s.framed(reportEnds, []byte(j.ID), []byte(j.State), []byte(j.Claim), []byte(j.SHA256), []byte(j.Error))
	for _, n := range []int64{int64(j.CheckpointSize), j.Bytes, j.EndedAt, j.ExpiresAt} {
		out = binary.BigEndian.AppendUint64(out, uint64(n))
	}
	return out
}

func (s *Store) sealedChunk(claim string, idx int64, body []byte) []byte {
	return binary.BigEndian.AppendUint64(s.framed(reportChunks, []byte(claim), body), uint64(idx))
}

// AddReport keeps that a report is wanted. [ErrReportsFull] where the bounds leave no room; replicas that are asked at
// the same instant may each let one too many in.
func (s *Store) AddReport(ctx context.Context, owner, format string, request []byte, b ReportBounds) (*ReportJob, error) {
	now := s.cfg.Clock.Now()
	j := &ReportJob{ID: "r-" + strings.ToLower(rand.Text()), Owner: owner, Format: format, Request: request, CreatedAt: now.UnixMicro(),
		State: ReportRunning, Stage: "waits for its turn", ExpiresAt: now.Add(b.Wait).UnixMicro(), ResultSeal: []byte{}}
	var err error
	if j.Seal, err = s.seal(s.sealedReport(j)); err != nil {
		return nil, fmt.Errorf("sealing a report job: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, commitTimeout)
	defer cancel()
	err = s.db.gorm.WithContext(ctx).Transaction(func(tx *gorm.DB) error {
		for _, bound := range []struct {
			most int
			of   *gorm.DB
		}{{b.Each, tx.Where("owner = ?", owner)}, {b.All, tx}} {
			if err := makeRoom(tx, bound.of, bound.most); err != nil {
				return err
			}
		}
		return tx.Create(j).Error
	})
	if errors.Is(err, ErrReportsFull) {
		return nil, err
	}
	if err != nil {
		return nil, unavailable("keeping a report job", err)
	}
	return j, nil
}

// makeRoom forgets the oldest report that has ended among those of a scope where it holds as many as it may.
func makeRoom(tx, scope *gorm.DB, most int) error {
	var found []ReportJob
	if err := scope.Session(&gorm.Session{}).Select("id", "state", "ended_at").Order("ended_at, id").Find(&found).Error; err != nil {
		return err
	}
	over := len(found) - most + 1
	for _, j := range found {
		if over <= 0 {
			return nil
		}
		if j.State == ReportRunning {
			continue
		}
		if err := tx.Delete(&ReportJob{ID: j.ID}).Error; err != nil {
			return err
		}
		over--
	}
	if over > 0 {
		return ErrReportsFull
	}
	return nil
}

// Report returns a report by its id, [ErrNotFound] when there is none, a [*TamperedError] for one that this instance
// did not take on, or did not end.
func (s *Store) Report(ctx context.Context, id string) (*ReportJob, error) {
	var found []ReportJob
	err := s.db.session(ctx, s.db.read).Where("id = ? AND expires_at > ?", id, s.cfg.Clock.Now().UnixMicro()).Limit(1).Find(&found).Error
	if err != nil {
		return nil, unavailable("reading a report job", err)
	}
	if len(found) == 0 {
		return nil, fmt.Errorf("report %q: %w", id, ErrNotFound)
	}
	return &found[0], s.genuineReport(&found[0])
}

// genuineReport holds a job against its seals.
func (s *Store) genuineReport(j *ReportJob) error {
	genuine := s.genuine(s.sealedReport(j), j.Seal, j.CreatedAt)
	if j.State != ReportRunning {
		genuine = genuine && s.genuine(s.sealedResult(j), j.ResultSeal, j.EndedAt)
	}
	if genuine {
		return nil
	}
	return s.forgedReport(j.ID, "the report is not one that this instance took on or made")
}

func (s *Store) forgedReport(id, detail string) error {
	s.cfg.Alert(Violation{Object: reportObject, Problem: ProblemEdited, ID: id, Detail: detail, FoundAt: s.cfg.Clock.Now()})
	return &TamperedError{Kind: reportObject, ID: id}
}

// ReportWaits says whether a report waits to be made, or is being made.
func (s *Store) ReportWaits(ctx context.Context) (bool, error) {
	var found []string
	err := s.db.session(ctx, s.db.read).Model(&ReportJob{}).Where("state = ?", ReportRunning).Limit(1).Pluck("id", &found).Error
	if err != nil {
		return false, unavailable("reading report jobs", err)
	}
	return len(found) > 0, nil
}

// TakeReport begins an attempt at the report that waits longest, [ErrNotFound] when none does. Whoever made it before
// can add nothing to it any more. To be called by one process at a time: under a lease.
func (s *Store) TakeReport(ctx context.Context) (*ReportJob, error) {
	var found []ReportJob
	err := s.db.session(ctx, s.db.read).Where("state = ?", ReportRunning).Order("created_at, id").Limit(1).Find(&found).Error
	if err != nil {
		return nil, unavailable("reading report jobs", err)
	}
	if len(found) == 0 {
		return nil, fmt.Errorf("report to be made: %w", ErrNotFound)
	}
	j := &found[0]
	if err := s.genuineReport(j); err != nil {
		// It would be found again and again, and hold up those behind it.
		if dropped := s.db.gorm.WithContext(ctx).Delete(&ReportJob{ID: j.ID}).Error; dropped != nil {
			return nil, unavailable("dropping a forged report job", dropped)
		}
		return nil, err
	}
	before := j.Claim
	j.Claim, j.Tries, j.Stage, j.ReadEntries, j.OfEntries = strings.ToLower(rand.Text()), j.Tries+1, "reads the ledger", 0, 0
	return j, s.changeReport(ctx, j.ID, before, map[string]any{"claim": j.Claim, "tries": j.Tries, "stage": j.Stage, "read_entries": 0, "of_entries": 0})
}

// changeReport changes what an attempt may change; [ErrReportTaken] when it is not the one under way.
func (s *Store) changeReport(ctx context.Context, id, claim string, columns map[string]any) error {
	ctx, cancel := context.WithTimeout(ctx, commitTimeout)
	defer cancel()
	res := s.db.gorm.WithContext(ctx).Model(&ReportJob{}).Where("id = ? AND claim = ? AND state = ?", id, claim, ReportRunning).Updates(columns)
	if res.Error != nil {
		return unavailable("noting how a report stands", res.Error)
	}
	if res.RowsAffected != 1 {
		return fmt.Errorf("report %q: %w", id, ErrReportTaken)
	}
	return nil
}

// NoteReport notes how far an attempt is.
func (s *Store) NoteReport(ctx context.Context, j *ReportJob, stage string, read, of uint64) error {
	return s.changeReport(ctx, j.ID, j.Claim, map[string]any{"stage": stage, "read_entries": number(read), "of_entries": number(of)})
}

// ReturnReport gives an attempt back that this process can not go on with; it does not count.
func (s *Store) ReturnReport(ctx context.Context, j *ReportJob) error {
	return s.changeReport(ctx, j.ID, j.Claim, map[string]any{"tries": j.Tries - 1, "stage": "waits for its turn"})
}

// AddReportChunk keeps the next piece of an attempt's content.
func (s *Store) AddReportChunk(ctx context.Context, claim string, idx int64, body []byte) error {
	seal, err := s.seal(s.sealedChunk(claim, idx, body))
	if err != nil {
		return fmt.Errorf("sealing a part of a report: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, commitTimeout)
	defer cancel()
	if err := s.db.gorm.WithContext(ctx).Exec("INSERT INTO report_chunks (claim, idx, body) VALUES (?, ?, ?)", claim, idx, append(seal, body...)).Error; err != nil {
		return unavailable("keeping a part of a report", err)
	}
	return nil
}

// ReportPart returns a piece of a finished report's content; [ErrNotFound] once it was forgotten.
func (s *Store) ReportPart(ctx context.Context, j *ReportJob, idx int64) ([]byte, error) {
	var found []struct{ Body []byte }
	err := s.db.session(ctx, s.db.read).Table("report_chunks").Where("claim = ? AND idx = ?", j.Claim, idx).Limit(1).Find(&found).Error
	if err != nil {
		return nil, unavailable("reading a report", err)
	}
	if len(found) == 0 {
		return nil, fmt.Errorf("part %d of report %q: %w", idx, j.ID, ErrNotFound)
	}
	if sealed := found[0].Body; len(sealed) >= sealSize && s.genuine(s.sealedChunk(j.Claim, idx, sealed[sealSize:]), sealed[:sealSize], j.CreatedAt) {
		return sealed[sealSize:], nil
	}
	return nil, s.forgedReport(j.ID, fmt.Sprintf("part %d is not what this instance made", idx))
}

// EndReport ends an attempt: done, with the size and digest of what its chunks hold, or failed with the reason.
func (s *Store) EndReport(ctx context.Context, j *ReportJob, b ReportBounds) error {
	now := s.cfg.Clock.Now()
	j.Stage, j.EndedAt, j.ExpiresAt = "", now.UnixMicro(), now.Add(b.Keep).UnixMicro()
	seal, err := s.seal(s.sealedResult(j))
	if err != nil {
		return fmt.Errorf("sealing a report: %w", err)
	}
	j.ResultSeal = seal
	return s.changeReport(ctx, j.ID, j.Claim, map[string]any{"state": j.State, "stage": "", "checkpoint_size": j.CheckpointSize, "bytes": j.Bytes,
		"sha256": j.SHA256, "error": j.Error, "ended_at": j.EndedAt, "expires_at": j.ExpiresAt, "result_seal": j.ResultSeal})
}

// ReportRoom forgets the oldest finished reports until there is room for so many bytes more.
func (s *Store) ReportRoom(ctx context.Context, bytes int64, b ReportBounds) error {
	var done []ReportJob
	err := s.db.session(ctx, s.db.read).Select("id", "bytes").Where("state = ?", ReportDone).Order("ended_at DESC, id").Find(&done).Error
	if err != nil {
		return unavailable("reading report jobs", err)
	}
	for _, j := range done {
		if bytes += j.Bytes; bytes <= b.Bytes {
			continue
		}
		if err := s.db.gorm.WithContext(ctx).Delete(&ReportJob{ID: j.ID}).Error; err != nil {
			return unavailable("forgetting a report", err)
		}
	}
	return nil
}

// orphans are deleted so many at a time: the write lock is not held for long.
const orphans = 4

// PurgeReports forgets reports whose time is over, and one that says it stays for longer than any does. It deletes some of
// the content that nobody needs any more, and says whether there may be more of it.
func (s *Store) PurgeReports(ctx context.Context, b ReportBounds) (more bool, err error) {
	now := s.cfg.Clock.Now()
	ctx, cancel := context.WithTimeout(ctx, commitTimeout)
	defer cancel()
	g := s.db.gorm.WithContext(ctx)
	if err := g.Where("expires_at <= ? OR expires_at > ?", now.UnixMicro(), now.Add(2*max(b.Wait, b.Keep)).UnixMicro()).Delete(&ReportJob{}).Error; err != nil {
		return false, unavailable("forgetting reports", err)
	}
	res := g.Exec("DELETE FROM report_chunks WHERE (claim, idx) IN (SELECT c.claim, c.idx FROM report_chunks c"+
		" WHERE NOT EXISTS (SELECT 1 FROM report_jobs j WHERE j.claim = c.claim) LIMIT ?)", orphans)
	if res.Error != nil {
		return false, unavailable("deleting reports", res.Error)
	}
	return res.RowsAffected > 0, nil
}
