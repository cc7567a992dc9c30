package boot

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"conclave/app/config"
	"conclave/ceremony/nodes"
	"conclave/ceremony/shamir"
	"conclave/custodian/backup"
	"conclave/custodian/clock"
	"conclave/custodian/jwk"
	"conclave/custodian/ledger"
)

// ErrNotJoined: the data directory has a node key, and not the keys of an instance.
var ErrNotJoined = errors.New("this node has a key of its own but not the keys of the instance: once it is enrolled, `conclave node join` fetches them")

// requestFile asks for the enrolment of the node whose key stands in the same data directory.
const requestFile = "enrolment-request.json"

// NodeFiles makes and completes the data directories of nodes.
func NodeFiles() nodes.Files {
	clk := clock.NewSystem()
	return nodes.Files{
		Init: func(dir, node string, trust *ledger.TrustFile) (nodes.Made, error) {
			made, err := initNode(clk, dir, node, trust)
			return made, coded(err)
		},
		Join: func(ctx context.Context, dir, node string, trust *ledger.TrustFile, call func(context.Context, []byte) ([]byte, error)) (nodes.Joined, error) {
			joined, err := joinNode(ctx, clk, dir, node, trust, call)
			return joined, coded(err)
		},
	}
}

// nodeConfig is where a node keeps its files.
func nodeConfig(dir, node string) (*config.Config, error) {
	return config.Load(config.Sources{Flags: map[string]string{"data_dir": dir, "node.id": node}})
}

// initNode makes a data directory with a node key, the trust file and the request, whole or not at all.
func initNode(clk clock.Clock, dir, node string, trust *ledger.TrustFile) (nodes.Made, error) {
	cfg, err := nodeConfig(dir, node)
	if err != nil {
		return nodes.Made{}, err
	}
	if err := emptyDir(cfg.DataDir); err != nil {
		return nodes.Made{}, err
	}
	parent := filepath.Dir(cfg.DataDir)
	if err := os.MkdirAll(parent, 0o755); err != nil {
		return nodes.Made{}, fmt.Errorf("making %s: %w", parent, err)
	}
	made, err := os.MkdirTemp(parent, "."+filepath.Base(cfg.DataDir)+".node-*")
	if err != nil {
		return nodes.Made{}, fmt.Errorf("making a directory beside the data directory: %w", err)
	}
	building := *cfg
	building.DataDir = made
	fingerprint, err := buildNode(clk, &building, trust)
	if err == nil {
		err = place(made, cfg.DataDir)
	}
	if err != nil {
		return nodes.Made{}, errors.Join(err, os.RemoveAll(made))
	}
	return nodes.Made{Node: node, Fingerprint: fingerprint, DataDir: cfg.DataDir, Request: filepath.Join(cfg.DataDir, requestFile)}, nil
}

func buildNode(clk clock.Clock, cfg *config.Config, trust *ledger.TrustFile) (fingerprint string, err error) {
	if err := mkKeyDir(cfg); err != nil {
		return "", err
	}
	key, err := generateNodeKey(cfg.NodeKeyFile(), cfg.Node.ID)
	if err != nil {
		return "", fmt.Errorf("making the node key: %w", err)
	}
	public, err := jwk.Parse(key.jwk)
	if err != nil {
		return "", err
	}
	request, err := nodes.SignRequest(key.signer, nodes.Request{Instance: trust.Instance, Node: cfg.Node.ID, PublicKey: key.jwk, MadeAt: clk.Now()})
	if err != nil {
		return "", err
	}
	if err := trust.Save(cfg.TrustFile()); err != nil {
		return "", fmt.Errorf("saving the trust file: %w", err)
	}
	return public.Fingerprint(), ledger.WriteFileAtomic(filepath.Join(cfg.DataDir, requestFile), request, 0o644)
}

// joinNode fetches the keys of the instance for an enrolled node. Done again after it was cut short at any point it comes
// to the same end: the key by which a start tells a node that has joined is written last.
func joinNode(ctx context.Context, clk clock.Clock, dir, node string, trust *ledger.TrustFile, call func(context.Context, []byte) ([]byte, error)) (nodes.Joined, error) {
	cfg, err := nodeConfig(dir, node)
	if err != nil {
		return nodes.Joined{}, err
	}
	key, err := loadNodeKey(cfg.NodeKeyFile(), node)
	if errors.Is(err, fs.ErrNotExist) {
		return nodes.Joined{}, fmt.Errorf("%s: %w: `conclave node init` makes a node key", cfg.DataDir, err)
	}
	if err != nil {
		return nodes.Joined{}, fmt.Errorf("loading the node key: %w", err)
	}
	opener, err := shamir.NewOpeningKey()
	if err != nil {
		return nodes.Joined{}, err
	}
	defer opener.Wipe()
	public, err := opener.Public().JSON()
	if err != nil {
		return nodes.Joined{}, err
	}
	envelope, err := nodes.SignJoin(key.signer, nodes.Join{Instance: trust.Instance, Node: node, Key: public, At: clk.Now()})
	if err != nil {
		return nodes.Joined{}, err
	}
	answer, err := call(ctx, envelope)
	if err != nil {
		return nodes.Joined{}, fmt.Errorf("asking for the keys of the instance: %w", err)
	}
	welcome, keys, err := nodes.OpenWelcome(answer, trust, node, opener)
	if err != nil {
		return nodes.Joined{}, fmt.Errorf("the answer is refused: %w", err)
	}
	defer keys.Wipe()
	return completeNode(ctx, clk, cfg, key, trust, welcome, keys)
}

// completeNode writes what the answer held.
func completeNode(ctx context.Context, clk clock.Clock, cfg *config.Config, key *nodeKey, trust *ledger.TrustFile, w *nodes.Welcome, keys *backup.Keys) (nodes.Joined, error) {
	enrolled := slices.ContainsFunc(w.List.Nodes, func(k ledger.NodeKey) bool { return k == key.pinned })
	if !enrolled {
		return nodes.Joined{}, fmt.Errorf("node.id %q: %w: the list of nodes in the answer has it not, or with another key", cfg.Node.ID, ErrNotEnrolled)
	}
	trust, err := w.List.Trust(trust, clk.Now())
	if err != nil {
		return nodes.Joined{}, err
	}
	if err := checkLogKey(cfg, trust, keys.Log); err != nil {
		return nodes.Joined{}, err
	}
	entries, err := firstMark(ctx, cfg, trust, w.List.Checkpoint)
	if err != nil {
		return nodes.Joined{}, err
	}
	if err := trust.Save(cfg.TrustFile()); err != nil {
		return nodes.Joined{}, fmt.Errorf("saving the trust file: %w", err)
	}
	for _, file := range []struct {
		path string
		text []byte
	}{{cfg.AuditKeyFile(), keys.Audit}, {cfg.ChallengeKeyFile(), keys.Challenge}, {cfg.LogKeyFile(), keys.Log}} {
		if err := ledger.WriteFileAtomic(file.path, file.text, 0o600); err != nil {
			return nodes.Joined{}, err
		}
	}
	loaded, err := loadKeys(cfg)
	if err != nil {
		return nodes.Joined{}, err
	}
	defer loaded.wipe()
	return nodes.Joined{Node: cfg.Node.ID, By: w.List.By, DataDir: cfg.DataDir, TrustFile: cfg.TrustFile(), Entries: entries}, nil
}

// checkLogKey refuses a log key other than the newest of the trust file, before it takes the place of any other.
func checkLogKey(cfg *config.Config, trust *ledger.TrustFile, text []byte) error {
	path := cfg.LogKeyFile() + ".new"
	if err := ledger.WriteFileAtomic(path, text, 0o600); err != nil {
		return err
	}
	key, err := ledger.LoadLogKey(path)
	if err == nil && trust.LogKeys[len(trust.LogKeys)-1] != key.VerifierKey {
		err = fmt.Errorf("%w: the log key in the answer is not the one that the trust file, or what succeeds it, has in force", ErrKeyFile)
	}
	return errors.Join(err, os.Remove(path))
}

// firstMark makes the checkpoint of the answer the highest that this node has seen, so that its very first start holds the
// database against it. A node that has seen one before keeps it: nobody's word takes it back.
func firstMark(ctx context.Context, cfg *config.Config, trust *ledger.TrustFile, note string) (uint64, error) {
	verifiers, err := trust.Verifiers()
	if err != nil {
		return 0, err
	}
	mark := ledger.NewHighWater(cfg.HighWaterFile(), trust.Origin, verifiers...)
	if head, seen, err := mark.Highest(); err != nil || seen {
		return head.Size, err
	}
	head, err := mark.Replace([]byte(note))
	if err != nil {
		return 0, fmt.Errorf("keeping the checkpoint: %w", err)
	}
	return head.Size, nil
}
