package boot

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"conclave/app/config"
	"conclave/custodian/ledger"
)

var (
	// ErrInUse: another process on this machine serves from the same data directory.
	ErrInUse = errors.New("data directory is in use by another process")
	// ErrDuplicate: another process serves as the same node, from another machine or another data directory.
	ErrDuplicate = errors.New("another process serves under this node.id, from a copy of this node's data directory: end one of them; a further replica is enrolled under an id of its own")
)

const (
	presenceEvery = 2 * time.Second
	presenceTTL   = 10 * time.Second // a process that died elsewhere is taken for dead after this
	// duplicateTold is how often starts that were refused are recorded at most: a supervisor tries again and again.
	duplicateTold = time.Hour
	directoryLock = "lock"
)

// presence is what keeps two processes from serving as one node. Two would have one node key for two collectors, take each
// other's leases, since jobs know nodes and not processes, and write one high-water file by turns. On one machine the lock on
// the data directory tells, which the kernel releases however a process ends. For copies of a data directory, on PostgreSQL, a
// lease in the database does: its holder is the place that a process runs at, and who has that place's lock knows that
// whoever held the lease there is dead, so that a restart waits for nobody.
type presence struct {
	s         *service
	place     string
	lock      *os.File
	displaced chan struct{} // closed once another process has taken this node's place
	once      sync.Once
}

// hold locks the data directory for this process: [ErrInUse].
func (s *service) hold() error {
	path := filepath.Join(s.cfg.DataDir, directoryLock)
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return fmt.Errorf("opening the lock of the data directory: %w", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		if errors.Is(err, unix.EWOULDBLOCK) {
			err = ErrInUse
		}
		return errors.Join(fmt.Errorf("locking %s: %w", path, err), f.Close())
	}
	place, err := placeOf(f)
	if err != nil {
		return errors.Join(err, f.Close())
	}
	s.presence = &presence{s: s, place: place, lock: f, displaced: make(chan struct{})}
	return nil
}

// placeOf names a lock file on a machine since that was started: another machine's, and a copy's, has another name.
func placeOf(f *os.File) (string, error) {
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return "", fmt.Errorf("telling this machine from others: %w", err)
	}
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return "", fmt.Errorf("telling this data directory from others: %w", err)
	}
	sum := sha256.Sum256(fmt.Appendf(nil, "%s %d %d", boot, st.Dev, st.Ino))
	return hex.EncodeToString(sum[:]), nil
}

func (p *presence) shared() bool { return p.s.cfg.Database.Driver == config.DriverPostgres }

func (p *presence) lease() string { return "node/" + p.s.cfg.Node.ID }

func (p *presence) take(ctx context.Context) (bool, error) {
	return p.s.store.Lease(ctx, p.lease(), p.place, presenceTTL)
}

// claim takes the node's place among the replicas. Where another process had it moments ago it waits until that one would
// have been taken for dead, and is [ErrDuplicate], on the record, where it lives.
func (p *presence) claim(ctx context.Context) error {
	if !p.shared() {
		return nil
	}
	deadline := time.NewTimer(presenceTTL + presenceEvery)
	defer deadline.Stop()
	again := time.NewTicker(presenceEvery / 4)
	defer again.Stop()
	for told := false; ; told = true {
		ours, err := p.take(ctx)
		if err != nil || ours {
			return err
		}
		if !told {
			p.s.log.Warn("this node served moments ago, from another machine or data directory: waiting to see whether it still does", "node", p.s.cfg.Node.ID, "at_most", presenceTTL+presenceEvery)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-again.C:
		case <-deadline.C:
			return errors.Join(p.duplicate(), p.tell(ctx))
		}
	}
}

// tell records that this process was refused, where no other was within the hour.
func (p *presence) tell(ctx context.Context) error {
	first, err := p.s.store.Lease(ctx, p.lease()+"/told", fmt.Sprintf("%s/%d", p.place, p.s.clock.Now().UnixNano()), duplicateTold)
	if err != nil || !first {
		return err
	}
	return p.record(ctx, "this one did not start")
}

func (p *presence) record(ctx context.Context, reason string) error {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	return p.s.recordNode(ctx, "node.duplicate", ledger.Failed, "another process serves as this node; "+reason,
		map[string]any{"host": ledger.CleanText(host), "data_dir": ledger.CleanText(p.s.cfg.DataDir)})
}

// renew keeps the node's place. Where another process has taken it, which it can while this one does not reach the database,
// this one ends.
func (p *presence) renew(ctx context.Context) error {
	ours, err := p.take(ctx)
	if err != nil || ours {
		return err
	}
	p.once.Do(func() { close(p.displaced) })
	return nil
}

// release lets another process have the place.
func (p *presence) release(ctx context.Context) error {
	if !p.shared() {
		return nil
	}
	return p.s.store.Release(ctx, p.lease(), p.place)
}

// lost says whether another process has this node's place.
func (p *presence) lost() bool {
	select {
	case <-p.displaced:
		return true
	default:
		return false
	}
}

func (p *presence) duplicate() error {
	return fmt.Errorf("node.id %q: %w", p.s.cfg.Node.ID, ErrDuplicate)
}
