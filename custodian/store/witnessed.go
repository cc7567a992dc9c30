package store

import (
	"context"
	"fmt"
)

// Cosigned is a checkpoint with the cosignature of one witness.
type Cosigned struct {
	Size    number
	Witness string // note verifier key
	Note    []byte
}

// TableName implements gorm's Tabler.
func (Cosigned) TableName() string { return "ledger_cosigned" }

// SaveCosigned keeps a checkpoint that a witness signed; one of that size stays as it is.
func (s *Store) SaveCosigned(ctx context.Context, size uint64, witness string, note []byte) error {
	err := s.db.gorm.WithContext(ctx).Exec("INSERT INTO ledger_cosigned (size, witness, note) VALUES (?, ?, ?) ON CONFLICT (size, witness) DO NOTHING",
		number(size), witness, note).Error
	if err != nil {
		return unavailable("keeping a cosigned checkpoint", err)
	}
	return nil
}

// CosignedBy returns the largest checkpoint of at most a size that a witness signed, [ErrNotFound] when there is none.
// Its signatures are for the caller to check.
func (s *Store) CosignedBy(ctx context.Context, witness string, atMost uint64) (uint64, []byte, error) {
	var found []Cosigned
	err := s.db.session(ctx, s.db.read).Where("witness = ? AND size <= ?", witness, number(atMost)).Order("size DESC").Limit(1).Find(&found).Error
	if err != nil {
		return 0, nil, unavailable("reading cosigned checkpoints", err)
	}
	if len(found) == 0 {
		return 0, nil, fmt.Errorf("checkpoint cosigned by %.60q: %w", witness, ErrNotFound)
	}
	return uint64(found[0].Size), found[0].Note, nil
}

// Witnessed returns the largest cosigned checkpoints of at most a size, one a witness, in order of their keys.
func (s *Store) Witnessed(ctx context.Context, atMost uint64) ([]Cosigned, error) {
	var found []Cosigned
	err := s.db.session(ctx, s.db.read).Raw("SELECT c.size, c.witness, c.note FROM ledger_cosigned c WHERE c.size ="+
		" (SELECT MAX(d.size) FROM ledger_cosigned d WHERE d.witness = c.witness AND d.size <= ?) ORDER BY c.witness", number(atMost)).Scan(&found).Error
	if err != nil {
		return nil, unavailable("reading cosigned checkpoints", err)
	}
	return found, nil
}

// SaveTimestamp keeps a time-stamp of a checkpoint.
func (s *Store) SaveTimestamp(ctx context.Context, size uint64, note, token []byte) error {
	err := s.db.gorm.WithContext(ctx).Exec("INSERT INTO ledger_timestamps (size, note, token) VALUES (?, ?, ?) ON CONFLICT (size) DO NOTHING",
		number(size), note, token).Error
	if err != nil {
		return unavailable("keeping a time-stamp", err)
	}
	return nil
}

// Timestamp returns the time-stamped checkpoint of the largest size up to a bound, [ErrNotFound] when there is none.
func (s *Store) Timestamp(ctx context.Context, atMost uint64) (size uint64, note, token []byte, err error) {
	var found []struct {
		Size        number
		Note, Token []byte
	}
	err = s.db.session(ctx, s.db.read).Table("ledger_timestamps").Where("size <= ?", number(atMost)).Order("size DESC").Limit(1).Scan(&found).Error
	if err != nil {
		return 0, nil, nil, unavailable("reading time-stamps", err)
	}
	if len(found) == 0 {
		return 0, nil, nil, fmt.Errorf("time-stamp of a checkpoint of at most %d entries: %w", atMost, ErrNotFound)
	}
	return uint64(found[0].Size), found[0].Note, found[0].Token, nil
}
