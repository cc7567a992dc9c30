package policies

import (
	"context"
	"fmt"
	"io/fs"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/rego"
	"github.com/open-policy-agent/opa/v1/storage"
	"github.com/open-policy-agent/opa/v1/topdown"
)

// DefaultTimeout bounds one evaluation where Options name none. An ordinary one takes well under a millisecond.
const DefaultTimeout = 2 * time.Second

// Options of New. The zero value is the embedded bundle with the default timeout.
type Options struct {
	Timeout time.Duration // of one evaluation; 0 means DefaultTimeout
	Bundle  fs.FS         // nil means Files, or else the embedded bundle
	Files   Files
}

// Engine evaluates one immutable bundle. Safe for concurrent use.
type Engine struct {
	bundle   *bundle
	compiler *ast.Compiler
	store    storage.Store
	queries  map[Point]rego.PreparedEvalQuery
	timeout  time.Duration
	memo     memo
	quorums  *kept
	caching  map[string]time.Duration // by classification
	scripts  scripts
	unusable error // the answer to every question; see Unusable

	exceptable []string            // rules that let an exception be
	emergency  map[string][]string // operations that emergency access can give, by kind of caller
}

// New compiles the bundle once. A bundle that does not compile, lacks a decision point or reads an input
// fact it does not declare is ErrBundle.
func New(ctx context.Context, opts Options) (*Engine, error) {
	if opts.Timeout < 0 {
		return nil, fmt.Errorf("options: timeout %s is negative; give a positive duration, or 0 for %s", opts.Timeout, DefaultTimeout)
	}
	if opts.Timeout == 0 {
		opts.Timeout = DefaultTimeout
	}
	files, err := opts.files()
	if err != nil {
		return nil, err
	}
	b, err := loadBundle(files)
	if err != nil {
		return nil, err
	}
	compiler, err := b.compile()
	if err != nil {
		return nil, err
	}
	e := &Engine{bundle: b, compiler: compiler, store: b.store(), timeout: opts.Timeout}
	if e.memo, err = b.readMemo(compiler); err != nil {
		return nil, err
	}
	e.quorums = newKept(compiler)
	if e.caching, err = b.readCaching(); err != nil {
		return nil, err
	}
	if e.exceptable, err = b.readExceptable(); err != nil {
		return nil, err
	}
	if e.emergency, err = b.readEmergency(); err != nil {
		return nil, err
	}
	if e.scripts, err = b.readScripts(); err != nil {
		return nil, err
	}
	if e.queries, err = e.prepare(ctx); err != nil {
		return nil, err
	}
	return e, nil
}

// files are the bundle's, within bounds.
func (o *Options) files() (Files, error) {
	switch {
	case o.Files != nil:
		return o.Files, o.Files.Check()
	case o.Bundle != nil:
		return FilesOf(o.Bundle)
	}
	return FilesOf(Bundle())
}

// CarriedDigest names the bundle that this program carries: see [Files.Digest].
func CarriedDigest() (string, error) {
	files, err := FilesOf(Bundle())
	if err != nil {
		return "", err
	}
	return files.Digest(), nil
}

// Unusable stands for a bundle that cannot be asked: it was edited in the database, or this program cannot read it.
// Whatever is asked is answered with ErrPolicy and the cause, which is a refusal; what is compiled in still holds.
func Unusable(digest string, cause error) *Engine {
	return &Engine{bundle: &bundle{digest: digest}, timeout: DefaultTimeout, unusable: fmt.Errorf("%w: the bundle in force cannot be used: %w", ErrPolicy, cause)}
}

// Problem says why the bundle cannot be asked; nil when it can.
func (e *Engine) Problem() error { return e.unusable }

// With compiles another bundle, to be asked under the same timeout.
func (e *Engine) With(ctx context.Context, files Files) (*Engine, error) {
	return New(ctx, Options{Timeout: e.timeout, Files: files})
}

// Digest names the bundle: see [Files.Digest].
func (e *Engine) Digest() string { return e.bundle.digest }

// Files are the bundle's files, the tests among them where it came with its tests. They must not be changed.
func (e *Engine) Files() Files { return e.bundle.sources }

func (e *Engine) prepare(ctx context.Context) (map[Point]rego.PreparedEvalQuery, error) {
	queries := make(map[Point]rego.PreparedEvalQuery)
	for _, point := range points() {
		ref, err := ast.ParseRef(entrypoint(point))
		if err != nil {
			return nil, fmt.Errorf("%w: naming decision point %s: %w", ErrBundle, point, err)
		}
		if len(e.compiler.GetRulesExact(ref)) == 0 {
			return nil, fmt.Errorf("%w: decision point %s has no rule %s", ErrBundle, point, ref)
		}
		q, err := rego.New(
			rego.ParsedQuery(ast.NewBody(ast.NewExpr(ast.NewTerm(ref)))),
			rego.Compiler(e.compiler),
			rego.Store(e.store),
			rego.StrictBuiltinErrors(true),
			rego.GenerateJSON(keepTerm),
		).PrepareForEval(ctx)
		if err != nil {
			return nil, fmt.Errorf("%w: preparing decision point %s: %w", ErrBundle, point, err)
		}
		queries[point] = q
	}
	return queries, nil
}

// keepTerm leaves results as syntax terms: the decoders read those, which saves a conversion.
func keepTerm(t *ast.Term, _ *rego.EvalContext) (any, error) { return t.Value, nil }

func points() []Point {
	return []Point{PointAuthorise, PointPlace, PointQuorum, PointLifecycle}
}

func entrypoint(p Point) string { return "data.conclave.decide." + string(p) + ".decision" }

// evaluate runs one decision point and returns its result, an object.
func (e *Engine) evaluate(ctx context.Context, point Point, input ast.Value, opts ...rego.EvalOption) (ast.Object, error) {
	if e.unusable != nil {
		return nil, fmt.Errorf("deciding %s: %w", point, e.unusable)
	}
	asked := ctx
	ctx, cancel := context.WithTimeout(ctx, e.timeout)
	defer cancel()
	results, err := e.queries[point].Eval(ctx, append(opts, rego.EvalParsedInput(input))...)
	switch {
	case asked.Err() != nil:
		return nil, fmt.Errorf("deciding %s: %w: whoever asked waits no longer: %w", point, ErrTimeout, asked.Err())
	case topdown.IsCancel(err) || ctx.Err() != nil:
		return nil, fmt.Errorf("deciding %s: %w after %s", point, ErrTimeout, e.timeout)
	case err != nil:
		return nil, fmt.Errorf("deciding %s: %w: %w", point, ErrPolicy, err)
	case len(results) != 1 || len(results[0].Expressions) != 1:
		return nil, fmt.Errorf("deciding %s: %w: no result", point, ErrUndefined)
	}
	object, ok := results[0].Expressions[0].Value.(ast.Object)
	if !ok {
		return nil, fmt.Errorf("deciding %s: %w: result is no object", point, ErrUndefined)
	}
	return object, nil
}

// Authorise decides whether the principal may do the operation now. All reasons to deny are collected.
func (e *Engine) Authorise(ctx context.Context, in AuthoriseInput) (Decision, error) {
	if err := checkHeader(in.Now, in.Mode, in.Operation); err != nil {
		return Decision{}, err
	}
	result, err := e.evaluate(ctx, PointAuthorise, e.memo.authoriseValue(&in))
	if err != nil {
		return Decision{}, err
	}
	return e.decodeAuthorise(result, &in)
}

// Place judges a key against every candidate keystore at once.
func (e *Engine) Place(ctx context.Context, in PlacementInput) (PlacementDecision, error) {
	if err := checkPlacement(&in); err != nil {
		return PlacementDecision{}, err
	}
	result, err := e.evaluate(ctx, PointPlace, placementValue(&in))
	if err != nil {
		return PlacementDecision{}, err
	}
	return e.decodePlacement(result, &in)
}

// Quorum says what an operation takes, and whether this requester may propose it. An operation the policy
// does not know is ErrUndefined; an answer below the compiled-in floor is ErrBelowFloor. What it takes to restore
// an earlier bundle no bundle is asked: see [Recovery]. What was answered before is not evaluated again; lists of a
// decision are shared and must not be changed.
func (e *Engine) Quorum(ctx context.Context, in QuorumInput) (QuorumDecision, error) {
	if err := checkHeader(in.Now, in.Mode, in.Operation); err != nil {
		return QuorumDecision{}, err
	}
	if in.Operation == Recover {
		return e.recovery(&in)
	}
	if e.unusable != nil {
		return QuorumDecision{}, fmt.Errorf("deciding %s: %w", PointQuorum, e.unusable)
	}
	return e.quorums.get(&in, func() (QuorumDecision, error) { return e.askQuorum(ctx, &in) })
}

// askQuorum evaluates the rules and holds their answer to the floor.
func (e *Engine) askQuorum(ctx context.Context, in *QuorumInput) (QuorumDecision, error) {
	result, err := e.evaluate(ctx, PointQuorum, quorumValue(in))
	if err != nil {
		return QuorumDecision{}, err
	}
	decision, err := e.decodeQuorum(result, in)
	if err != nil {
		return QuorumDecision{}, err
	}
	if err := checkFloor(in, &decision); err != nil {
		return QuorumDecision{}, err
	}
	return decision, nil
}

// Lifecycle judges proposed cryptoperiods and fills in defaults for those not given.
func (e *Engine) Lifecycle(ctx context.Context, in LifecycleInput) (LifecycleDecision, error) {
	if err := checkLifecycle(&in); err != nil {
		return LifecycleDecision{}, err
	}
	result, err := e.evaluate(ctx, PointLifecycle, lifecycleValue(&in))
	if err != nil {
		return LifecycleDecision{}, err
	}
	return e.decodeLifecycle(result)
}
