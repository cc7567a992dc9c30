package store

import (
	"context"
	"errors"
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

// errUsageMoved: another replica read these entries first.
var errUsageMoved = errors.New("usage cursor moved")

// UsageCursor is up to which entry usage is read.
func (s *Store) UsageCursor(ctx context.Context) (uint64, error) {
	var next []uint64
	if err := s.db.session(ctx, s.db.read).Table("key_usage_cursor").Where("id = 1").Pluck("next_seq", &next).Error; err != nil {
		return 0, unavailable("reading usage cursor", err)
	}
	if len(next) == 0 {
		return 0, nil
	}
	return next[0], nil
}

// AddUsage counts what the entries from ≤ seq < to say, once: false when somebody else has read on from there
// meanwhile, and nothing was counted.
func (s *Store) AddUsage(ctx context.Context, from, to uint64, rows []UsageRow) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, commitTimeout)
	defer cancel()
	err := s.db.gorm.WithContext(ctx).Transaction(func(tx *gorm.DB) error {
		res := tx.Exec("UPDATE key_usage_cursor SET next_seq = ? WHERE id = 1 AND next_seq = ?", to, from)
		if res.Error != nil {
			return res.Error
		}
		if res.RowsAffected != 1 {
			return errUsageMoved
		}
		for _, r := range rows {
			err := tx.Exec("INSERT INTO key_usage (day, key, version, actor, operation, outcome, origin, uses, first_at, last_at, first_seq, last_seq)"+
				" VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (key, version, day, actor, operation, outcome, origin)"+
				" DO UPDATE SET uses = key_usage.uses + excluded.uses, last_at = excluded.last_at, last_seq = excluded.last_seq",
				r.Day, r.Key, r.Version, r.Actor, r.Operation, r.Outcome, r.Origin, r.Uses, r.FirstAt, r.LastAt, r.FirstSeq, r.LastSeq).Error
			if err != nil {
				return err
			}
		}
		return nil
	})
	if errors.Is(err, errUsageMoved) {
		return false, nil
	}
	if err != nil {
		return false, unavailable("counting usage", err)
	}
	return true, nil
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
