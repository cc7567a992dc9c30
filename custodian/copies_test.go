package custodian_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"conclave/custodian"
	"conclave/custodian/backup"
	"conclave/custodian/key"
	"conclave/custodian/people"
	"conclave/hsm"
)

// copyWorld is a keystore whose set was cut over to epoch 2 on day 10, with a version destroyed on day 20, and a backup
// of each of days 5 (epoch 1) and 15 (epoch 2). Shares of epoch 1 are 3, of which 2 make a quorum.
func copyWorld() (*custodian.CopyRegister, *key.Version, func(day int) time.Time) {
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	day := func(n int) time.Time { return start.AddDate(0, 0, n) }
	set := &people.ShareSet{ID: "root", Keystore: "soft", Epoch: 2, Threshold: 2, Total: 3,
		Past: []people.PastEpoch{{Epoch: 1, Threshold: 2, Total: 3, SupersededAt: day(10)}}}
	copies := &people.ShareSet{ID: "copies", Purpose: people.PurposeBackup, Epoch: 2, Threshold: 2, Total: 3}
	r := &custodian.CopyRegister{Sets: []*people.ShareSet{set, copies}, Keystores: []*key.Keystore{{ID: "soft"}}}
	for epoch := uint32(1); epoch <= 2; epoch++ {
		for i := range 3 {
			status := people.ShareConfirmed
			if epoch == 1 {
				status = people.ShareSuperseded
			}
			r.Shares = append(r.Shares, &people.Share{Set: "root", Epoch: epoch, Index: i + 1, Custodian: fmt.Sprint("p", i), Status: status})
		}
		at := day(5 + 10*int(epoch-1))
		r.Backups = append(r.Backups, &backup.Copy{ID: fmt.Sprint("b-", epoch), ShareSet: "copies", Epoch: epoch, Sets: map[string]uint32{"root": epoch, "copies": epoch},
			StartedAt: at, At: at.Add(time.Minute), Status: backup.CopyPresent})
	}
	gone := day(20)
	return r, &key.Version{Key: "cards", Version: 1, Keystore: "soft", State: key.Destroyed, GeneratedAt: day(2), DestroyedAt: &gone}, day
}

// TestInvariant04_WhatIsLeftOfTheDestroyed: copies are outstanding while a registered backup holds the version and a
// quorum of the shares of its epoch may be about, and no longer.
func TestInvariant04_WhatIsLeftOfTheDestroyed(t *testing.T) {
	prove := func(r *custodian.CopyRegister, epoch uint32, n int) {
		for _, s := range r.Shares {
			if s.Epoch == epoch && s.Index <= n {
				s.Status = people.ShareDestroyed
			}
		}
	}
	for name, c := range map[string]struct {
		change func(r *custodian.CopyRegister, v *key.Version, day func(int) time.Time)
		want   string
	}{
		"both backups": {func(*custodian.CopyRegister, *key.Version, func(int) time.Time) {}, custodian.CopiesOutstanding},
		"the newer deleted, the older opens with superseded shares": {func(r *custodian.CopyRegister, _ *key.Version, _ func(int) time.Time) {
			r.Backups[1].Status = backup.CopyDeleted
		}, custodian.CopiesOutstanding},
		"superseded shares proven destroyed but for one": {func(r *custodian.CopyRegister, _ *key.Version, _ func(int) time.Time) {
			r.Backups[1].Status = backup.CopyDeleted
			prove(r, 1, 2)
		}, custodian.CopiesNoneKnown},
		"expired is still there": {func(r *custodian.CopyRegister, _ *key.Version, _ func(int) time.Time) {
			r.Backups[1].Status = backup.CopyExpired
			prove(r, 1, 3)
		}, custodian.CopiesOutstanding},
		"all deleted": {func(r *custodian.CopyRegister, _ *key.Version, _ func(int) time.Time) {
			r.Backups[0].Status, r.Backups[1].Status = backup.CopyDeleted, backup.CopyDeleted
		}, custodian.CopiesNoneKnown},
		"made after the backups": {func(_ *custodian.CopyRegister, v *key.Version, day func(int) time.Time) {
			v.GeneratedAt = day(16)
		}, custodian.CopiesNoneKnown},
		"destroyed before the newer, whose copy is all that is left": {func(r *custodian.CopyRegister, v *key.Version, day func(int) time.Time) {
			gone := day(14)
			v.DestroyedAt, r.Backups[0].Status = &gone, backup.CopyDeleted
		}, custodian.CopiesNoneKnown},
		"a set replaced before the backup opens nothing in it": {func(r *custodian.CopyRegister, _ *key.Version, day func(int) time.Time) {
			r.Backups[1].Status = backup.CopyDeleted
			r.Sets[0].ReplacedBy, r.Sets[0].Epoch, r.Sets[0].Past[0].SupersededAt = "new", 1, day(4)
		}, custodian.CopiesNoneKnown},
		"keys that the keystore holds itself": {func(r *custodian.CopyRegister, _ *key.Version, _ func(int) time.Time) {
			r.Keystores[0].Capabilities = hsm.Capabilities{StoresKeys: true}
		}, custodian.CopiesNoneKnown},
		"another keystore's": {func(_ *custodian.CopyRegister, v *key.Version, _ func(int) time.Time) { v.Keystore = "vault" }, custodian.CopiesNoneKnown},
		"rows damaged": {func(r *custodian.CopyRegister, _ *key.Version, _ func(int) time.Time) {
			r.Backups, r.Damaged = nil, true
		}, custodian.CopiesUnknown},
	} {
		r, v, day := copyWorld()
		c.change(r, v, day)
		require.Equal(t, c.want, r.Left(v), name)
	}
}

func TestInvariant04_BackupsOfAnEpochAreCounted(t *testing.T) {
	r, _, _ := copyWorld()
	status := func(set *people.ShareSet) string {
		return set.Status(r.Shares, func(epoch uint32) people.Copies { return r.Of(set, epoch) })
	}
	require.Equal(t, "re-issued, 3 old shares unproven, 1 backup of that time", status(r.Sets[0]))
	require.Equal(t, people.Copies{Known: true, Count: 1}, r.Of(r.Sets[0], 2), "also of the epoch in force")
	require.Equal(t, 1, r.Of(r.Sets[1], 1).Count, "what a backup set's shares open is the backup")
	r.Backups[1].Epoch = 1
	require.Equal(t, 2, r.Of(r.Sets[1], 1).Count)
	r.Backups[0].Status = backup.CopyDeleted
	require.Equal(t, "re-issued, 3 old shares unproven", status(r.Sets[0]), "without a copy the shares stay unproven")
	r.Damaged = true
	require.Contains(t, status(r.Sets[0]), "damaged")
}
