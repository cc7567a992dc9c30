package store

import (
	"context"
	"fmt"
)

// ExportCursor is up to which entry a target outside has the ledger; 0 for a target that is new.
func (s *Store) ExportCursor(ctx context.Context, target string) (uint64, error) {
	var next []uint64
	if err := s.db.session(ctx, s.db.read).Table("export_cursors").Where("target = ?", target).Pluck("next_seq", &next).Error; err != nil {
		return 0, unavailable("reading export cursor", err)
	}
	if len(next) == 0 {
		return 0, nil
	}
	return next[0], nil
}

// MoveExport notes that a target has the entries before to, if it stood at from: false when another replica moved it
// meanwhile. Only a ledger restored to an earlier state moves it back.
func (s *Store) MoveExport(ctx context.Context, target string, from, to uint64) (bool, error) {
	if target == "" {
		return false, fmt.Errorf("moving export cursor: target is empty")
	}
	ctx, cancel := context.WithTimeout(ctx, commitTimeout)
	defer cancel()
	if from == 0 {
		err := s.db.gorm.WithContext(ctx).Exec("INSERT INTO export_cursors (target, next_seq) VALUES (?, 0) ON CONFLICT (target) DO NOTHING", target).Error
		if err != nil {
			return false, unavailable("beginning an export", err)
		}
	}
	res := s.db.gorm.WithContext(ctx).Exec("UPDATE export_cursors SET next_seq = ? WHERE target = ? AND next_seq = ?", number(to), target, number(from))
	if res.Error != nil {
		return false, unavailable("moving export cursor", res.Error)
	}
	return res.RowsAffected == 1, nil
}
