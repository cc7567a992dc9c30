package store

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"time"

	"gorm.io/gorm/clause"
)

// IdempotentReply is an answer already given to an unsafe call with an Idempotency-Key.
type IdempotentReply struct {
	Principal   string `gorm:"primaryKey"` // who called: a key belongs to its caller
	Key         string `gorm:"primaryKey"`
	RequestHash []byte // SHA-256 of the request
	Status      int    // HTTP status
	Body        []byte
	CreatedAt   int64 `gorm:"autoCreateTime:false"` // microseconds since 1970 UTC; set by SaveIdempotency
}

// TableName implements gorm's Tabler.
func (IdempotentReply) TableName() string { return "idempotency" }

// Idempotency returns the answer saved under a principal's key, [ErrNotFound] when there is none, a
// [*TamperedError] for one that this instance did not give.
func (s *Store) Idempotency(ctx context.Context, principal, key string) (*IdempotentReply, error) {
	var found []IdempotentReply
	err := s.db.session(ctx, s.db.read).Where("principal = ? AND key = ?", principal, key).Limit(1).Find(&found).Error
	if err != nil {
		return nil, unavailable("reading idempotent reply", err)
	}
	if len(found) == 0 {
		return nil, fmt.Errorf("idempotency key %q: %w", key, ErrNotFound)
	}
	reply := &found[0]
	sealed := reply.Body
	if len(sealed) >= sealSize {
		reply.Body = sealed[sealSize:]
		if s.genuine(s.sealed(reply), sealed[:sealSize], reply.CreatedAt) {
			return reply, nil
		}
	}
	s.cfg.Alert(Violation{Object: replyObject, Problem: ProblemEdited, ID: key, Detail: "the answer is not one that this instance gave", FoundAt: s.cfg.Clock.Now()})
	return nil, &TamperedError{Kind: replyObject, ID: key}
}

// Answers are not bound by the ledger, so the log key, which is not in the database, signs each: what somebody
// wrote into the table is nobody's answer. The signature (Ed25519) stands before the body.
const (
	sealSize    = 64
	replyObject = "idempotent-reply"
)

// seal signs what no entry binds with the log key in force.
func (s *Store) seal(message []byte) ([]byte, error) {
	key, err := s.signers.get(s.LogKeys().Newest())
	if err != nil {
		return nil, err
	}
	return key.Signer.Sign(message)
}

// genuine reports whether a seal is one that this instance gave at an instant, in microseconds since 1970 UTC.
func (s *Store) genuine(message, seal []byte, made int64) bool {
	return s.snap.Load().keys.sealed(message, seal, time.UnixMicro(made), s.cfg.Clock.Now())
}

// sealed is what is signed of an answer.
func (s *Store) sealed(r *IdempotentReply) []byte {
	out := s.framed("conclave idempotent reply v1", []byte(r.Principal), []byte(r.Key), r.RequestHash, r.Body)
	out = binary.BigEndian.AppendUint64(out, uint64(r.Status))
	return binary.BigEndian.AppendUint64(out, uint64(r.CreatedAt))
}

// framed is what the log key signs of something that no entry binds: what it is, whose, and its parts, each with its
// length. Its first bytes are no note's: a note has no control characters.
func (s *Store) framed(what string, parts ...[]byte) []byte {
	out := []byte(what + "\x00")
	for _, part := range append([][]byte{[]byte(s.cfg.LogKey.Origin)}, parts...) {
		out = binary.BigEndian.AppendUint64(out, uint64(len(part)))
		out = append(out, part...)
	}
	return out
}

// SaveIdempotency keeps an answer. The first one stays: saving again under the same key returns the answer
// kept, and [ErrIdempotencyConflict] when it belongs to a different request.
func (s *Store) SaveIdempotency(ctx context.Context, reply IdempotentReply) (*IdempotentReply, error) {
	if reply.Principal == "" || reply.Key == "" || len(reply.Key) > maxRowID {
		return nil, fmt.Errorf("idempotency key has %d bytes for principal %q, allowed are 1 to %d for a named one", len(reply.Key), reply.Principal, maxRowID)
	}
	reply.CreatedAt = s.cfg.Clock.Now().UnixMicro()
	seal, err := s.seal(s.sealed(&reply))
	if err != nil {
		return nil, fmt.Errorf("sealing idempotent reply: %w", err)
	}
	row := reply
	row.Body = append(seal, reply.Body...)
	res := s.db.gorm.WithContext(ctx).Clauses(clause.OnConflict{DoNothing: true}).Create(&row)
	if res.Error != nil {
		return nil, unavailable("saving idempotent reply", res.Error)
	}
	if res.RowsAffected == 1 {
		return &reply, nil
	}
	kept, err := s.Idempotency(ctx, reply.Principal, reply.Key)
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(kept.RequestHash, reply.RequestHash) {
		return kept, ErrIdempotencyConflict
	}
	return kept, nil
}

// PurgeIdempotency removes the answers given before a time.
func (s *Store) PurgeIdempotency(ctx context.Context, before time.Time) (int64, error) {
	res := s.db.gorm.WithContext(ctx).Where("created_at < ?", before.UnixMicro()).Delete(&IdempotentReply{})
	if res.Error != nil {
		return 0, unavailable("purging idempotent replies", res.Error)
	}
	return res.RowsAffected, nil
}

// Lease takes or prolongs the named lease for holder until ttl from now, and reports whether holder has it. A
// lease whose time is over may be taken by anybody, and so may one with more than twice ttl left: nobody takes one
// for so long, and written into the table by hand it would stop the work for ever. Replicas' clocks are trusted to
// agree within a fraction of ttl, and what runs under a lease must bear running twice.
func (s *Store) Lease(ctx context.Context, name, holder string, ttl time.Duration) (bool, error) {
	if name == "" || holder == "" || ttl <= 0 {
		return false, fmt.Errorf("lease %q for %q over %s: allowed are a name, a holder and a positive time", name, holder, ttl)
	}
	now := s.cfg.Clock.Now()
	ctx, cancel := context.WithTimeout(ctx, commitTimeout)
	defer cancel()
	res := s.db.gorm.WithContext(ctx).Exec(
		"INSERT INTO job_leases (name, holder, until_time) VALUES (?, ?, ?) ON CONFLICT (name) DO UPDATE"+
			" SET holder = excluded.holder, until_time = excluded.until_time"+
			" WHERE job_leases.holder = excluded.holder OR job_leases.until_time <= ? OR job_leases.until_time > ?",
		name, holder, now.Add(ttl).UnixMicro(), now.UnixMicro(), now.Add(2*ttl).UnixMicro())
	if res.Error != nil {
		return false, unavailable("taking lease", res.Error)
	}
	return res.RowsAffected == 1, nil
}

// Release gives a lease back if holder has it.
func (s *Store) Release(ctx context.Context, name, holder string) error {
	err := s.db.gorm.WithContext(ctx).Exec("DELETE FROM job_leases WHERE name = ? AND holder = ?", name, holder).Error
	if err != nil {
		return unavailable("releasing lease", err)
	}
	return nil
}
