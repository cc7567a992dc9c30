package client

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"

	"github.com/go-json-experiment/json"
	"golang.org/x/mod/sumdb/tlog"

	"conclave/custodian/ledger"
)

// CheckLedger fetches the newest checkpoint and holds it against everything known before: the trust
// file's log keys and least checkpoint, and the highest checkpoint that this client has seen of the
// instance, kept in stateDir. An older or another log is refused (ledger.ErrRollback, ledger.ErrFork);
// a newer one is remembered. It returns what the checkpoint says and its signed note.
func (c *Client) CheckLedger(ctx context.Context, trust *ledger.TrustFile, stateDir string) (ledger.Head, []byte, error) {
	verifiers, err := trust.Verifiers()
	if err != nil {
		return ledger.Head{}, nil, fmt.Errorf("checking ledger: %w", err)
	}
	if err := os.MkdirAll(stateDir, 0o700); err != nil {
		return ledger.Head{}, nil, fmt.Errorf("checking ledger: %w", err)
	}
	mark := ledger.NewHighWater(markPath(trust, stateDir), trust.Origin, verifiers...)
	prove := func(ctx context.Context, older, newer uint64) (tlog.TreeProof, error) {
		return c.ConsistencyProof(ctx, older, newer)
	}
	if err := c.offerLeast(ctx, trust, mark, prove); err != nil {
		return ledger.Head{}, nil, fmt.Errorf("checking ledger: %w", err)
	}
	note, err := c.Checkpoint(ctx)
	if err != nil {
		return ledger.Head{}, nil, fmt.Errorf("checking ledger: %w", err)
	}
	head, err := mark.Advance(ctx, note, prove)
	if err != nil {
		return ledger.Head{}, nil, fmt.Errorf("checking ledger: %w", err)
	}
	return head, note, nil
}

// HighestSeen returns the highest checkpoint of the instance that CheckLedger has accepted, and false
// where there is none yet.
func HighestSeen(trust *ledger.TrustFile, stateDir string) (ledger.Head, bool, error) {
	verifiers, err := trust.Verifiers()
	if err != nil {
		return ledger.Head{}, false, err
	}
	return ledger.NewHighWater(markPath(trust, stateDir), trust.Origin, verifiers...).Highest()
}

func markPath(trust *ledger.TrustFile, stateDir string) string {
	return filepath.Join(stateDir, trust.Instance+".checkpoint")
}

// offerLeast makes the trust file's checkpoint the mark where it is ahead of what was seen, so that even
// the first answer ever received is held against it.
func (c *Client) offerLeast(ctx context.Context, trust *ledger.TrustFile, mark *ledger.HighWater, prove ledger.Prove) error {
	least, pinned, err := trust.LeastHead()
	if err != nil || !pinned {
		return err
	}
	seen, any, err := mark.Highest()
	if err != nil {
		return err
	}
	if any && seen.Size >= least.Size {
		return nil
	}
	accepted, err := AcceptedRecoveries(trust, filepath.Dir(mark.Path()))
	if err != nil {
		return err
	}
	// A trust file made before a recovery that this client has accepted pins what was lost.
	if any && slices.ContainsFunc(accepted, func(r ledger.Recovery) bool { return seen.Size > r.Seq && r.Explains(least) }) {
		return nil
	}
	_, err = mark.Advance(ctx, []byte(trust.Least), prove)
	return err
}

// acceptedFile keeps the recoveries that the owner of a state directory has accepted.
func acceptedFile(trust *ledger.TrustFile, stateDir string) string {
	return filepath.Join(stateDir, trust.Instance+".recoveries")
}

const maxAccepted = 1 << 20

// AcceptedRecoveries are the recoveries of the instance that were judged and accepted here, oldest first.
func AcceptedRecoveries(trust *ledger.TrustFile, stateDir string) ([]ledger.Recovery, error) {
	data, err := os.ReadFile(acceptedFile(trust, stateDir))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil || len(data) > maxAccepted {
		return nil, errors.Join(errors.New("reading accepted recoveries"), err)
	}
	var out []ledger.Recovery
	if err := json.Unmarshal(data, &out, json.RejectUnknownMembers(true)); err != nil {
		return nil, fmt.Errorf("reading accepted recoveries %s: %w", acceptedFile(trust, stateDir), err)
	}
	return out, nil
}

// AcceptRecovery remembers that a recovery was judged and accepted, and takes the checkpoint of the recovered ledger
// for the highest seen. From then on the ledger that was left behind is refused. The caller has verified both.
func AcceptRecovery(trust *ledger.TrustFile, stateDir string, r ledger.Recovery, checkpoint []byte) error {
	if err := os.MkdirAll(stateDir, 0o700); err != nil {
		return fmt.Errorf("accepting recovery: %w", err)
	}
	verifiers, err := trust.Verifiers()
	if err != nil {
		return err
	}
	accepted, err := AcceptedRecoveries(trust, stateDir)
	if err != nil {
		return err
	}
	accepted = append(slices.DeleteFunc(accepted, func(old ledger.Recovery) bool { return old.ID == r.ID }), r)
	data, err := json.Marshal(accepted)
	if err != nil {
		return fmt.Errorf("accepting recovery: %w", err)
	}
	if err := ledger.WriteFileAtomic(acceptedFile(trust, stateDir), data, 0o600); err != nil {
		return fmt.Errorf("accepting recovery: %w", err)
	}
	_, err = ledger.NewHighWater(markPath(trust, stateDir), trust.Origin, verifiers...).Replace(checkpoint)
	return err
}

// LogSource reads the ledger over the API as the files of a tlog-tiles log, for ledger.Verify. Entry
// bundles are given to auditors only; of a bundle that was deleted the error is a *ledger.DeletedError too.
func (c *Client) LogSource() ledger.LogSource { return logSource{c} }

type logSource struct{ client *Client }

// ReadFile implements ledger.LogSource.
func (s logSource) ReadFile(ctx context.Context, path string) ([]byte, error) {
	switch path {
	case ledger.CheckpointFile:
		return s.client.Checkpoint(ctx)
	case ledger.LogKeysFile:
		return nil, fmt.Errorf("%s: %w", path, fs.ErrNotExist)
	}
	b, err := s.client.Tile(ctx, path)
	var p *Problem
	if errors.As(err, &p) && p.Deleted != nil {
		gone := &ledger.DeletedError{From: p.Deleted.From, To: p.Deleted.To, By: p.Deleted.Ceremony}
		return nil, fmt.Errorf("%s: %w: %w", path, fs.ErrNotExist, gone)
	}
	if errors.As(err, &p) && p.Status == http.StatusNotFound {
		return nil, fmt.Errorf("%s: %w", path, fs.ErrNotExist)
	}
	return b, err
}

// EntrySource reads raw entries over the API from the bundles of a log of a size, for ledger.ExportDir. What remains of
// deleted ones [Client.LogSource] reads.
func (c *Client) EntrySource(size uint64) ledger.EntrySource { return entrySource{c, size} }

type entrySource struct {
	client *Client
	size   uint64
}

// ReadEntries implements ledger.EntrySource.
func (s entrySource) ReadEntries(ctx context.Context, from, to uint64, fn func(seq uint64, raw []byte) error) error {
	if from > to || to > s.size {
		return fmt.Errorf("reading entries %d to %d of a log of %d: allowed: from ≤ to ≤ log", from, to, s.size)
	}
	for index := from / ledger.TileWidth; index*ledger.TileWidth < to; index++ {
		bundle, err := s.bundle(ctx, index)
		if err != nil {
			return err
		}
		seq := index * ledger.TileWidth
		for raw, err := range ledger.ReadBundle(bundle) {
			if err != nil {
				return fmt.Errorf("entry bundle %d: %w", index, err)
			}
			if seq >= from && seq < to {
				if err := fn(seq, raw); err != nil {
					return err
				}
			}
			seq++
		}
		if want := min(to, (index+1)*ledger.TileWidth); seq < want {
			return fmt.Errorf("entry bundle %d: ends at entry %d, want %d: %w", index, seq, want, ledger.ErrTruncated)
		}
	}
	return nil
}

// bundle reads an entry bundle; a partial one that is gone has been completed meanwhile.
func (s entrySource) bundle(ctx context.Context, index uint64) ([]byte, error) {
	width := int(min(ledger.TileWidth, s.size-index*ledger.TileWidth))
	source := logSource{s.client}
	b, err := source.ReadFile(ctx, ledger.EntriesPath(index, width))
	if errors.Is(err, fs.ErrNotExist) && width < ledger.TileWidth {
		b, err = source.ReadFile(ctx, ledger.EntriesPath(index, ledger.TileWidth))
	}
	return b, err
}
