package ceremony

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"

	"conclave/ceremony/operation"
	"conclave/ceremony/script"
	"conclave/ceremony/shamir"
	"conclave/custodian"
	"conclave/custodian/backup"
	"conclave/custodian/clock"
	"conclave/custodian/dsse"
	"conclave/custodian/identity"
	"conclave/custodian/ledger"
	"conclave/custodian/people"
	"conclave/custodian/segment"
	"conclave/custodian/store"
	"conclave/hsm/secret"
	"conclave/policies"
)

// Config wires an Engine. All fields are required but Controls, Copier, Archives, LogKeys and Logger.
type Config struct {
	Custodian    *custodian.Service
	Operations   []operation.Operation
	Drivers      operation.Drivers
	NodeSigner   dsse.Signer // the enrolled node's key
	ChallengeKey []byte      // 32 bytes, the same on every replica
	// Controls knows the controls that people sign statements about; nil where none can be signed.
	Controls operation.Controls
	// Copier writes backups; nil where this process writes none.
	Copier *operation.Copier
	// Archives is the object store of ledger archives; nil where this process is configured for none.
	Archives segment.Objects
	// LogKeys makes log keys; nil where this process keeps none.
	LogKeys operation.LogKeys
	// Allowance of each person for ceremonies that do not restrict; zero for the service's own.
	Allowance Allowance
	Clock     clock.Clock
	Logger    *slog.Logger
}

// Engine runs ceremonies. Safe for concurrent use; several replicas may run one each on one ledger.
type Engine struct {
	door      *custodian.Service
	store     *store.Store
	env       operation.Env // but for the policy in force: see environment
	ops       map[string]operation.Operation
	signer    dsse.Signer
	clock     clock.Clock
	log       *slog.Logger
	boot      string // this process, as collectors and effects name it
	collector *shamir.OpeningKey
	guard     *clockGuard
	turns     *semaphore.Weighted // of one: whoever lost a race to commit waits here, in order
	health    healthCache
	budget    *budget
	// ticks is held by a Tick, and guards what is called its own.
	ticks sync.Mutex
	// watchAgain is when quorums are looked at again, monotonic. Tick's own.
	watchAgain time.Duration

	mu        sync.Mutex
	gathering map[string]*shamir.Collector // shares brought so far, by ceremony; in memory only
	// components of keys brought so far, by ceremony and number; in memory only.
	components map[string]map[int]*secret.Bytes
	running    map[string]bool // effects under way in this process
	// stalled says of effects that are not over why this process could not go on with them the last time.
	stalled map[string]string
	beat    *heartbeat
	// clockNoted is the clock problem that was last recorded.
	clockNoted string
	told       map[operation.Alert]bool // alerts already in the log
	// instanceBegan is the time of entry 0, once it was read.
	instanceBegan time.Time
	// seen is when people last proved who they are to this process.
	seen map[string]time.Time
	// began is when this process started, peopleDue when its jobs about people run next; monotonic. Tick's own.
	began, peopleDue time.Duration
	// reviewsDue is when it is next looked for what nobody reviewed, monotonic. Tick's own.
	reviewsDue time.Duration
	placement  placementWatch // Tick's own
	// notBefore is when scheduled rotations that did not succeed are tried again, by params, monotonic. Tick's own.
	notBefore map[string]time.Duration
	copies    *backups
	handing   sync.Mutex // of one HandOver
	// handOvers is when hand-overs that were refused or failed are tried again, by what they are of, monotonic. HandOver's own.
	handOvers map[string]time.Duration
}

// New returns an engine with a fresh collector key.
func New(cfg Config) (*Engine, error) {
	if cfg.Custodian == nil || cfg.NodeSigner == nil || cfg.Clock == nil || len(cfg.Operations) == 0 || cfg.Drivers == nil {
		return nil, errors.New("ceremony engine: custodian, operations, drivers, node signer and clock are required")
	}
	challenges, err := operation.NewChallenger(cfg.ChallengeKey)
	if err != nil {
		return nil, err
	}
	collector, err := shamir.NewOpeningKey()
	if err != nil {
		return nil, fmt.Errorf("making the collector key: %w", err)
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	e := &Engine{
		door: cfg.Custodian, store: cfg.Custodian.Store(),
		env: operation.Env{Custodian: cfg.Custodian, Challenges: challenges, Drivers: cfg.Drivers, Copier: cfg.Copier, Archives: cfg.Archives, LogKeys: cfg.LogKeys, Controls: cfg.Controls},
		ops: make(map[string]operation.Operation), signer: cfg.NodeSigner, clock: cfg.Clock, log: cfg.Logger,
		boot: newID("b"), collector: collector,
		gathering: make(map[string]*shamir.Collector), components: make(map[string]map[int]*secret.Bytes), running: make(map[string]bool), stalled: make(map[string]string),
		told: make(map[operation.Alert]bool), notBefore: make(map[string]time.Duration),
		handOvers: make(map[string]time.Duration), seen: make(map[string]time.Time), began: cfg.Clock.Elapsed(),
		turns:  semaphore.NewWeighted(1),
		health: healthCache{turn: make(chan struct{}, 1)}, budget: newBudget(cfg.Clock, cfg.Allowance),
		copies: &backups{notBefore: map[string]time.Duration{}, journals: map[string]*backup.Journal{}, missing: map[string]bool{}, published: map[string]publication{}},
	}
	view := e.store.View()
	confirmation, revision := confirmedClock(view)
	e.guard = newClockGuard(cfg.Clock, confirmation.NotBefore(view.Time()), revision)
	e.beat = newHeartbeat(cfg.Clock)
	for _, op := range cfg.Operations {
		if e.ops[op.Name()] != nil {
			return nil, fmt.Errorf("operation %s is given twice", op.Name())
		}
		e.ops[op.Name()] = op
	}
	return e, nil
}

// Schema adds the rows of this package to the store's schema.
func Schema(s store.Schema) store.Schema {
	s[Kind] = store.WithArchive(store.WithActive(store.JSON[Ceremony](false), func(c *Ceremony) bool { return !c.State.Ended() }), archived)
	s[KindQuorumWatch] = store.JSON[quorumWatch](false)
	s[KindRun] = store.WithActive(store.JSON[script.Run](false), func(r *script.Run) bool { return r.State == script.Running })
	return s
}

// endedRow is what of a ceremony says whether it has ended, and is to be reviewed.
type endedRow struct {
	State    State      `json:"state"`
	ReviewBy *time.Time `json:"review_by"`
}

// archived: of a ceremony that has ended memory keeps what the ledger binds it by, and as its mark when what was done must
// have been reviewed, in seconds since 1970; 0 where nothing is.
func archived(c *endedRow) (mark uint64, ended bool) {
	if c.State == Completed && c.ReviewBy != nil {
		mark = uint64(max(c.ReviewBy.Unix(), 1))
	}
	return mark, c.State.Ended()
}

// environment is what operations may use, with the policy in force by the view that they are judged under.
func (e *Engine) environment(view *store.View) operation.Env {
	env := e.env
	env.Policies = e.door.PoliciesOf(view)
	env.Decided = func(name string, target operation.Target) string { return decided(view, name, target) }
	return env
}

// newID is a short unguessable id: 80 random bits.
func newID(prefix string) string {
	return formatID(prefix, rand.Text())
}

// formatID takes 80 bits of base32.
func formatID(prefix, text string) string { return prefix + "-" + strings.ToLower(text[:16]) }

// load returns the caller's own copy of a ceremony.
func load(view *store.View, id string) (*Ceremony, error) {
	c, _, err := store.Get[Ceremony](view, Kind, id)
	if errors.Is(err, store.ErrNotFound) {
		return nil, fmt.Errorf("%q: %w", clip(id), ErrNotFound)
	}
	if err != nil {
		return nil, err
	}
	own := *c
	own.Votes = append([]Vote(nil), c.Votes...)
	own.Shares = append([]Contribution(nil), c.Shares...)
	own.Components = append([]Component(nil), c.Components...)
	own.Items = append([]Item(nil), c.Items...)
	own.Deviations = append([]string(nil), c.Deviations...)
	own.Call = c.Call.copy()
	return &own, nil
}

func clip(s string) string { return ledger.CleanText(s[:min(len(s), 64)]) }

// Get returns one ceremony.
func (e *Engine) Get(id string) (*Ceremony, error) { return load(e.store.View(), id) }

// person finds a person of the register; nil when there is none or the row is not to be believed.
func person(view *store.View) people.Lookup {
	return func(id string) *people.Person {
		p, _, err := store.Get[people.Person](view, custodian.KindPerson, id)
		if err != nil {
			return nil
		}
		return p
	}
}

// entry is what every step records.
func (e *Engine) entry(step string, p identity.Principal, c *Ceremony, detail map[string]any) ledger.Entry {
	if detail == nil {
		detail = map[string]any{}
	}
	detail["operation"] = c.Operation
	entry := ledger.Entry{
		Type: "ceremony." + step, Actor: p, Target: ledger.Target{Type: c.Target.Type, ID: c.Target.ID},
		Outcome: ledger.Done, Policy: e.door.Mark(), Ceremony: c.ID, Detail: custodian.Detail(detail),
	}
	ledger.ShrinkDetail(&entry)
	return entry
}

// refuse records a denied attempt and returns it with its decision id: recorded before answered.
func (e *Engine) refuse(ctx context.Context, step string, p identity.Principal, c *Ceremony, reasons []policies.Reason) error {
	entry := e.door.DeniedEntry("ceremony."+step, p, ledger.Target{Type: "ceremony", ID: c.ID}, reasons)
	if c.ID == "" {
		entry.Target = ledger.Target{Type: "operation", ID: clip(c.Operation)}
	}
	entry.Ceremony = c.ID
	denied := &custodian.Denied{Code: "denied", Reasons: reasons}
	if len(reasons) > 0 {
		denied.Code = reasons[0].Code
	}
	receipt, err := e.store.Append(ctx, &entry, e.store.View().Epoch())
	for range maxTries {
		if !errors.Is(err, store.ErrEpochChanged) {
			break
		}
		receipt, err = e.store.Append(ctx, &entry, e.store.View().Epoch())
	}
	if err != nil {
		return fmt.Errorf("recording a refusal: %w", err)
	}
	denied.Decision = custodian.DecisionID(receipt)
	return denied
}

// put stores the ceremony and appends the entry that explains the change.
func put(tx *store.Tx, c *Ceremony, entry ledger.Entry) error {
	if err := tx.Put(Kind, c.ID, c); err != nil {
		return err
	}
	return tx.Append(entry)
}

// self is this node acting by itself.
func (e *Engine) self() identity.Principal {
	return identity.Principal{Kind: identity.Node, ID: e.door.Node()}
}
