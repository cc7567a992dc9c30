package boot

import (
	"context"
	"errors"
	"sync"
	"time"

	"conclave/app/config"
	"conclave/ceremony"
	"conclave/custodian"
	"conclave/custodian/identity"
	"conclave/custodian/key"
	"conclave/custodian/ledger"
	"conclave/custodian/store"
	"conclave/hsm"
)

// Rhythm of the background. Each is short enough that nobody waits for it and long enough to cost nothing.
const (
	tickEvery    = 2 * time.Second
	tickLease    = 10 * time.Second // a replica that died is replaced after this
	sweepEvery   = 30 * time.Second
	refreshEvery = time.Second
	purgeEvery   = time.Hour
	followEvery  = 5 * time.Second  // how far counts, index and rules may be behind
	dailyEvery   = 10 * time.Minute // looks whether a day is over
	logDaysEvery = time.Minute      // the summary of a day comes that late
	indexEvery   = time.Minute      // between two looks at some blocks of the index for searches
	repliesKept  = 24 * time.Hour   // how long an Idempotency-Key is remembered
	alertBacklog = 256
	jobsLease    = "jobs"
	backupEvery  = 2 * time.Second
	renewEvery   = 10 * time.Second // a sign of life of long effects, where one is due
	backupLease  = "backup"
	// askAgain is how long the node waits before it asks again for an activation that was refused, so that
	// refusals, which are recorded, do not fill the ledger.
	askAgain = 10 * time.Minute
)

// request is what this node knows of its asking for one keystore's activation.
type request struct {
	notBefore time.Duration // monotonic: not asked again until then
	ceremony  string        // announced in the log
}

// run works in the background until ctx ends, and returns when all of it has stopped.
func (s *service) run(ctx context.Context) {
	var group sync.WaitGroup
	group.Go(func() { s.store.Guard(ctx, sweepEvery) })
	group.Go(func() { s.recordAlerts(ctx) })
	group.Go(func() { s.wakened(ctx, reportsEvery, s.reportJobs.asked, "reports", s.reportJobs.work) })
	if !s.paced {
		group.Go(func() { s.every(ctx, tickEvery, "tick", s.tick) })
		group.Go(func() { s.every(ctx, backupEvery, "backup", s.backUp) })
		group.Go(func() { s.every(ctx, backupEvery, "journal", s.engine.Journal) })
		group.Go(func() { s.every(ctx, renewEvery, "effects", s.engine.Renew) })
		group.Go(func() { s.every(ctx, logDaysEvery, "log-days", s.logDays.Run) })
		group.Go(func() { s.every(ctx, indexEvery, "index", s.index.Run) })
		group.Go(func() { s.every(ctx, dailyEvery, "daily", s.daily.Run) })
		group.Go(func() { s.every(ctx, archiveEvery, "archive", s.dropArchived) })
	}
	group.Go(func() { s.every(ctx, lookAtArchivesEvery, "archived-files", s.archives.look) })
	group.Go(func() { s.every(ctx, purgeEvery, "purge", s.purge) })
	group.Go(func() { s.every(ctx, followEvery, "follow", s.pass.Run) })
	s.runExports(ctx, &group)
	group.Go(func() { s.every(ctx, witnessEvery, "witness", s.haveWitnessed) })
	if s.cfg.Database.Driver == config.DriverPostgres {
		group.Go(func() { s.every(ctx, refreshEvery, "refresh", s.store.Refresh) })
		group.Go(func() { s.every(ctx, presenceEvery, "presence", s.presence.renew) })
	}
	group.Go(func() { s.every(ctx, refreshEvery, "logkey", s.logKeys.tend) })
	group.Wait()
}

// every runs a job now and then.
func (s *service) every(ctx context.Context, pause time.Duration, name string, job func(context.Context) error) {
	s.wakened(ctx, pause, nil, name, job)
}

// wakened runs a job now and then, and when it is told to. Of a failure that repeats itself only the first is logged,
// and its end.
func (s *service) wakened(ctx context.Context, pause time.Duration, wake <-chan struct{}, name string, job func(context.Context) error) {
	ticker := time.NewTicker(pause)
	defer ticker.Stop()
	last := ""
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		case <-wake:
		}
		err := job(ctx)
		if ctx.Err() != nil {
			return
		}
		switch {
		case err == nil && last != "":
			s.log.Info("background job works again", "job", name)
			last = ""
		case err != nil && err.Error() != last:
			s.log.Warn("background job failed", "job", name, "error", err)
			last = err.Error()
		}
	}
}

// tick does what time brings. Ceremonies are looked after by one replica at a time; every node looks after its
// own keystores; one tick at a time in a process. Taking the lease writes, and so also tells whether the storage takes writes.
func (s *service) tick(ctx context.Context) error {
	s.turn.Lock()
	defer s.turn.Unlock()
	if err := s.store.CanSign(); err != nil { // another replica, which can, is to have the lease
		return err
	}
	ours, err := s.store.Lease(ctx, jobsLease, s.cfg.Node.ID, tickLease)
	s.storageFailed.Store(errors.Is(err, store.ErrUnavailable))
	if err != nil {
		return err
	}
	s.engine.Sweep()
	err = errors.Join(s.tendKeystores(ctx), s.engine.RunGathered(ctx), s.engine.NoteActivity(ctx), s.engine.HandOver(ctx))
	if ours {
		err = errors.Join(err, s.engine.Tick(ctx))
	}
	return err
}

// tendKeystores gives keystores that were registered on another replica their driver here, and asks the
// custodians for those that are inactive.
func (s *service) tendKeystores(ctx context.Context) error {
	errs := []error{s.closeRetired(ctx)}
	for _, record := range s.keystores() {
		d, err := s.door.Keystore(record.ID)
		if errors.Is(err, store.ErrNotFound) {
			if d, err = s.driver(record); err == nil {
				// Somebody else may have added it meanwhile; then that one is used.
				_ = s.door.AddKeystore(record.ID, d)
				d, err = s.door.Keystore(record.ID)
			}
		}
		if err != nil {
			errs = append(errs, err)
			continue
		}
		// Where the activation secret was replaced on another replica, this one's is of no use any more.
		if r, ok := d.(hsm.Rekeyer); ok {
			r.Follow(record.Verifier)
		}
		if d.Active() {
			delete(s.asked, record.ID)
			continue
		}
		if record.Initialised() && s.asksFor(record) { // until then nothing opens it
			errs = append(errs, s.askForActivation(ctx, record.ID))
		}
	}
	return errors.Join(errs...)
}

// closeRetired takes their activation secrets away from keystores that were retired or zeroised, on whichever replica.
func (s *service) closeRetired(ctx context.Context) error {
	var errs []error
	for _, record := range store.All[key.Keystore](s.store.View(), custodian.KindKeystore) {
		if record.Status == key.KeystoreRegistered {
			continue
		}
		if d, err := s.door.Keystore(record.ID); err == nil && d.Active() {
			errs = append(errs, d.Deactivate(ctx))
		}
	}
	return errors.Join(errs...)
}

// askForActivation opens the activation ceremony of an inactive keystore in the node's name. Until enough
// holders have confirmed their shares there is nothing to ask for.
func (s *service) askForActivation(ctx context.Context, keystore string) error {
	before := s.asked[keystore]
	if s.clock.Elapsed() < before.notBefore {
		return nil
	}
	c, err := s.engine.ActivationFor(ctx, keystore)
	switch {
	case errors.Is(err, ceremony.ErrUnconfirmed), errors.Is(err, ceremony.ErrClockDisagrees), errors.Is(err, store.ErrUnavailable):
		return nil // nothing was recorded; readiness says what is missing
	case err != nil:
		s.asked[keystore] = request{notBefore: s.clock.Elapsed() + askAgain}
		return err
	}
	if before.ceremony != c.ID {
		s.log.Info("keystore is inactive: custodians are asked for their shares", "keystore", keystore, "ceremony", c.ID, "threshold", c.Threshold)
	}
	s.asked[keystore] = request{ceremony: c.ID}
	return nil
}

func (s *service) purge(ctx context.Context) error {
	_, err := s.store.PurgeIdempotency(ctx, s.clock.Now().Add(-repliesKept))
	return err
}

// alert is told by the store of a contradiction between database and ledger. It must not wait.
func (s *service) alert(v store.Violation) {
	s.log.Error("database contradicts the ledger", "object", v.Object, "problem", v.Problem, "kind", v.Kind, "id", v.ID, "detail", v.Detail)
	select {
	case s.alerts <- v:
	default: // logged above; the sweep finds it as long as it is there
		s.log.Error("too many contradictions at once: this one is not recorded as an entry")
	}
}

// recordAlerts makes every contradiction an entry. When writing has stopped, the log is what remains.
func (s *service) recordAlerts(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case v := <-s.alerts:
			if err := s.recordViolation(ctx, v); err != nil && ctx.Err() == nil {
				s.log.Error("contradiction not recorded", "error", err)
			}
		}
	}
}

func (s *service) recordViolation(ctx context.Context, v store.Violation) error {
	entry := ledger.Entry{Type: "integrity.violation", Actor: identity.Principal{Kind: identity.Node, ID: s.cfg.Node.ID},
		Target: ledger.Target{Type: v.Object, ID: ledger.CleanText(v.ID)}, Outcome: ledger.Failed, Reason: string(v.Problem),
		Policy: s.door.Mark(),
		Detail: custodian.Detail(map[string]any{"kind": v.Kind, "problem": v.Problem, "seq": v.Seq, "detail": v.Detail})}
	if v.Kind != "" {
		entry.Target.Type = string(v.Kind)
	}
	ledger.ShrinkDetail(&entry)
	_, err := s.store.Control(ctx, func(tx *store.Tx) error { return tx.Append(entry) })
	return err
}
