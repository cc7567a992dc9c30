package store

import (
	"context"
	"time"

	"gorm.io/gorm"
)

// UsageRow is what one caller did with one key version on one day, by operation, outcome and origin.
type UsageRow struct {
	Day       int64 // since 1970-01-01 UTC
	Key       string
	Version   uint32
	Actor     string
	Operation string
	Outcome   string
	Origin    string
	Uses      int64
	FirstAt   int64 // microseconds since 1970 UTC
	LastAt    int64
	FirstSeq  uint64
	LastSeq   uint64
}

// TableName implements gorm's Tabler.
func (UsageRow) TableName() string { return "key_usage" }

// UsageCursor is up to which entry usage is read.
func (s *Store) UsageCursor(ctx context.Context) (uint64, error) {
	return s.cursor(ctx, "key_usage_cursor")
}

// ResetUsage forgets what was counted, so that all of it is read anew.
func (s *Store) ResetUsage(ctx context.Context) error {
	err := s.db.gorm.WithContext(ctx).Transaction(func(tx *gorm.DB) error {
		if err := tx.Exec("DELETE FROM key_usage").Error; err != nil {
			return err
		}
		return tx.Exec("UPDATE key_usage_cursor SET next_seq = 0 WHERE id = 1").Error
	})
	if err != nil {
		return unavailable("resetting usage", err)
	}
	return nil
}

// maxUsage bounds the lines of one answer.
const maxUsage = 1000

// Usage is what was done with a key version since a time (whole days), one line a caller, operation, outcome and
// origin, the busiest first, at most 1000.
func (s *Store) Usage(ctx context.Context, key string, version uint32, since time.Time) ([]UsageRow, error) {
	day := int64(0)
	if !since.IsZero() {
		day = since.Unix() / 86400
	}
	var out []UsageRow
	err := s.db.session(ctx, s.db.read).Model(&UsageRow{}).
		Select("key, version, actor, operation, outcome, origin, MIN(day) AS day, SUM(uses) AS uses, MIN(first_at) AS first_at, MAX(last_at) AS last_at, MIN(first_seq) AS first_seq, MAX(last_seq) AS last_seq").
		Where("key = ? AND version = ? AND day >= ?", key, version, day).
		Group("key, version, actor, operation, outcome, origin").Order("SUM(uses) DESC, actor, operation, outcome, origin").Limit(maxUsage).Find(&out).Error
	if err != nil {
		return nil, unavailable("reading usage", err)
	}
	return out, nil
}

// UsedBefore says whether a caller used a key, with success, in an entry before one. Usage must be counted up to it.
func (s *Store) UsedBefore(ctx context.Context, key, actor string, seq uint64) (bool, error) {
	var n int64
	err := s.db.session(ctx, s.db.read).Raw("SELECT COUNT(*) FROM (SELECT 1 FROM key_usage WHERE key = ? AND actor = ? AND outcome = 'allow' AND first_seq < ? LIMIT 1) AS t",
		key, actor, number(seq)).Scan(&n).Error
	if err != nil {
		return false, unavailable("reading usage", err)
	}
	return n > 0, nil
}

// UsageBetween walks what is counted of the days from ≤ day < to, in order of day, key, version and caller. Days count
// from 1970-01-01 UTC.
func (s *Store) UsageBetween(ctx context.Context, from, to int64, fn func(UsageRow) error) error {
	rows, err := s.db.session(ctx, s.db.read).Model(&UsageRow{}).Where("day >= ? AND day < ?", from, to).
		Order("day, key, version, actor, operation, outcome, origin").Rows()
	if err != nil {
		return unavailable("reading usage", err)
	}
	defer rows.Close() // its error is that of Err
	for rows.Next() {
		var r UsageRow
		if err := s.db.gorm.ScanRows(rows, &r); err != nil {
			return unavailable("reading usage", err)
		}
		if err := fn(r); err != nil {
			return err
		}
	}
	if err := rows.Err(); err != nil {
		return unavailable("reading usage", err)
	}
	return nil
}
