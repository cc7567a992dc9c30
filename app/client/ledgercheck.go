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

	"conclave/custodian/ledger"
)

// CheckLedger fetches the newest checkpoint and holds it against everything known before: the trust
// file's log keys and least checkpoint, and the highest checkpoint that this client has seen of the
// instance, kept in stateDir. An older or another log is refused (ledger.ErrRollback, ledger.ErrFork);
// a newer one is remembered. Where the log key was replaced the succession is followed, handover by
// handover, and kept there too: see [Followed]. It returns what the checkpoint says and its signed note.
func (c *Client) CheckLedger(ctx context.Context, trust *ledger.TrustFile, stateDir string) (ledger.Head, []byte, error) {
	head, note, _, err := c.checkLedger(ctx, trust, stateDir)
	return head, note, err
}

// CheckLedgerFrom is CheckLedger for whoever holds something against the newest checkpoint besides: prove has the proof from
// a log of size at hand.
func (c *Client) CheckLedgerFrom(ctx context.Context, trust *ledger.TrustFile, stateDir string, size uint64) (ledger.Head, ledger.Prove, error) {
	head, _, prove, err := c.checkLedger(ctx, trust, stateDir, size)
	return head, prove, err
}

func (c *Client) checkLedger(ctx context.Context, pinned *ledger.TrustFile, stateDir string, sizes ...uint64) (ledger.Head, []byte, ledger.Prove, error) {
	head, note, prove, err := c.newest(ctx, pinned, stateDir, sizes)
	if err != nil {
		return ledger.Head{}, nil, nil, fmt.Errorf("checking ledger: %w", err)
	}
	return head, note, prove, nil
}

func (c *Client) newest(ctx context.Context, pinned *ledger.TrustFile, stateDir string, sizes []uint64) (ledger.Head, []byte, ledger.Prove, error) {
	trust, err := Followed(pinned, stateDir)
	if err != nil {
		return ledger.Head{}, nil, nil, err
	}
	if err := os.MkdirAll(stateDir, 0o700); err != nil {
		return ledger.Head{}, nil, nil, err
	}
	mark, err := markOf(trust, stateDir)
	if err != nil {
		return ledger.Head{}, nil, nil, err
	}
	if err := c.offerLeast(ctx, trust, mark); err != nil {
		return ledger.Head{}, nil, nil, err
	}
	seen, _, err := mark.Highest()
	if err != nil {
		return ledger.Head{}, nil, nil, err
	}
	note, prove, err := c.progress(ctx, append(sizes, seen.Size)...)
	if err != nil {
		return ledger.Head{}, nil, nil, err
	}
	head, err := mark.Advance(ctx, note, prove)
	if !errors.Is(err, ledger.ErrSignature) {
		return head, note, prove, err
	}
	// Signed by a key that is not known yet, or by one that was replaced: only handovers can make it good.
	next, followErr := c.follow(ctx, trust, stateDir)
	if followErr != nil || len(next.LogKeys) == len(trust.LogKeys) {
		return ledger.Head{}, nil, nil, errors.Join(err, followErr)
	}
	if mark, err = markOf(next, stateDir); err != nil {
		return ledger.Head{}, nil, nil, err
	}
	head, err = mark.Advance(ctx, note, prove)
	return head, note, prove, err
}

// follow fetches the handovers of the log key, takes over those that the keys known so far signed, and makes each the
// highest checkpoint seen on the way: the log that the new key signs must contain it.
func (c *Client) follow(ctx context.Context, trust *ledger.TrustFile, stateDir string) (*ledger.TrustFile, error) {
	handovers, err := c.Handovers(ctx)
	if err != nil {
		return nil, err
	}
	next, err := trust.Follow(handovers...)
	if err != nil {
		return nil, fmt.Errorf("succession of the log key: %w", err)
	}
	if len(next.LogKeys) == len(trust.LogKeys) {
		return next, nil
	}
	mark, err := markOf(next, stateDir)
	if err != nil {
		return nil, err
	}
	for _, note := range next.Handovers[len(trust.Handovers):] {
		if _, err := mark.Advance(ctx, []byte(note), c.ConsistencyProof); err != nil && !errors.Is(err, ledger.ErrRollback) {
			return nil, fmt.Errorf("succession of the log key: %w", err)
		}
	}
	return next, saveHandovers(trust, stateDir, next.Handovers)
}

// handoversFile keeps the handovers that this client has followed. They prove themselves by the key that is pinned.
func handoversFile(trust *ledger.TrustFile, stateDir string) string {
	return filepath.Join(stateDir, trust.Instance+".handovers")
}

func saveHandovers(trust *ledger.TrustFile, stateDir string, handovers []string) error {
	data, err := ledger.EncodeHandovers(handovers)
	if err != nil {
		return err
	}
	if err := ledger.WriteFileAtomic(handoversFile(trust, stateDir), data, 0o600); err != nil {
		return fmt.Errorf("remembering who succeeded the log key: %w", err)
	}
	return nil
}

// Followed is the trust file with the log keys that this client has seen succeed those which it pins.
func Followed(trust *ledger.TrustFile, stateDir string) (*ledger.TrustFile, error) {
	data, err := os.ReadFile(handoversFile(trust, stateDir))
	if errors.Is(err, fs.ErrNotExist) {
		return trust, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading who succeeded the log key: %w", err)
	}
	handovers, err := ledger.ParseHandovers(data)
	if err == nil {
		trust, err = trust.Follow(handovers...)
	}
	if err != nil {
		return nil, fmt.Errorf("reading who succeeded the log key, %s: %w", handoversFile(trust, stateDir), err)
	}
	return trust, nil
}

func markOf(trust *ledger.TrustFile, stateDir string) (*ledger.HighWater, error) {
	verifiers, err := trust.Verifiers()
	if err != nil {
		return nil, err
	}
	return ledger.NewHighWater(markPath(trust, stateDir), trust.Origin, verifiers...), nil
}

// HighestSeen returns the highest checkpoint of the instance that CheckLedger has accepted, and false
// where there is none yet.
func HighestSeen(trust *ledger.TrustFile, stateDir string) (ledger.Head, bool, error) {
	followed, err := Followed(trust, stateDir)
	if err != nil {
		return ledger.Head{}, false, err
	}
	mark, err := markOf(followed, stateDir)
	if err != nil {
		return ledger.Head{}, false, err
	}
	return mark.Highest()
}

func markPath(trust *ledger.TrustFile, stateDir string) string {
	return filepath.Join(stateDir, trust.Instance+".checkpoint")
}

// offerLeast makes the trust file's checkpoint the mark where it is ahead of what was seen, so that even
// the first answer ever received is held against it.
func (c *Client) offerLeast(ctx context.Context, trust *ledger.TrustFile, mark *ledger.HighWater) error {
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
	_, err = mark.Advance(ctx, []byte(trust.Least), c.ConsistencyProof)
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
// for the highest seen. From then on the ledger that was left behind is refused, and so are log keys that came into force
// in what was lost: handovers are those of the recovered ledger. The caller has verified all of it.
func AcceptRecovery(trust *ledger.TrustFile, stateDir string, r ledger.Recovery, checkpoint []byte, handovers []string) error {
	if err := os.MkdirAll(stateDir, 0o700); err != nil {
		return fmt.Errorf("accepting recovery: %w", err)
	}
	followed, err := trust.Follow(handovers...)
	if err != nil {
		return err
	}
	mark, err := markOf(followed, stateDir)
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
	if err := saveHandovers(trust, stateDir, followed.Handovers); err != nil {
		return err
	}
	_, err = mark.Replace(checkpoint)
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
	case ledger.HandoversFile:
		handovers, err := s.client.Handovers(ctx)
		var p *Problem
		switch {
		case errors.As(err, &p) && p.Status == http.StatusNotFound: // a service that has none to show
			return nil, fmt.Errorf("%s: %w", path, fs.ErrNotExist)
		case err != nil:
			return nil, err
		}
		return ledger.EncodeHandovers(handovers)
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
