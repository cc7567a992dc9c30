package boot

import (
	"context"
	"fmt"

	"conclave/app/config"
	"conclave/ceremony/operation"
	"conclave/custodian/backup"
	"conclave/custodian/ledger"
	"conclave/hsm/secret"
)

// copier is what this process writes backups with.
func (s *service) copier() *operation.Copier {
	return &operation.Copier{Keys: func() (*backup.Keys, error) { return readKeyFiles(s.cfg) }, Signer: s.node.signer, NodeKey: s.node.pinned,
		LogKeys: []string{s.logKey.VerifierKey}, Program: s.version}
}

// keyFiles are the node's key files, in the places where a backup keeps each.
func keyFiles(cfg *config.Config, keys *backup.Keys) map[string]*[]byte {
	return map[string]*[]byte{cfg.LogKeyFile(): &keys.Log, cfg.NodeKeyFile(): &keys.Node, cfg.AuditKeyFile(): &keys.Audit, cfg.ChallengeKeyFile(): &keys.Challenge}
}

// readKeyFiles reads the node's key files as they are.
func readKeyFiles(cfg *config.Config) (*backup.Keys, error) {
	keys := new(backup.Keys)
	for path, into := range keyFiles(cfg, keys) {
		text, err := secret.ReadFile(path, maxKeyFile)
		if err != nil {
			keys.Wipe()
			return nil, fmt.Errorf("reading %s: %w", path, err)
		}
		*into = text
	}
	return keys, nil
}

// writeKeyFiles puts them where a new data directory keeps them, and checks that they are what they should be.
func writeKeyFiles(cfg *config.Config, keys *backup.Keys) (*nodeKeys, error) {
	if err := mkKeyDir(cfg); err != nil {
		return nil, err
	}
	for path, text := range keyFiles(cfg, keys) {
		if err := ledger.WriteFileAtomic(path, *text, 0o600); err != nil {
			return nil, err
		}
	}
	return loadKeys(cfg)
}

// backUp makes copies on one replica at a time, and looks after those of this node. Each step bears being done twice.
func (s *service) backUp(ctx context.Context) error {
	ours, err := s.store.Lease(ctx, backupLease, s.cfg.Node.ID, tickLease)
	if err != nil {
		return err
	}
	return s.engine.BackUp(ctx, ours)
}
