package boot

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"conclave/app/config"
	"conclave/app/objectstore"
	"conclave/ceremony/operation"
	"conclave/custodian"
	"conclave/custodian/backup"
	"conclave/custodian/ledger"
	"conclave/custodian/segment"
	"conclave/hsm/secret"
)

// copier is what this process writes backups with.
func (s *service) copier() (*operation.Copier, error) {
	c := &operation.Copier{Keys: s.keyFiles, Signer: s.node.signer, NodeKey: s.node.pinned,
		Program: s.version, Journals: s.cfg.JournalDir()}
	if s.objects == nil {
		return c, nil
	}
	if err := os.Mkdir(s.cfg.JournalDir(), 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, fmt.Errorf("making the directory of journals: %w", err)
	}
	c.Objects = s.objects
	return c, nil
}

// openObjects is the object store of this configuration; nil where there is none.
func openObjects(cfg *config.Config) (*objectstore.Store, error) {
	if cfg.S3.Region == "" {
		return nil, nil
	}
	return objectstore.New(objectstore.Config{Endpoint: cfg.S3.Endpoint, Region: cfg.S3.Region, CredentialsFile: cfg.S3.CredentialsFile,
		CAFile: cfg.S3.CAFile, PathStyle: cfg.S3.PathStyle})
}

// archives is the object store of ledger archives; nil where there is none.
func archives(objects *objectstore.Store) segment.Objects {
	if objects == nil {
		return nil
	}
	return objects
}

// keyFiles are the node's key files as they are, the log key's being the one in force.
func (s *service) keyFiles() (*backup.Keys, error) {
	keys, err := readKeyFiles(s.cfg)
	if err != nil {
		return nil, err
	}
	text, err := s.logKeys.text()
	if err != nil {
		keys.Wipe()
		return nil, err
	}
	secret.Wipe(keys.Log)
	keys.Log = text
	return keys, nil
}

// trust is what documents of the nodes that serve this instance are verified against.
func (s *service) trust() (*ledger.TrustFile, error) {
	view, _, keys := s.store.Published()
	trust, err := (&operation.Copier{NodeKey: s.node.pinned}).Trust(view, keys, s.door.Instance(), s.clock.Now())
	if err == nil {
		trust.NodeKeys, err = custodian.NodeKeys(view, false)
	}
	return trust, err
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
