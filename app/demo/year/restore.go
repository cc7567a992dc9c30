package year

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"conclave/app/api"
	"conclave/app/boot"
	"conclave/app/config"
	"conclave/ceremony/keyfile"
	"conclave/ceremony/recovery"
	"conclave/custodian"
	"conclave/custodian/backup"
)

// Backups of the story: where they go, and whose shares open them.
const (
	nightly    = "nightly"
	backupSet  = "backup-shares"
	backupsDir = "backups"
)

// copies are made unattended, under one decision; opening one takes two of three and a witness.
func (s *story) copies(ctx context.Context) error {
	if err := s.until(ctx, time.October, 4); err != nil {
		return err
	}
	s.tell("copies are scheduled; anybody can make one, two of three and a witness open it.")
	dir := filepath.Join(s.dir, backupsDir)
	if err := os.Mkdir(dir, 0o700); err != nil {
		return fmt.Errorf("making the folder of backups: %w", err)
	}
	holders := []string{ida, jon, kim}
	params := map[string]any{"id": nightly, "directory": dir, "every_minutes": 1440, "keep": 3,
		"share_set": map[string]any{"id": backupSet, "threshold": 2, "holders": holders}}
	if _, err := s.Govern(ctx, lea, "backup.schedule", params, "copies elsewhere", nil, ida, kim); err != nil {
		return err
	}
	for _, id := range holders {
		a, err := s.Act(id)
		if err != nil {
			return err
		}
		if _, err := a.ProveShares(ctx, "share.confirm", "issued"); err != nil {
			return err
		}
	}
	return s.pass(ctx, 25*time.Hour)
}

// disaster: after the last copy somebody leaves and a key is stopped; then the machine is lost.
func (s *story) disaster(ctx context.Context) error {
	s.tell("Nora leaves, a key is stopped, and the data centre burns.")
	officer, err := s.Act(ida)
	if err != nil {
		return err
	}
	copies, err := officer.API.Backups(ctx)
	if err != nil {
		return err
	}
	i := slices.IndexFunc(copies, func(b api.Backup) bool { return b.Status == "present" })
	if i < 0 {
		return errors.New("no copy was made")
	}
	if _, err := s.Govern(ctx, ida, "custodian.remove", map[string]any{"person": nora, "reason": "leaves"}, "leaves", nil, jon, kim); err != nil {
		return err
	}
	s.left = append(s.left, nora)
	stopped := map[string]any{"key": cardKey(2), "suspected": true, "reason": "an odd log line"}
	if _, err := s.Alone(ctx, jon, "key.suspend", stopped, "an odd log line"); err != nil {
		return err
	}
	if err := s.pass(ctx, time.Minute); err != nil { // the journal beside the copies takes both down
		return err
	}
	if err := errors.Join(s.stop(ctx), os.RemoveAll(s.data)); err != nil {
		return err
	}
	if err := s.restore(ctx, copies[i].File); err != nil {
		return fmt.Errorf("restoring %s: %w", copies[i].ID, err)
	}
	if err := s.Activate(ctx, vault, nil, ida, jon, kim, lea); err != nil {
		return err
	}
	if officer, err = s.Act(ida); err != nil {
		return err
	}
	who, err := officer.API.Person(ctx, nora)
	if err != nil {
		return err
	}
	versions, err := officer.API.Versions(ctx, cardKey(2))
	if err != nil {
		return err
	}
	if who.Status != "left" || versions[0].State != "suspended" {
		return fmt.Errorf("after the restore nora is %s and the key %s", who.Status, versions[0].State)
	}
	s.say("The copy knew neither: the journal did. Nora is %s, the key is %s, and the shop works.", who.Status, versions[0].State)
	if err := s.useKey(ctx, cardKey(0)); err != nil {
		return err
	}
	_, err = s.Govern(ctx, ida, "key.resume", map[string]any{"key": cardKey(2), "finding": "explained: a clock on that host was wrong"}, "explained", nil, jon, kim)
	return err
}

// restore brings the instance back in another place from nothing but a copy, its journal, the trust file and people.
func (s *story) restore(ctx context.Context, file string) error {
	s.data = filepath.Join(s.dir, "elsewhere")
	session, in, err := s.session(file)
	if err != nil {
		return err
	}
	defer in.Collector.Wipe()
	for _, id := range []string{jon, kim} {
		given, err := s.Member(id).Contribute(session, s.clock.Now())
		if err != nil {
			return fmt.Errorf("%s bringing a share: %w", id, err)
		}
		in.Given = append(in.Given, given)
	}
	if _, err := boot.RehearseRestore(ctx, s.clock, in); err == nil {
		return errors.New("a copy was opened without a witness")
	}
	given, err := s.Member(wilm).Witness(session, s.clock.Now())
	if err != nil {
		return err
	}
	in.Given = append(in.Given, given)
	done, err := boot.RehearseRestore(ctx, s.clock, in)
	if err != nil {
		return err
	}
	for _, line := range session.Restrictions {
		s.say("Holds again: %s.", line)
	}
	s.say("Jon and Kim with a witness restored it elsewhere; what was lost since is named in the ledger, and who decided it.")
	if s.cfg, err = config.Load(config.Sources{Flags: map[string]string{"data_dir": done.DataDir, "listen": "127.0.0.1:0", "mode": string(custodian.Development)}}); err != nil {
		return err
	}
	return s.startAt(ctx, "seen-elsewhere")
}

// session verifies the copy and says what a restore of it would do.
func (s *story) session(path string) (*recovery.Opened, recovery.Input, error) {
	none := recovery.Input{}
	f, err := os.Open(path)
	if err != nil {
		return nil, none, fmt.Errorf("opening backup: %w", err)
	}
	defer f.Close()
	begin := recovery.BeginInput{Trust: s.Trust, Target: s.data, Driver: "sqlite", Now: s.clock.Now()}
	if begin.File, err = backup.Open(f, s.Trust); err != nil {
		return nil, none, err
	}
	if begin.Written, err = begin.File.Verify(); err != nil {
		return nil, none, err
	}
	head, err := begin.File.Manifest.Head(s.Trust)
	if err != nil {
		return nil, none, err
	}
	journals := []string{filepath.Join(s.dir, backupsDir)}
	if begin.Lost, err = backup.ReadJournals(journals, s.Trust, head.ControlCount); err != nil {
		return nil, none, err
	}
	collector, err := keyfile.Generate("restore-session", "ES256")
	if err != nil {
		return nil, none, err
	}
	begin.Collector = collector.Public().ShareKey
	_, raw, err := recovery.Begin(begin)
	if err != nil {
		collector.Wipe()
		return nil, none, err
	}
	session, err := recovery.Open(raw, s.Trust)
	return session, recovery.Input{Session: session, Trust: s.Trust, Collector: collector, Backup: path, Journals: journals}, err
}
