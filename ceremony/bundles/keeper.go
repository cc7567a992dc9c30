package bundles

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"conclave/ceremony"
	"conclave/ceremony/operation"
	"conclave/custodian"
	"conclave/custodian/clock"
	"conclave/custodian/identity"
	"conclave/custodian/ledger"
	"conclave/custodian/people"
	"conclave/custodian/store"
	"conclave/policies"
)

// Bounds (ours).
const (
	// MaxCandidates are kept that were never in force. A further one takes the place of the oldest that no open
	// ceremony is about.
	MaxCandidates = 16
	// checkTimeout bounds the check of one bundle, its tests included, where the configuration says nothing.
	checkTimeout = 25 * time.Second
)

// Refusals.
var (
	ErrBusy = errors.New("another policy bundle is being checked or back-tested")
	ErrFull = errors.New("too many proposed bundles are in open ceremonies")
)

// Config wires a Keeper. All fields but CheckTimeout and Logger are required.
type Config struct {
	Custodian *custodian.Service
	Sandbox   policies.Sandbox
	// CheckTimeout bounds the check of one bundle; zero for the service's own bound, 25 s.
	CheckTimeout time.Duration
	Clock        clock.Clock
	Logger       *slog.Logger
}

// Keeper takes bundles in and tries them. Safe for concurrent use.
type Keeper struct {
	door     *custodian.Service
	sandbox  policies.Sandbox
	patience time.Duration // with the check of one bundle
	clock    clock.Clock
	log      *slog.Logger

	checking sync.Mutex // one bundle at a time, and never beside a back-test's own jobs on two processes

	mu      sync.Mutex
	running *Progress // the back-test under way; nil for none
	last    map[string]Progress
	cancel  context.CancelFunc
	ended   sync.WaitGroup
}

// New returns a Keeper.
func New(cfg Config) (*Keeper, error) {
	if cfg.Custodian == nil || cfg.Sandbox == nil || cfg.Clock == nil {
		return nil, errors.New("policy bundles: custodian, sandbox and clock are required")
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	return &Keeper{door: cfg.Custodian, sandbox: cfg.Sandbox, patience: cmp.Or(cfg.CheckTimeout, checkTimeout), clock: cfg.Clock, log: cfg.Logger, last: map[string]Progress{}}, nil
}

// HandIn takes a signed bundle in: it is checked apart from the service, and kept as a candidate. Handing the same in
// again gives the one that is kept. Errors: *custodian.InputError, ErrBusy, ErrFull, store errors.
func (k *Keeper) HandIn(ctx context.Context, p identity.Principal, envelope, archive []byte) (*custodian.PolicyBundle, error) {
	refuse := func(problem string) error {
		return &custodian.InputError{Field: "archive", Problem: ledger.CleanText(problem[:min(len(problem), 400)]), Allowed: "a policy bundle: docs/policy-guide.md"}
	}
	if len(archive) > policies.MaxArchive {
		return nil, refuse(fmt.Sprintf("%d bytes, at most %d", len(archive), policies.MaxArchive))
	}
	files, err := policies.FilesFrom(archive)
	if err != nil {
		return nil, refuse(err.Error())
	}
	digest, view := files.Digest(), k.door.View()
	signed, err := verify(envelope, k.door.Instance().ID, digest, register(view))
	if err != nil {
		return nil, err
	}
	if kept, _, err := custodian.StoredPolicy(view, digest); err == nil {
		return kept, nil
	} else if !errors.Is(err, store.ErrNotFound) {
		return nil, err
	}
	if digest == k.door.Policies().Digest() {
		return nil, refuse("it is the bundle in force")
	}
	verdict, err := k.check(ctx, files)
	var exceeded *policies.Exceeded
	switch {
	case errors.As(err, &exceeded):
		return nil, refuse(exceeded.Error())
	case err != nil:
		return nil, err
	case verdict.Refused != "":
		return nil, refuse(verdict.Refused)
	}
	record := custodian.PolicyBundle{Digest: digest, Name: signed.Name, Signer: signed.Person, Envelope: envelope, AddedBy: p.ID, Check: verdict.Check}
	if err := k.keep(ctx, p, record, files); err != nil {
		return nil, err
	}
	kept, _, err := custodian.StoredPolicy(k.door.View(), digest)
	return kept, err
}

func (k *Keeper) check(ctx context.Context, files policies.Files) (policies.Verdict, error) {
	if !k.checking.TryLock() {
		return policies.Verdict{}, ErrBusy
	}
	defer k.checking.Unlock()
	ctx, cancel := context.WithTimeout(ctx, k.patience)
	defer cancel()
	return k.sandbox(ctx, policies.Job{Files: texts(files), Check: true, Operations: operations()})
}

func texts(files policies.Files) map[string]string {
	out := make(map[string]string, len(files))
	for name, text := range files {
		out[name] = string(text)
	}
	return out
}

// operations are the governed operations that this program executes: what a bundle must know.
func operations() []string {
	var out []string
	for _, op := range operation.All() {
		out = append(out, op.Name())
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// keep stores a candidate, in the place of the oldest one where there are too many.
func (k *Keeper) keep(ctx context.Context, p identity.Principal, record custodian.PolicyBundle, files policies.Files) error {
	_, err := k.door.Store().Control(ctx, func(tx *store.Tx) error {
		if _, err := tx.View().Get(custodian.KindPolicyBundle, record.Digest); err == nil {
			return store.ErrNoEntry
		}
		entry := ledger.Entry{Type: "policy.hand-in", Actor: p, Outcome: ledger.Done, Policy: k.door.Mark(),
			Target: ledger.Target{Type: "policy", ID: record.Digest}}
		detail := map[string]any{"digest": record.Digest, "name": record.Name, "signer": record.Signer, "files": len(files.Deciding())}
		candidates := Candidates(tx.View())
		if len(candidates) >= MaxCandidates {
			oldest := dispensable(tx.View(), candidates)
			if oldest == nil {
				return ErrFull
			}
			if err := custodian.DeletePolicyBundle(tx, oldest); err != nil {
				return err
			}
			detail["replaces"] = oldest.Digest
		}
		record.AddedAt = tx.Now()
		if err := custodian.PutPolicyBundle(tx, record, files); err != nil {
			return err
		}
		entry.Detail = custodian.Detail(detail)
		return tx.Append(entry)
	})
	if errors.Is(err, store.ErrNoEntry) {
		return nil
	}
	return err
}

// Candidates are the bundles that were never in force, oldest first.
func Candidates(view *store.View) []*custodian.PolicyBundle {
	var out []*custodian.PolicyBundle
	for _, b := range store.All[custodian.PolicyBundle](view, custodian.KindPolicyBundle) {
		if inForce, err := custodian.InForce(view); len(b.Terms) == 0 && (err != nil || inForce.Digest != b.Digest) {
			out = append(out, b)
		}
	}
	slices.SortFunc(out, func(a, b *custodian.PolicyBundle) int { return a.AddedAt.Compare(b.AddedAt) })
	return out
}

func dispensable(view *store.View, candidates []*custodian.PolicyBundle) *custodian.PolicyBundle {
	needed := map[string]bool{}
	for _, c := range store.Active[ceremony.Ceremony](view, ceremony.Kind) {
		if c.Target.Type == operation.PolicyTarget {
			for _, b := range candidates {
				needed[b.Digest] = needed[b.Digest] || operation.NamesBundle(c.Params, b.Digest)
			}
		}
	}
	for _, b := range candidates {
		if !needed[b.Digest] {
			return b
		}
	}
	return nil
}

func register(view *store.View) people.Lookup {
	return func(id string) *people.Person {
		p, _, err := store.Get[people.Person](view, custodian.KindPerson, id)
		if err != nil {
			return nil
		}
		return p
	}
}

// Changes is what a kept bundle would change of the one in force.
func (k *Keeper) Changes(view *store.View, digest string) ([]policies.Change, error) {
	_, files, err := custodian.StoredPolicy(view, digest)
	if err != nil {
		return nil, err
	}
	return policies.Diff(k.door.PoliciesOf(view).Files(), files), nil
}
