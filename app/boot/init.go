package boot

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"

	"conclave/app/config"
	"conclave/ceremony"
	"conclave/ceremony/genesis"
	"conclave/custodian"
	"conclave/custodian/clock"
	"conclave/custodian/ledger"
	"conclave/custodian/store"
	"conclave/policies"
)

// InitOptions are what an instance is made of. All fields but Clock are required.
type InitOptions struct {
	Config     *config.Config
	Genesis    []byte      // the genesis file's exact bytes
	Signatures [][]byte    // of everybody named in it
	Clock      clock.Clock // nil: the system's
}

// InitResult says what was made.
type InitResult struct {
	Instance  string         `json:"instance"` // SHA-256 of the genesis file
	Name      string         `json:"name"`
	Mode      custodian.Mode `json:"mode"`
	Node      string         `json:"node"`
	DataDir   string         `json:"data_dir"`
	TrustFile string         `json:"trust_file"` // to be handed to everybody who verifies
}

// Refusals of Init.
var (
	// ErrNotEmpty: there is something in the data directory, and it is left alone.
	ErrNotEmpty = errors.New("data directory is not empty")
	// ErrMode: the configuration says another mode than genesis chose.
	ErrMode = errors.New("mode disagrees with genesis")
)

// Init makes an instance from a signed genesis file: keys, ledger with entry 0, trust file. It appears in the
// data directory whole or not at all: everything is made beside it and renamed. A database outside the data
// directory is written last.
func Init(ctx context.Context, opts InitOptions) (InitResult, error) {
	cfg := opts.Config
	if err := cfg.Validate(); err != nil {
		return InitResult{}, err
	}
	if opts.Clock == nil {
		opts.Clock = clock.NewSystem()
	}
	engine, err := checkGenesis(ctx, cfg, opts.Genesis)
	if err != nil {
		return InitResult{}, err
	}
	if err := emptyDir(cfg.DataDir); err != nil {
		return InitResult{}, err
	}
	parent := filepath.Dir(cfg.DataDir)
	if err := os.MkdirAll(parent, 0o755); err != nil {
		return InitResult{}, fmt.Errorf("making %s: %w", parent, err)
	}
	made, err := os.MkdirTemp(parent, "."+filepath.Base(cfg.DataDir)+".init-*")
	if err != nil {
		return InitResult{}, fmt.Errorf("making a directory beside the data directory: %w", err)
	}
	building := *cfg
	building.DataDir = made
	result, err := build(ctx, &building, opts, engine)
	if err != nil {
		return InitResult{}, errors.Join(err, os.RemoveAll(made))
	}
	if err := place(made, cfg.DataDir); err != nil {
		if cfg.DatabaseInside() {
			return InitResult{}, errors.Join(err, os.RemoveAll(made))
		}
		// The database is begun and only these keys fit it.
		return InitResult{}, fmt.Errorf("the instance is made, its files are in %s and must be moved to %s by hand: %w", made, cfg.DataDir, err)
	}
	result.DataDir, result.TrustFile = cfg.DataDir, cfg.TrustFile()
	return result, nil
}

// checkGenesis refuses what this program could not run afterwards.
func checkGenesis(ctx context.Context, cfg *config.Config, file []byte) (*policies.Engine, error) {
	f, err := genesis.Load(file)
	if err != nil {
		return nil, err
	}
	if cfg.Mode != "" && cfg.Mode != string(f.Mode) {
		return nil, fmt.Errorf("%w: configuration says %s, the genesis file %s", ErrMode, cfg.Mode, f.Mode)
	}
	engine, err := policies.New(ctx, policies.Options{})
	if err != nil {
		return nil, fmt.Errorf("compiling the policy bundle: %w", err)
	}
	if d := engine.Digest(); d != f.PolicyDigest {
		return nil, fmt.Errorf("policy_digest of the genesis file: %w", &custodian.PolicyMismatch{InForce: f.PolicyDigest, Loaded: d})
	}
	return engine, nil
}

// build makes everything below cfg.DataDir.
func build(ctx context.Context, cfg *config.Config, opts InitOptions, engine *policies.Engine) (InitResult, error) {
	origin, err := ledger.Origin(genesis.Digest(opts.Genesis))
	if err != nil {
		return InitResult{}, fmt.Errorf("naming the ledger: %w", err)
	}
	keys, err := generateKeys(cfg, origin)
	if err != nil {
		return InitResult{}, err
	}
	defer keys.wipe()
	begin, err := genesis.Prepare(opts.Genesis, opts.Signatures, keys.node.row(cfg.Node.ID), opts.Clock.Now())
	if err != nil {
		return InitResult{}, err
	}
	if err := begin.Carry(engine); err != nil {
		return InitResult{}, err
	}
	sc := storeConfig(cfg, keys.log, opts.Clock, slog.New(slog.DiscardHandler))
	if err := store.Initialise(ctx, sc, begin.Apply); err != nil {
		return InitResult{}, err
	}
	instance := begin.Instance()
	if err := saveTrust(cfg, keys, instance, opts.Clock); err != nil {
		return InitResult{}, err
	}
	return InitResult{Instance: instance.ID, Name: instance.Name, Mode: instance.Mode, Node: cfg.Node.ID}, nil
}

// saveTrust writes what outsiders pin: the instance, its keys, and the checkpoint of its beginning.
func saveTrust(cfg *config.Config, keys *nodeKeys, instance custodian.Instance, clk clock.Clock) error {
	note, err := os.ReadFile(cfg.HighWaterFile())
	if err != nil {
		return fmt.Errorf("reading the first checkpoint: %w", err)
	}
	trust := ledger.TrustFile{
		Instance: instance.ID, Origin: keys.log.Origin, Mode: string(instance.Mode), LogKeys: []string{keys.log.VerifierKey},
		NodeKeys: []ledger.NodeKey{keys.node.pinned}, Least: string(note), CreatedAt: clk.Now(),
	}
	if err := trust.Save(cfg.TrustFile()); err != nil {
		return fmt.Errorf("saving the trust file: %w", err)
	}
	return nil
}

// storeConfig is the store of this configuration, without anybody to alert and without an object store to read archives in.
func storeConfig(cfg *config.Config, logKey *ledger.LogKey, clk clock.Clock, logger *slog.Logger) store.Config {
	return store.Config{
		Driver: cfg.Database.Driver, DSN: cfg.DSN(), Schema: ceremony.Schema(custodian.Schema()), LogKey: logKey,
		HighWaterPath: cfg.HighWaterFile(), Clock: clk, Logger: logger, Node: cfg.Node.ID, Segments: custodian.NewSegmentSource(nil),
	}
}

func emptyDir(path string) error {
	entries, err := os.ReadDir(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return fmt.Errorf("looking into the data directory: %w", err)
	case len(entries) > 0:
		return fmt.Errorf("%w: %s holds %q; give a new one", ErrNotEmpty, path, entries[0].Name())
	}
	return nil
}

// place moves the finished directory to where it belongs, durably. An empty directory there gives way.
func place(made, dir string) error {
	const where = "putting the data directory into place (it must not be a mount point, the directory above it may be): %w"
	if err := os.Remove(dir); err != nil && !errors.Is(err, fs.ErrNotExist) { // fails for one that is not empty
		return fmt.Errorf(where, err)
	}
	if err := os.Rename(made, dir); err != nil {
		return fmt.Errorf(where, err)
	}
	parent, err := os.Open(filepath.Dir(dir))
	if err != nil {
		return fmt.Errorf("syncing: %w", err)
	}
	defer parent.Close()
	if err := parent.Sync(); err != nil {
		return fmt.Errorf("syncing %s: %w", parent.Name(), err)
	}
	return nil
}
