package httpapi

import (
	"conclave/app/api"
	"conclave/custodian"
	"conclave/custodian/backup"
	"conclave/custodian/store"
)

func (s *server) listBackupSchedules(x *exchange) error {
	if err := x.authorise(readKeystores, "backup_schedule", ""); err != nil {
		return err
	}
	return page(x, custodian.KindBackupSchedule, func(_ *store.View, b *backup.Schedule) (api.BackupSchedule, bool) {
		return api.BackupSchedule{ID: b.ID, Directory: b.Directory, EveryMinutes: b.EveryMinutes, Keep: b.Keep, ShareSet: b.ShareSet, Epoch: b.Epoch,
			KeyID: b.KeyID, Status: b.Status, DecidedBy: b.DecidedBy}, true
	})
}

func (s *server) listBackups(x *exchange) error {
	if err := x.authorise(readKeystores, "backup", ""); err != nil {
		return err
	}
	return page(x, custodian.KindBackup, func(_ *store.View, c *backup.Copy) (api.Backup, bool) {
		out := api.Backup{ID: c.ID, Schedule: c.Schedule, File: c.File, Bytes: c.Bytes, SHA256: c.SHA256, Size: c.Size, Root: c.Root, Rows: c.Rows,
			ShareSet: c.ShareSet, Epoch: c.Epoch, Node: c.Node, At: c.At, Status: string(c.Status), GoneAt: c.GoneAt, GoneBy: c.GoneBy}
		if n := len(c.Drills); n > 0 {
			out.DrillAt = &c.Drills[n-1].At
		}
		return out, true
	})
}

// listRecoveries gives the documents by which whoever saw a lost ledger judges why it was left behind.
func (s *server) listRecoveries(x *exchange) error {
	if err := x.authorise(readKeystores, "recovery", ""); err != nil {
		return err
	}
	return page(x, custodian.KindRecovery, func(view *store.View, r *backup.Recovery) (api.Recovery, bool) {
		row, err := view.Get(custodian.KindRecovery, r.ID)
		out := api.Recovery{ID: r.ID, Size: r.Size, At: r.At, People: r.People, Witnesses: r.Witnesses, Restrictions: []string{}, Deviations: []string{}, Document: row.Body}
		out.Restrictions = append(out.Restrictions, r.Restrictions...)
		out.Deviations = append(out.Deviations, r.Deviations...)
		return out, err == nil
	})
}
