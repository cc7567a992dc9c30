package boot

import (
	"bytes"
	"context"
	"crypto/fips140"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"conclave/app/config"
	"conclave/app/monitor"
	"conclave/app/objectstore"
	"conclave/app/siem"
	"conclave/ceremony"
	"conclave/ceremony/bundles"
	"conclave/ceremony/operation"
	"conclave/custodian"
	"conclave/custodian/clock"
	"conclave/custodian/follow"
	"conclave/custodian/identity"
	"conclave/custodian/key"
	"conclave/custodian/ledger"
	"conclave/custodian/store"
	"conclave/hsm"
	"conclave/hsm/pkcs11"
	"conclave/policies"
	"conclave/reports"
)

// Refusals to start.
var (
	// ErrNoInstance: the data directory holds no instance.
	ErrNoInstance = errors.New("no instance here: `conclave init` makes one")
	// ErrNotEnrolled: the instance does not know this node, or knows it by another key.
	ErrNotEnrolled = errors.New("node is not enrolled in this instance")
)

// service is the custodian and everything that keeps it going, without its edge.
type service struct {
	cfg      *config.Config
	clock    clock.Clock
	log      *slog.Logger
	version  string
	logKeys  *logKeyDesk
	began    time.Time // when the instance did
	node     *nodeKey
	store    *store.Store
	segments *custodian.SegmentSource
	objects  *objectstore.Store // nil where none is configured
	archive  archiver
	door     *custodian.Service
	engine   *ceremony.Engine
	bundles  *bundles.Keeper
	modules  *pkcs11.Modules
	exports  []*siem.Exporter
	watchers *watchers
	watch    *monitor.Watch
	pass     *follow.Pass
	daily    *monitor.Daily
	logDays  *monitor.Days
	index    *monitor.Index
	alerts   chan store.Violation

	reportJobs *reportJobs // while it serves
	presence   *presence
	archives   *archiveWatch

	// paced: what time brings is done when a Rehearsal lets time pass, not in the background.
	paced         bool
	storageFailed atomic.Bool // the last periodic write did not succeed
	stopping      atomic.Bool
	turn          sync.Mutex         // of one tick
	asked         map[string]request // by keystore; the tick's own
}

// openService opens the ledger, compiles the policy bundle and wires what uses them.
func openService(ctx context.Context, cfg *config.Config, clk clock.Clock, logger *slog.Logger, version string) (*service, error) {
	keys, err := loadKeys(cfg)
	if _, own := os.Lstat(cfg.NodeKeyFile()); errors.Is(err, fs.ErrNotExist) && own == nil {
		return nil, fmt.Errorf("%s: %w: %w", cfg.DataDir, ErrNotJoined, err)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s: %w: %w", cfg.DataDir, ErrNoInstance, err)
	}
	if err != nil {
		return nil, err
	}
	defer keys.wipe()
	s := &service{cfg: cfg, clock: clk, log: logger, version: version, node: keys.node,
		modules: pkcs11.NewModules(), alerts: make(chan store.Violation, alertBacklog), asked: make(map[string]request), archive: archiver{checked: make(map[string]bool)}}
	s.archives = newArchiveWatch(s)
	if err := s.hold(); err != nil {
		return nil, err
	}
	if err := s.open(ctx, keys); err != nil {
		return nil, errors.Join(err, s.presence.lock.Close())
	}
	return s, nil
}

func (s *service) open(ctx context.Context, keys *nodeKeys) error {
	// Compiling policy and replaying the ledger take the most of a start, so they run side by side.
	compiled := compilePolicies(ctx)
	s.logKeys = &logKeyDesk{s: s}
	sc := storeConfig(s.cfg, keys.log, s.clock, s.log)
	var err error
	if s.objects, err = openObjects(s.cfg); err != nil {
		<-compiled
		return err
	}
	s.segments = custodian.NewSegmentSource(archives(s.objects))
	if sc.NextLogKeys, err = loadCandidates(s.cfg); err != nil {
		<-compiled
		return err
	}
	sc.Alert, sc.Permit, sc.Segments = s.alert, s.permit, s.segments
	s.store, err = store.Open(ctx, sc)
	bundle := <-compiled
	if err != nil {
		return err
	}
	if err = bundle.err; err == nil {
		err = s.wire(ctx, bundle.engine, keys)
	}
	if err != nil {
		return errors.Join(err, s.store.Close())
	}
	return nil
}

type compiledPolicies struct {
	engine *policies.Engine
	err    error
}

func compilePolicies(ctx context.Context) <-chan compiledPolicies {
	out := make(chan compiledPolicies, 1)
	go func() {
		engine, err := policies.New(ctx, policies.Options{})
		if err != nil {
			err = fmt.Errorf("compiling the policy bundle: %w", err)
		}
		out <- compiledPolicies{engine, err}
	}()
	return out
}

// wire checks that program, configuration and instance fit together and builds the door and the engine.
func (s *service) wire(ctx context.Context, engine *policies.Engine, keys *nodeKeys) error {
	if err := s.checkInstance(); err != nil {
		return err
	}
	_, first, err := s.store.EntryAt(ctx, 0)
	if err != nil {
		return fmt.Errorf("reading when the instance began: %w", err)
	}
	s.began = first.At
	if err := s.checkModules(); err != nil {
		return err
	}
	keystores, err := s.keystoreDrivers()
	if err != nil {
		return err
	}
	s.door, err = custodian.New(ctx, custodian.Config{Store: s.store, Policies: engine, Keystores: keystores,
		Node: s.cfg.Node.ID, AuditKey: keys.audit, Clock: s.clock, Logger: s.log})
	if err != nil {
		return err
	}
	if err := s.addGroups(); err != nil {
		return err
	}
	copier, err := s.copier()
	if err != nil {
		return err
	}
	s.engine, err = ceremony.New(ceremony.Config{Custodian: s.door, Operations: operation.All(), Drivers: s.driver,
		NodeSigner: s.node.signer, ChallengeKey: keys.challenge, Controls: controlTitle, Copier: copier, Archives: archives(s.objects), LogKeys: s.logKeys, Clock: s.clock, Logger: s.log})
	if err != nil {
		return err
	}
	program, err := os.Executable()
	if err != nil {
		return fmt.Errorf("finding this program, which judges proposed policies in a process of its own: %w", err)
	}
	if s.exports, err = s.exporters(); err != nil {
		return err
	}
	if s.watchers, err = s.newWatchers(); err != nil {
		return err
	}
	rules, err := monitor.LoadRules(s.cfg.Monitor.Rules)
	if err != nil {
		return config.Unusable("monitor.rules", err)
	}
	s.watch = monitor.NewWatch(s.store, s.cfg.Node.ID, s.door.Mark, rules, s.log)
	s.pass = follow.New(s.store, s.cfg.Node.ID, s.watch)
	evidence := func(ctx context.Context) (reports.Source, error) {
		return reports.FromStore(ctx, s.store)
	}
	s.daily = monitor.NewDaily(s.store, s.cfg.Node.ID, s.door.Mark, s.clock, evidence)
	s.index = monitor.NewIndex(s.store, s.cfg.Node.ID, s.door.Mark, s.log)
	s.logDays = monitor.NewDays(s.store, s.cfg.Node.ID, s.door.Mark, evidence)
	s.bundles, err = bundles.New(bundles.Config{Custodian: s.door, Sandbox: sandbox(program), Clock: s.clock, Logger: s.log})
	return err
}

// checkInstance holds the configuration against what genesis fixed.
func (s *service) checkInstance() error {
	view := s.store.View()
	instance, _, err := store.Get[custodian.Instance](view, custodian.KindInstance, custodian.InstanceRow)
	if err != nil {
		return fmt.Errorf("reading the instance record: %w", err)
	}
	if s.cfg.Mode != "" && s.cfg.Mode != string(instance.Mode) {
		return fmt.Errorf("%w: configuration says %s, instance %s is in %s mode since genesis", ErrMode, s.cfg.Mode, instance.Name, instance.Mode)
	}
	node, _, err := store.Get[custodian.Node](view, custodian.KindNode, s.cfg.Node.ID)
	if errors.Is(err, store.ErrNotFound) {
		return fmt.Errorf("node.id %q: %w", s.cfg.Node.ID, ErrNotEnrolled)
	}
	if err != nil {
		return fmt.Errorf("reading the node record: %w", err)
	}
	if err := node.Standing(); err != nil {
		return err
	}
	if !bytes.Equal(node.PublicKey, s.node.jwk) {
		return fmt.Errorf("node.id %q is enrolled with another key than %s: %w", s.cfg.Node.ID, s.cfg.NodeKeyFile(), ErrNotEnrolled)
	}
	return nil
}

// permit bars this process once its node is revoked. A row that is not to be believed bars nobody: whoever can edit rows
// could else stop every node.
func (s *service) permit(view *store.View) error {
	if err := custodian.NodeStanding(view, s.cfg.Node.ID); errors.Is(err, custodian.ErrNodeRevoked) {
		return err
	}
	return nil
}

func (s *service) keystoreDrivers() (map[string]hsm.Keystore, error) {
	out := map[string]hsm.Keystore{}
	for _, record := range s.keystores() {
		if record.Group != nil { // made of others: addGroups
			continue
		}
		d, err := s.driver(record)
		if err != nil {
			return nil, err
		}
		out[record.ID] = d
	}
	return out, nil
}

// keystores are the records in use.
func (s *service) keystores() []*key.Keystore {
	var out []*key.Keystore
	for _, record := range store.All[key.Keystore](s.store.View(), custodian.KindKeystore) {
		if record.Status == key.KeystoreRegistered {
			out = append(out, record)
		}
	}
	return out
}

// recover finishes what a process that died left behind, and records that this one serves now.
func (s *service) recover(ctx context.Context) error {
	ours, err := s.store.Lease(ctx, jobsLease, s.cfg.Node.ID, tickLease)
	if err != nil {
		return err
	}
	if err := s.recordStart(ctx); err != nil {
		return err
	}
	if ours {
		// What cannot be recovered now is tried again by every tick, and shown meanwhile.
		if err := s.engine.Recover(ctx); err != nil {
			s.log.Warn("ceremonies were left behind and not all could be recovered", "error", err)
		}
	}
	if err := s.tendKeystores(ctx); err != nil {
		s.log.Warn("keystores need attention", "error", err)
	}
	return nil
}

// recordStart records that this process serves from now on, with what program and module.
func (s *service) recordStart(ctx context.Context) error {
	if !s.store.Anchored() {
		s.log.Warn("this node kept no earlier checkpoint: it could not tell whether the database is an older one", "file", s.cfg.HighWaterFile())
	}
	return s.recordNode(ctx, "node.start", ledger.Done, "", map[string]any{"version": s.version, "go": runtime.Version(), "fips_140": fips(),
		"policy_digest": s.door.Policies().Digest(), "anchored": s.store.Anchored()})
}

func (s *service) recordNode(ctx context.Context, event string, outcome ledger.Outcome, reason string, detail map[string]any) error {
	_, err := s.store.Control(ctx, func(tx *store.Tx) error {
		return tx.Append(ledger.Entry{Type: event, Actor: identity.Principal{Kind: identity.Node, ID: s.cfg.Node.ID},
			Target: ledger.Target{Type: "node", ID: s.cfg.Node.ID}, Outcome: outcome, Reason: reason,
			Policy: s.door.Mark(), Detail: custodian.Detail(detail)})
	})
	if err != nil {
		return fmt.Errorf("recording %s: %w", event, err)
	}
	return nil
}

// ready lists why this node must not be given traffic; nil when it may.
func (s *service) ready() []string {
	var problems []string
	if s.stopping.Load() {
		problems = append(problems, "the node is shutting down")
	}
	if err := s.store.Health(); err != nil {
		problems = append(problems, err.Error())
	}
	if s.storageFailed.Load() {
		problems = append(problems, "ledger storage does not take writes")
	}
	if inactive, all := s.inactive(); inactive > 0 {
		problems = append(problems, fmt.Sprintf("%d of %d keystores inactive: custodians must bring their shares", inactive, all))
	}
	if err := s.door.Policies().Problem(); err != nil {
		problems = append(problems, "everything is refused: "+err.Error())
	}
	if problem := s.engine.ClockProblem(); problem != "" {
		problems = append(problems, "the clock disagrees: "+problem)
	}
	return problems
}

// close wipes what keystores hold, lets another replica do the jobs, and closes the ledger.
func (s *service) close(ctx context.Context) error {
	if s.bundles != nil {
		s.bundles.Close()
	}
	return errors.Join(s.store.Release(ctx, jobsLease, s.cfg.Node.ID), s.releaseExports(ctx), s.store.Release(ctx, witnessLease, s.cfg.Node.ID), s.pass.Release(ctx), s.daily.Release(ctx), s.logDays.Release(ctx), s.index.Release(ctx), s.presence.release(ctx), s.wipeKeystores(ctx),
		s.store.Close(), s.segments.Close(), s.presence.lock.Close())
}

func (s *service) wipeKeystores(ctx context.Context) error {
	var errs []error
	for _, record := range s.keystores() {
		if d, err := s.door.Keystore(record.ID); err == nil {
			errs = append(errs, d.Deactivate(ctx))
		}
	}
	return errors.Join(errs...)
}

// fips says what this process may claim about its cryptographic module: mode and version both count.
func fips() string {
	if !fips140.Enabled() {
		return "off (module " + fips140.Version() + ")"
	}
	return "on (module " + fips140.Version() + ")"
}
