package policies

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	strict "github.com/go-json-experiment/json"
	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/storage"
	"github.com/open-policy-agent/opa/v1/storage/inmem"
)

//go:embed rules lib data
var embedded embed.FS

// Bundle is the embedded bundle: rules/, lib/ and data/.
func Bundle() fs.FS { return embedded }

// bundle is a parsed bundle, without its tests: those decide nothing, and are parsed when they are run.
type bundle struct {
	digest   string
	sources  Files
	modules  map[string]*ast.Module // rules and libraries, by path
	tests    []string               // paths of *_test.rego
	data     map[string]any         // the documents under data.tables
	builtins *ast.Capabilities
}

// loadBundle parses every .rego and .json file that decides. Any other file but tests is refused.
func loadBundle(files Files) (*bundle, error) {
	b := &bundle{
		digest:   files.Digest(),
		sources:  files,
		modules:  make(map[string]*ast.Module),
		builtins: capabilities(),
	}
	tables := make(map[string]any)
	for _, name := range files.Paths() {
		var err error
		switch {
		case isTest(name):
			b.tests = append(b.tests, name)
		case strings.HasSuffix(name, ".rego"):
			b.modules[name], err = b.parseModule(name)
		case path.Dir(name) == "data" && path.Ext(name) == ".json":
			tables[strings.TrimSuffix(path.Base(name), ".json")], err = parseTable(name, b.sources[name])
		default:
			err = fmt.Errorf("%w: %s: only .rego files, and .json files in data/, belong in a bundle", ErrBundle, name)
		}
		if err != nil {
			return nil, err
		}
	}
	b.data = map[string]any{"tables": tables}
	return b, nil
}

// Digest is the hex SHA-256 over what decides: rules, libraries and data, sorted by path, each as length-prefixed
// path and length-prefixed content. Tests are left out, so that writing another one makes no other bundle.
func (f Files) Digest() string {
	h := sha256.New()
	var length [8]byte
	add := func(p []byte) {
		binary.BigEndian.PutUint64(length[:], uint64(len(p)))
		h.Write(length[:])
		h.Write(p)
	}
	for _, name := range f.Paths() {
		if isTest(name) {
			continue
		}
		add([]byte(name))
		add(f[name])
	}
	return hex.EncodeToString(h.Sum(nil))
}

func isTest(name string) bool { return strings.HasSuffix(name, "_test.rego") }

func (b *bundle) parseModule(name string) (*ast.Module, error) {
	module, err := ast.ParseModuleWithOpts(name, string(b.sources[name]), ast.ParserOptions{
		ProcessAnnotation: true,
		Capabilities:      b.builtins,
		RegoVersion:       ast.RegoV1,
	})
	if err != nil {
		return nil, fmt.Errorf("%w: parsing %s: %w", ErrBundle, name, err)
	}
	if module == nil {
		return nil, fmt.Errorf("%w: parsing %s: the file holds no policy", ErrBundle, name)
	}
	return module, nil
}

// parseTable reads one JSON document: duplicate names and invalid UTF-8 are refused. Numbers stay exact.
func parseTable(name string, source []byte) (any, error) {
	var shape any
	if err := strict.Unmarshal(source, &shape); err != nil {
		return nil, fmt.Errorf("%w: parsing %s: %w", ErrBundle, name, err)
	}
	decoder := json.NewDecoder(bytes.NewReader(source))
	decoder.UseNumber()
	var document any
	if err := decoder.Decode(&document); err != nil {
		return nil, fmt.Errorf("%w: parsing %s: %w", ErrBundle, name, err)
	}
	return document, nil
}

// compile compiles the deciding modules, strictly and without any builtin that reaches outside.
func (b *bundle) compile() (*ast.Compiler, error) {
	modules := make(map[string]*ast.Module, len(b.modules))
	for name, module := range b.modules {
		modules[name] = module.Copy()
	}
	compiler := b.newCompiler()
	if compiler.Compile(modules); compiler.Failed() {
		return nil, fmt.Errorf("%w: compiling: %w", ErrBundle, compiler.Errors)
	}
	return compiler, nil
}

func (b *bundle) newCompiler() *ast.Compiler {
	return ast.NewCompiler().WithCapabilities(b.builtins).WithStrict(true).WithDefaultRegoVersion(ast.RegoV1)
}

// store holds the tables as syntax values, so that a rule that reads one converts nothing.
func (b *bundle) store() storage.Store {
	return inmem.NewFromObjectWithOpts(b.data, inmem.OptRoundTripOnWrite(false), inmem.OptReturnASTValuesOnRead(true))
}

// capabilities is the list of builtins rules may call: pure ones only. Nothing in it reads a clock, a
// network, an environment or randomness; calling anything else does not compile.
func capabilities() *ast.Capabilities {
	allowed := map[string]bool{}
	for _, name := range []string{
		"eq", "equal", "neq", "lt", "lte", "gt", "gte", "assign",
		"plus", "minus", "mul", "div", "rem", "abs",
		"and", "or", "count", "sum", "max", "min", "sort",
		"internal.member_2", "internal.member_3", "internal.print", "internal.test_case",
		"object.get", "object.keys", "object.union", "object.remove", "json.remove", "array.concat", "union", "intersection",
		"concat", "contains", "startswith", "endswith", "split", "sprintf", "format_int", "regex.match",
		"is_array", "is_boolean", "is_null", "is_number", "is_object", "is_set", "is_string",
		"numbers.range", "time.parse_rfc3339_ns", "rego.metadata.rule", "rego.metadata.chain",
	} {
		allowed[name] = true
	}
	c := ast.CapabilitiesForThisVersion(ast.CapabilitiesRegoVersion(ast.RegoV1))
	c.Builtins = slices.DeleteFunc(slices.Clone(c.Builtins), func(b *ast.Builtin) bool {
		return !allowed[b.Name] || b.IsNondeterministic()
	})
	c.AllowNet = []string{}
	return c
}
