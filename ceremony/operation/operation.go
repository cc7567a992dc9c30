// Package operation holds the governed operations, one file each, behind one contract. The engine
// (package ceremony) knows nothing about any of them; adding one is adding a file and naming it in All.
package operation

import (
	"context"
	"errors"
	"time"

	"conclave/custodian"
	"conclave/custodian/identity"
	"conclave/custodian/key"
	"conclave/custodian/segment"
	"conclave/custodian/store"
	"conclave/hsm"
	"conclave/hsm/secret"
	"conclave/policies"
)

// Target is what a ceremony acts on. GovRevision changes with governed changes only, never by use; a
// ceremony whose target's revision has moved is void.
type Target struct {
	Type        string `json:"type"`
	ID          string `json:"id"`
	GovRevision uint64 `json:"gov_revision"`
}

// Line is one fact shown to approvers, before and after.
type Line struct {
	Label  string `json:"label"`
	Before string `json:"before,omitempty"`
	After  string `json:"after,omitempty"`
}

// Input is what an operation is asked to judge or do.
type Input struct {
	Ceremony  string
	Params    []byte // canonical JSON object, parsed strictly by the operation
	Requester identity.Principal
	Approvers []string // people whose approvals counted; empty while preparing
	// ApprovedAt is when the quorum was reached; zero before. Waiting periods count from here.
	ApprovedAt time.Time
	Now        time.Time
	Instance   custodian.Instance
	Reason     string // why, in the requester's words
	// Components are what custodians brought for this one effect, in the order of the plan's slots; the engine's to wipe.
	Components []*secret.Bytes
	// Item is the number of the item within a batch, from 1; 0 outside of one.
	Item int
}

// Plan is what would happen: shown, signed, judged by policy.
type Plan struct {
	Target   Target
	Title    string // one plain sentence: what will happen to what
	Lines    []Line
	Subjects []string               // people whom the change is about; they take no part
	Quorum   policies.QuorumInput   // facts on which policy decides what it takes
	Quorums  []policies.QuorumInput // of a compound operation, one an item: the strictest of all counts
	ShareSet string                 // class S: the set whose shares open it
	// ShareEpoch is the epoch of that set whose shares are brought: the pending one for a cutover. 0: the one in force.
	ShareEpoch uint32
	// Components are what people bring before it runs, each their own; they stay in the memory of one process.
	Components []ComponentSlot
	Deny       []policies.Reason // placement or lifecycle refusals; non-empty: refused, with reasons and remedies
}

// ComponentSlot is one component of a key that somebody is to bring.
type ComponentSlot struct {
	Index      int    `json:"index"` // from 1
	Custodian  string `json:"custodian"`
	CheckValue string `json:"check_value"` // as its form states it, 3 to 5 bytes
}

// Env is what operations may use besides the view and the transaction.
type Env struct {
	Custodian  *custodian.Service
	Policies   *policies.Engine // in force by the view that is judged under; never nil
	Challenges *Challenger      // proofs of possession of a share
	Drivers    Drivers          // makes keystores that are registered later
	Copier     *Copier          // writes backups; nil where this process writes none
	Controls   Controls         // the catalogues that statements about controls are held against
	Archives   segment.Objects  // object store of ledger archives; nil where this process is configured for none
	LogKeys    LogKeys          // makes log keys; nil where this process keeps none
	// Decided names the ceremony of an operation on a target that people have decided and that waits to be executed, as of
	// the view that is judged under; "" for none. nil: not asked.
	Decided func(operation string, target Target) string
}

// Drivers makes the driver of a keystore's governed record; the composition root knows which there are.
type Drivers func(record *key.Keystore) (hsm.Keystore, error)

// Controls gives the title of a control by its name, "framework:id"; its error says in words what is unknown, and what
// there is. The composition root knows the catalogues.
type Controls func(name string) (title string, err error)

// Operation is one governed operation.
type Operation interface {
	// Name as in operations.md, e.g. "key.create".
	Name() string
	// Prepare validates params against the view and says what would happen. Pure: it runs when proposed,
	// when signed, and again right before execution. Errors are *custodian.InputError or state errors.
	Prepare(ctx context.Context, env Env, view *store.View, in Input) (Plan, error)
}

// Pinning operations write into their parameters, when they are proposed, what signatures are to cover besides what was
// asked for: it is looked up, not made up, and Prepare refuses once it is not so any more.
type Pinning interface {
	Operation
	Pin(ctx context.Context, env Env, view *store.View, in Input) ([]byte, error)
}

// Pure operations change the database only: Execute runs in the transaction that completes the ceremony.
type Pure interface {
	Operation
	Execute(ctx context.Context, env Env, tx *store.Tx, in Input) (Result, error)
}

// Gathering is an Effectful operation that takes components of a key, each brought by its custodian (Plan.Components).
// Effect finds them in its Input.
type Gathering interface {
	Effectful
	// CheckComponent says whether a component is the one that its custodian is to bring: hsm.ErrComponent where it is
	// not. It keeps nothing.
	CheckComponent(env Env, view *store.View, in Input, index int, component *secret.Bytes) error
}

// Examining operations look into what they were given when they are proposed, with the help of a keystore, so that
// nobody is asked to approve what could not be done.
type Examining interface {
	Operation
	// Examine returns what stands against it beyond what Prepare says. It changes nothing.
	Examine(ctx context.Context, env Env, view *store.View, in Input) ([]policies.Reason, error)
}

// Timeless operations run while the clock is distrusted, as protective ones do: they are what ends that. The
// approvals must then have been given by the clock as it stands.
type Timeless interface {
	Operation
	Timeless()
}

// Effectful operations act outside the database: intent is recorded first, then Effect runs, then
// Complete records the outcome. After a crash Recover looks the effect up by its id.
type Effectful interface {
	Operation
	// Effect acts. effectID is recorded in the intent and unique for ever. shares is the combined
	// activation secret for class S, else nil.
	Effect(ctx context.Context, env Env, in Input, effectID string, shares *secret.Bytes) (Effect, error)
	// Recover finds what Effect did before a crash: found, not found (the engine runs Effect again or
	// fails the ceremony), or an error (the ceremony is indeterminate until it can be told).
	Recover(ctx context.Context, env Env, in Input, effectID string) (Effect, bool, error)
	// Complete records the effect in the transaction that completes the ceremony.
	Complete(ctx context.Context, env Env, tx *store.Tx, in Input, effect Effect) (Result, error)
	// Undo reverses an effect that could not be recorded; best effort, idempotent.
	Undo(ctx context.Context, env Env, in Input, effect Effect) error
}

// Deferred is an Effectful operation of class S that may wait once its quorum is reached: the shares that were brought
// prove the quorum and open nothing. They are wiped before the wait begins, and Effect gets none.
type Deferred interface {
	Effectful
	Deferred()
}

// ErrOvertaken is what Complete returns when the effect rests on something that was committed over since: the record
// would be wrong, although nothing is wrong with the ceremony. The engine takes the effect back (Undo) and has it done
// again, with the same shares.
var ErrOvertaken = errors.New("what the effect rested on has changed since")

// Settling is an Effectful operation that has something to do in memory once its outcome is durable. What Settle does
// must also come about without it, since the process may end before.
type Settling interface {
	Effectful
	Settle(ctx context.Context, env Env, in Input, effect Effect) error
}

// Straying is an Effectful operation that can leave a second effect of the same id elsewhere: two processes, each of
// which took the other for ended, did it both. Stray takes away what this process made unless it is what is on record.
type Straying interface {
	Effectful
	Stray(ctx context.Context, env Env, in Input, effect Effect) error
}

// Effect is what happened outside the database.
type Effect struct {
	ID       string
	Material *hsm.Material // a key made in a keystore
	Data     []byte        // canonical JSON for what else Complete must know; never a secret
}

// Result is shown to the caller and kept in the transcript; never a secret, except Once.
type Result struct {
	Data []byte // canonical JSON
	// Once is delivered to the requester in the response and never stored: a token's cleartext.
	Once *secret.Bytes
}
